"""Counters and the Prometheus text of /metrics, under vLLM's names."""

import bisect
from dataclasses import dataclass, field

_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0)
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)
FINISHED = ("stop", "length", "abort", "error", "repetition")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
CONTENT_TYPE = b"text/plain; version=1.0.0; charset=utf-8"


class Histogram:
    """A bucket of a Histogram holds what is at most the bucket's bound; the last bucket has no bound."""

    def __init__(self, *bounds: float) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def render(self, name: str, labels: str) -> list[str]:
        """The lines are Prometheus text; each bucket includes all smaller buckets."""
        lines, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip([*map(float, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}",{labels}}} {total}.0')
        return [*lines, f"{name}_count{{{labels}}} {total}.0", f"{name}_sum{{{labels}}} {self._sum}"]


@dataclass(slots=True)
class Metrics:
    """What the engine has done since its start."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    preemptions: int = 0
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED, 0))
    ttft: Histogram = field(default_factory=lambda: Histogram(*_TTFT))
    itl: Histogram = field(default_factory=lambda: Histogram(*_ITL))
    e2e: Histogram = field(default_factory=lambda: Histogram(*_E2E))
    queue: Histogram = field(default_factory=lambda: Histogram(*_E2E))
    request_prompt: Histogram = field(default_factory=lambda: Histogram(*_TOKENS))
    request_generation: Histogram = field(default_factory=lambda: Histogram(*_TOKENS))


@dataclass(frozen=True, slots=True)
class Gauges:
    """How the engine is now."""

    running: int
    waiting: int
    deferred: int
    kv_usage_ratio: float
    sleep_state: str
    config: str


def render(metrics: Metrics, gauges: Gauges, model: str) -> bytes:
    """The answer of GET /metrics is Prometheus text with vLLM's names and the label `model_name`."""
    labels = f'engine="0",model_name="{model}"'
    lines: list[str] = []

    def series(kind: str, name: str, value: float, more: str = "") -> None:
        head = f"# TYPE vllm:{name} {kind}"
        if head not in lines:
            lines.append(head)
        lines.append(f"vllm:{name}{{{labels}{more}}} {float(value)}")

    series("gauge", "num_requests_running", gauges.running)
    series("gauge", "num_requests_waiting", gauges.waiting)
    capacity = gauges.waiting - gauges.deferred
    series("gauge", "num_requests_waiting_by_reason", capacity, ',reason="capacity"')
    series("gauge", "num_requests_waiting_by_reason", gauges.deferred, ',reason="deferred"')
    for state in SLEEP_STATES:
        series("gauge", "engine_sleep_state", state == gauges.sleep_state, f',sleep_state="{state}"')
    series("gauge", "kv_cache_usage_perc", gauges.kv_usage_ratio)
    series("counter", "prefix_cache_queries_total", metrics.prefix_queries)
    series("counter", "prefix_cache_hits_total", metrics.cached_tokens)
    series("counter", "num_preemptions_total", metrics.preemptions)
    series("counter", "prompt_tokens_total", metrics.prompt_tokens)
    for source, tokens in _by_source(metrics).items():
        series("counter", "prompt_tokens_by_source_total", tokens, f',source="{source}"')
    series("counter", "prompt_tokens_cached_total", metrics.cached_tokens)
    series("counter", "generation_tokens_total", metrics.generation_tokens)
    for reason, number in metrics.finished.items():
        series("counter", "request_success_total", number, f',finished_reason="{reason}"')
    series("gauge", "cache_config_info", 1, gauges.config)
    for name, histogram in _histograms(metrics).items():
        lines += histogram.render(f"vllm:{name}", labels)
    return ("\n".join(lines) + "\n").encode()


def _by_source(metrics: Metrics) -> dict[str, int]:
    computed = metrics.prompt_tokens - metrics.cached_tokens
    return {"local_compute": computed, "local_cache_hit": metrics.cached_tokens, "external_kv_transfer": 0}


def _histograms(metrics: Metrics) -> dict[str, Histogram]:
    return {
        "time_to_first_token_seconds": metrics.ttft,
        "inter_token_latency_seconds": metrics.itl,
        "e2e_request_latency_seconds": metrics.e2e,
        "request_queue_time_seconds": metrics.queue,
        "request_prompt_tokens": metrics.request_prompt,
        "request_generation_tokens": metrics.request_generation,
    }
