"""Counters that equal what was served, and requests whose client has left."""

import httpx2

from tests.contract.engines import Engine
from tests.contract.sse import chat, events
from tests.patience import until

_NAMES = (
    "num_requests_running",
    "num_requests_waiting",
    "num_requests_waiting_by_reason",
    "kv_cache_usage_perc",
    "engine_sleep_state",
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "prompt_tokens_by_source_total",
    "generation_tokens_total",
    "request_success_total",
    "num_preemptions_total",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "time_to_first_token_seconds_bucket",
    "inter_token_latency_seconds_bucket",
    "e2e_request_latency_seconds_bucket",
    "cache_config_info",
)


def test_every_series_we_read_is_there(engine: Engine) -> None:
    for name in _NAMES:
        engine.gauge(name)


def test_series_are_labelled_with_engine_and_first_name(engine: Engine, client: httpx2.Client) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'vllm:num_requests_running{engine="0",model_name="sprat"} ' in answer.text


def test_counters_grow_by_what_the_usage_said(engine: Engine, client: httpx2.Client) -> None:
    names = ("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count")
    before = {name: engine.gauge(name) for name in names}
    done = engine.gauge("request_success_total", finished_reason="length")
    bodies = [chat(f"count {number}", max_tokens=7, ignore_eos=True) for number in range(3)]
    usages = [client.post("/v1/chat/completions", json=body).json()["usage"] for body in bodies]
    grown = (sum(usage["prompt_tokens"] for usage in usages), 21, 3)
    until(lambda: tuple(engine.gauge(name) - before[name] for name in names) == grown, "the counters agree")
    until(lambda: engine.gauge("request_success_total", finished_reason="length") - done == 3, "three ended")


def test_each_of_several_answers_counts_its_prompt_which_the_usage_says_once(
    engine: Engine, client: httpx2.Client
) -> None:
    names = ("prompt_tokens_total", "generation_tokens_total")
    before = [engine.gauge(name) for name in names]
    body = {"model": "sprat", "prompt": ["one", "two three"], "n": 3, "max_tokens": 4, "ignore_eos": True}
    usage = client.post("/v1/completions", json=body | {"temperature": 1.0}).json()["usage"]
    assert usage["completion_tokens"] == 24
    grown = [3 * usage["prompt_tokens"], 24]
    until(lambda: [engine.gauge(name) - was for name, was in zip(names, before, strict=True)] == grown, "six prompts")


def test_a_repeated_long_prompt_counts_as_cached(engine: Engine, client: httpx2.Client) -> None:
    client.post("/reset_prefix_cache")
    body = chat("the same long beginning " * 40, max_tokens=2)
    before = engine.gauge("prompt_tokens_cached_total")
    client.post("/v1/chat/completions", json=body)
    client.post("/v1/chat/completions", json=body)
    until(lambda: engine.gauge("prompt_tokens_cached_total") > before, "tokens come from the cache")


def test_a_client_that_leaves_ends_its_request(engine: Engine) -> None:
    ended = engine.gauge("request_success_total")
    made = engine.gauge("generation_tokens_total")
    body = chat("never mind", max_tokens=1900, ignore_eos=True, stream=True)
    with engine.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(events(answer))
    until(lambda: engine.gauge("num_requests_running") == 0, "nothing runs")
    assert engine.gauge("generation_tokens_total") - made < 1900
    assert engine.gauge("request_success_total") == ended  # vLLM counts it nowhere


def test_a_client_that_leaves_before_its_whole_answer_ends_its_request(engine: Engine) -> None:
    body = chat("never mind", max_tokens=1900, ignore_eos=True)
    made = engine.gauge("generation_tokens_total")
    with engine.client() as client:
        try:
            client.post("/v1/chat/completions", json=body, timeout=0.5)
        except httpx2.ReadTimeout:
            pass
    until(lambda: engine.gauge("num_requests_running") == 0, "nothing runs")
    assert engine.gauge("generation_tokens_total") - made < 1900
