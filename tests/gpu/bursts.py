"""Bursty load on three models in turn: first tokens with elastic KV memory, and with the same memory in fixed thirds.

The shape is that of kvcached's published benchmark: each model's rate climbs from nothing to a peak and falls again,
one model after the other, so that only one of them needs much memory at a time. The rates here climb faster, to fit
into minutes. Arrivals do not wait for answers.
"""

import statistics
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from gpus import kvcached
from tests.gpu.client import Stream
from tests.gpu.points import prompt
from tests.gpu.report import Report
from tests.gpu.rig import GIB, Engine, Rig

MODELS = 3
STAGGER = 2.25
"""Between the beginnings of two models' bursts, in lengths of a climb; kvcached's benchmark has the same."""
PROMPT_CHARACTERS = 256


def elastic(rig: Rig, report: Report) -> None:
    """5e. Each engine may take all of the KV memory; what all of them map at most is a row."""
    engines = rig.ensure(MODELS)[:MODELS]
    for engine in engines:
        engine.client.reset_prefix_cache()
        kvcached.set_limit(rig.segments, engine.ipc_name, min(rig.settings.burst_kv_bytes, engine.limit_bytes))
    most = _Most(rig)
    try:
        _load(rig, report, "5e", "elastic", engines)
    finally:
        most.enough.set()
        for engine in engines:
            kvcached.set_limit(rig.segments, engine.ipc_name, engine.limit_bytes)
    fits = most.bytes <= rig.settings.burst_kv_bytes
    note = f"the fixed parts are {rig.settings.burst_kv_bytes / GIB:g} GiB together"
    report.add("5e", "elastic: KV mapped at most, all three", most.bytes, "bytes", ok=fits, note=note)


def static(rig: Rig, report: Report) -> None:
    """5s. The same without kvcached, a third of the memory for each. Every elastic engine is ended first."""
    for engine in list(rig.engines):
        rig.stop(engine)
        rig.release(engine)
    engines = rig.start(MODELS, elastic=False)
    _load(rig, report, "5s", "fixed thirds", engines)
    for engine in engines:
        rig.stop(engine)
        rig.release(engine)


class _Most(threading.Thread):
    """The most KV memory that the engines of a rig had mapped at one time."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self.rig, self.bytes, self.enough = rig, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.enough.wait(0.1):
            self.bytes = max(self.bytes, self.rig.mapped_bytes())


def _load(rig: Rig, report: Report, point: str, name: str, engines: list[Engine]) -> None:
    settings = rig.settings
    for engine in engines:
        engine.client.complete("warm up", 4)
    climb = settings.burst_peak / settings.burst_slope
    plan = sorted(
        (number * STAGGER * climb + moment, number)
        for number in range(len(engines))
        for moment in _arrivals(settings.burst_peak, settings.burst_slope)
    )
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=512) as pool:
        calls: list[Future[Stream]] = []
        for at, (moment, number) in enumerate(plan):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            client, text = engines[number].client, prompt(50_000 + at, PROMPT_CHARACTERS)
            calls.append(pool.submit(client.chat, text, settings.burst_tokens, quietly=True))
        streams = [call.result(300) for call in calls]
    _say(report, point, name, streams, time.monotonic() - began, settings.burst_tokens)


def _arrivals(peak: float, slope: float) -> list[float]:
    """Seconds at which requests come while the rate climbs to `peak` a second by `slope` a second, and falls again."""
    climb = peak / slope
    half = [(2 * number / slope) ** 0.5 for number in range(1, int(peak * climb / 2) + 1)]
    return half + [2 * climb - moment for moment in reversed(half)]


def _say(report: Report, point: str, name: str, streams: list[Stream], seconds: float, tokens: int) -> None:
    firsts = sorted(each.first_token_seconds for each in streams if each.first_token_seconds is not None)
    whole = [each.total_seconds for each in streams if each.finished]
    report.add(point, f"{name}: requests answered", f"{len(whole)} of {len(streams)}", ok=len(whole) == len(streams))
    if len(firsts) > 1:
        cuts = statistics.quantiles(firsts, n=100, method="inclusive")
        report.add(point, f"{name}: first token, mean", statistics.mean(firsts), "s")
        report.add(point, f"{name}: first token, p50", cuts[49], "s")
        report.add(point, f"{name}: first token, p99", cuts[98], "s")
        report.add(point, f"{name}: whole answer, p50", statistics.median(whole), "s")
        report.add(
            point, f"{name}: in all", len(whole) * tokens / seconds, "tokens/s", note="the load's pauses counted"
        )
