"""What has to be found out on a GPU, point by point. Each takes the rig and the report and leaves engines running."""

import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gpus import kvcached
from tests.gpu.client import CallFailed, Client, Stream
from tests.gpu.report import Report
from tests.gpu.rig import MIB, Engine, Failed, Rig, Settings

SEGMENT_TOLERANCE = 0.05
BASELINE_TOLERANCE_BYTES = 64 * MIB
SHRINK_SECONDS = 30.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz "


def prompt(seed: int, characters: int) -> str:
    """Text that shares no beginning with that of another seed."""
    return "".join(random.Random(seed).choices(_LETTERS, k=characters))


def load(rig: Rig, engine: Engine, seed: int) -> None:
    """Several long requests at once; what they computed stays in the prefix cache."""
    settings = rig.settings
    with ThreadPoolExecutor(settings.requests) as pool:
        texts = [prompt(seed * 1000 + number, settings.prompt_characters) for number in range(settings.requests)]
        list(pool.map(lambda text: engine.client.complete(text, settings.tokens), texts))


def one_engine(rig: Rig, report: Report) -> None:
    """1. One engine under our launcher: chat streams, kvcached engaged, the ledger against NVML."""
    (engine,) = rig.ensure(1)[:1]
    report.launch = rig.last_launch
    report.add("1", "start to healthy", engine.start_seconds, "s")
    engaged = bool(engine.facts.get("kvcached_engaged"))
    report.add("1", "kvcached engaged", engaged, ok=engaged, note="its line is in the log, its segment is there")
    stream = engine.client.chat("Tell me about sardines.", rig.settings.tokens)
    report.add("1", "a chat streams to its end", stream.finished, ok=stream.finished and stream.tokens > 1)
    report.add("1", "first token of the first chat", stream.first_token_seconds, "s")
    report.add("1", "one stream", stream.tokens_per_second, "tokens/s")
    held = rig.used_bytes() - rig.baseline_bytes
    weights, mapped = engine.facts.get("weights_bytes"), rig.segment(engine).mapped_bytes
    report.add("1", "limit at the start", engine.limit_bytes, "bytes", note="kvcached's total_size")
    report.add("1", "device memory moved", held, "bytes")
    report.add("1", "weights, as the log says", weights, "bytes")
    report.add("1", "KV mapped", mapped, "bytes")
    overhead = None if weights is None else held - weights - mapped
    report.add("1", "overhead: the rest", overhead, "bytes", ok=overhead is None or overhead >= 0)


def shared_gpu(rig: Rig, report: Report) -> None:
    """2. Two and three engines on one GPU: the segments' sum moves as the device's memory does."""
    started = rig.ensure(3)
    for count in (2, 3):
        engines = started[:count]
        for engine in engines:  # the first load takes activations that stay; the second moves KV only
            load(rig, engine, seed=count)
            engine.client.reset_prefix_cache()
        before = (rig.mapped_bytes(), rig.used_bytes())
        for engine in engines:
            load(rig, engine, seed=count + 10)
        after = (rig.mapped_bytes(), rig.used_bytes())
        said, moved = after[0] - before[0], after[1] - before[1]
        off = abs(said - moved) / moved if moved else None
        name = f"{count} engines"
        report.add("2", f"{name}: segments moved", said, "bytes")
        report.add("2", f"{name}: device moved", moved, "bytes")
        fits = off is not None and off <= SEGMENT_TOLERANCE
        report.add("2", f"{name}: difference", off, "ratio", ok=fits, note="used + prealloc against the device; 0.05")
        for engine in engines:
            engine.client.reset_prefix_cache()
        report.add("2", f"{name}: KV mapped after a reset of the prefix caches", rig.mapped_bytes(), "bytes")
        total = rig.used_bytes() - rig.baseline_bytes
        report.add("2", f"{name}: held in all", total, "bytes")


def sleeps(rig: Rig, report: Report) -> None:
    """3. Sleep and wake at both levels: bytes freed, seconds, first token, and the same answer afterwards."""
    engine = rig.ensure(1)[0]
    for level in (1, 2):
        answer = engine.client.complete("The quick brown fox jumps over", 1)["choices"][0]["text"]
        awake, mapped = rig.used_bytes(), rig.segment(engine).mapped_bytes
        asleep_seconds = _timed(lambda level=level: engine.client.sleep(level))
        rig.until(engine.client.is_sleeping, "the engine says that it sleeps", 30)
        freed = awake - rig.used_bytes()
        weights = engine.facts.get("weights_bytes")
        enough = freed > 0 if weights is None else freed >= 0.9 * weights
        report.add("3", f"level {level}: freed", freed, "bytes", ok=enough, note=f"KV mapped before: {mapped} bytes")
        report.add("3", f"level {level}: KV mapped asleep", rig.segment(engine).mapped_bytes, "bytes")
        report.add("3", f"level {level}: to sleep", asleep_seconds, "s")
        report.add("3", f"level {level}: to wake", _timed(lambda level=level: engine.client.wake(level)), "s")
        stream = engine.client.chat("Are you awake?", 8)
        report.add("3", f"level {level}: first token after the wake", stream.first_token_seconds, "s")
        again = engine.client.complete("The quick brown fox jumps over", 1)["choices"][0]["text"]
        # Weights that the engine made up cannot be read again: level 2 gives others.
        must = None if level == 2 and "dummy" in rig.settings.extra_args else again == answer
        report.add("3", f"level {level}: same answer", again == answer, ok=must)


def limits(rig: Rig, report: Report) -> None:
    """4. A limit lowered on an idle and on a busy engine: whether memory comes back, and when."""
    engine = rig.ensure(1)[0]
    for number, (name, act) in enumerate((("idle", _idle), ("busy", _busy))):
        load(rig, engine, seed=40 + number)
        mapped = rig.segment(engine).mapped_bytes
        limit = max(mapped // 2, 1)
        report.add("4", f"{name}: mapped before", mapped, "bytes", note=f"limit lowered to {limit} bytes")
        try:
            act(rig, report, engine, limit)
        finally:
            kvcached.set_limit(rig.segments, engine.ipc_name, engine.limit_bytes)
            time.sleep(0.5)  # kvcached looks at the segment every 100 ms, and obeys at the next allocation
            engine.client.complete("a", 1)


def _idle(rig: Rig, report: Report, engine: Engine, limit: int) -> None:
    kvcached.set_limit(rig.segments, engine.ipc_name, limit)
    time.sleep(0.5 if rig.settings.simulation else 5)
    held = rig.segment(engine).mapped_bytes
    report.add("4", "idle: mapped after waiting", held, "bytes", note="an idle engine is not expected to shrink")
    engine.client.reset_prefix_cache()
    engine.client.complete("a", 1)
    _shrinks(rig, report, engine, limit, "idle: under the limit after a reset and one token")


def _busy(rig: Rig, report: Report, engine: Engine, limit: int) -> None:
    enough, rounds = threading.Event(), 0

    def serve() -> None:
        nonlocal rounds
        while not enough.is_set():
            rounds += 1
            load(rig, engine, seed=50 + rounds)

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        try:
            rig.until(lambda: _running(engine) > 0 or serving.done(), "requests run", 30)
            kvcached.set_limit(rig.segments, engine.ipc_name, limit)
            _shrinks(rig, report, engine, limit, "busy: under the limit while requests run")
        finally:
            enough.set()
    serving.result()
    report.add("4", "busy: rounds of requests, all answered", rounds, ok=True)


def _shrinks(rig: Rig, report: Report, engine: Engine, limit: int, name: str) -> None:
    device, least = rig.read().memory_used_bytes, rig.segment(engine).mapped_bytes
    began = time.monotonic()
    while (mapped := rig.segment(engine).mapped_bytes) > limit and time.monotonic() - began < SHRINK_SECONDS:
        least = min(least, mapped)
        time.sleep(0.05)
    if mapped > limit:
        note = f"not within {SHRINK_SECONDS:g} s; {least} bytes at least, which a limit does not take from the cache"
        report.add("4", name, "never", ok=False, note=note)
        return
    report.add("4", name, time.monotonic() - began, "s", ok=True)
    report.add("4", f"{name}: mapped", mapped, "bytes")
    report.add("4", f"{name}: device gave back since", device - rig.read().memory_used_bytes, "bytes")


def ends(rig: Rig, report: Report) -> None:
    """6. A kill mid-stream, a stop, a move: the memory is back and no segment is left."""
    _killed(rig, report)
    _moved(rig, report)
    for engine in list(rig.engines):
        report.add("6", f"stop of engine {engine.number}", rig.stop(engine), "s")
        left = rig.release(engine)
        report.add("6", f"segment left by the stop of engine {engine.number}", left, note="swept by us if so")
    _back(rig, report, "all stopped", rig.baseline_bytes)
    names = rig.segments_left()
    report.add("6", "segments left at the end", len(names), ok=not names)


def _killed(rig: Rig, report: Report) -> None:
    engine = rig.ensure(2)[-1]
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(engine.client.chat, "Tell me a long story.", 4000)
        rig.until(lambda: _running(engine) > 0, "the stream runs", 30)
        held, before = rig.held_bytes(engine), rig.read().memory_used_bytes
        rig.kill(engine)
        report.add("6", "kill -9: processes gone", rig.until(lambda: rig.gone(engine), "it is gone", 30), "s")
        said = stream.result(60)
    report.add("6", "kill -9: the stream ended early", not said.finished, ok=not said.finished)
    report.add("6", "kill -9: segment left", rig.release(engine), note="swept by us")
    least = engine.facts.get("weights_bytes") or 0 if held is None else held
    report.add("6", "kill -9: held before, by the device's word", held, "bytes")
    _back(rig, report, "kill -9", before - least)


def _moved(rig: Rig, report: Report) -> None:
    """Between two places on one device: the target serves before the source ends, which finishes what it serves."""
    source = rig.ensure(1)[-1]
    before = rig.used_bytes()
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(source.client.chat, "Tell me a story.", rig.settings.tokens * 4)
        (target,) = rig.start()
        answered = target.client.complete("hello", 1)
        report.add("6", "move: the target serves", bool(answered["choices"]), ok=True)
        finished = stream.result(300).finished
        report.add("6", "move: what the source served ended well", finished, ok=finished)
    rig.until(lambda: _running(source) == 0, "the source is drained", 60)
    report.add("6", "move: the source stops", rig.stop(source), "s")
    rig.release(source)
    _back(rig, report, "move", before)
    names = rig.segments_left()
    report.add("6", "move: segments", len(names), ok=set(names) == {each.ipc_name for each in rig.engines})


def _back(rig: Rig, report: Report, what: str, before: int) -> None:
    began = time.monotonic()
    try:
        rig.until(lambda: rig.used_bytes() <= before + BASELINE_TOLERANCE_BYTES, what, 30)
    except Failed:
        pass  # the row tells
    more = rig.used_bytes() - before
    back = more <= BASELINE_TOLERANCE_BYTES
    took = f"after {time.monotonic() - began:.1f} s; 64 MiB are allowed"
    report.add("6", f"{what}: memory above what it was", more, "bytes", ok=back, note=took)


def gateway_overhead(rig: Rig, report: Report, gateway: Client | None) -> None:
    """7. The same requests direct and through the gateway."""
    engine = rig.ensure(1)[0]
    if gateway is None:
        note = "no gateway here: it needs its databases; give --gateway-url, --gateway-key and --gateway-model"
        report.add("7", "through /v1", "skipped", note=note)
    compare(rig.settings, report, engine.client, gateway)


def compare(settings: Settings, report: Report, direct: Client, gateway: Client | None) -> None:
    """Streams one after the other, in turns direct and through the gateway, then several at once."""
    ways = {"direct": direct} | ({"through /v1": gateway} if gateway else {})
    alone: dict[str, list[Stream]] = {name: [] for name in ways}
    for client in ways.values():
        client.chat("warm up", 4)
    for number in range(2 * settings.requests):
        for turn, (name, client) in enumerate(ways.items()):
            alone[name].append(client.chat(prompt(700 + 2 * number + turn, 200), settings.tokens))
    for name, streams in alone.items():
        _say(report, f"{name}: one at a time", streams)
    for name, client in ways.items():
        _together(settings, report, name, client)


def _together(settings: Settings, report: Report, name: str, client: Client) -> None:
    count = 4 * settings.requests
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        texts = [prompt(9000 + number + 1000 * len(name), 200) for number in range(count)]
        streams = list(pool.map(lambda text: client.chat(text, settings.tokens), texts))
    whole = sum(each.tokens for each in streams) / (time.monotonic() - began)
    _say(report, f"{name}: {count} at once", streams)
    report.add("7", f"{name}: {count} at once, in all", whole, "tokens/s", ok=all(each.finished for each in streams))


def _say(report: Report, name: str, streams: list[Stream]) -> None:
    firsts = [each.first_token_seconds for each in streams if each.first_token_seconds is not None]
    speeds = [each.tokens_per_second for each in streams if each.tokens_per_second is not None]
    report.add("7", f"{name}: first token, median", statistics.median(firsts) if firsts else None, "s")
    report.add("7", f"{name}: a stream, median", statistics.median(speeds) if speeds else None, "tokens/s")


def _timed(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _running(engine: Engine) -> int:
    """Requests the engine runs, by its metrics."""
    try:
        text = engine.client.call("GET", "/metrics", timeout_seconds=10).decode()
    except CallFailed:
        return 0
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))
