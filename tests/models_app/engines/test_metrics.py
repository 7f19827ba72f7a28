"""Engine gauges are read by the metric's exact name; what is not there is unknown."""

import pytest

from models_app.engines import metrics

TEXT = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 3.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.25e+06
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="m"} 7.0
vllm:generation_tokens_total{engine="0",model_name="m"} 42.0
vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="weights_offloaded"} 0.0
http_requests_total{handler="/health"} 5.0
"""


def test_ranks_are_summed_and_the_fullest_speaks_for_the_cache() -> None:
    assert metrics.parse(TEXT) == {
        "running": 5,
        "waiting": 4,
        "kv_usage_ratio": 0.5,
        "prompt_tokens": 1_250_000,
        "generation_tokens": 42,
        "sleeping": False,
    }


def test_an_engine_asleep_says_so() -> None:
    text = TEXT.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    assert metrics.parse(text)["sleeping"] is True


@pytest.mark.parametrize("text", ["", "vllm:num_requests_running NaN", "not prometheus at all\nvllm:{", "<html>"])
def test_what_is_not_said_is_none_and_never_zero(text: str) -> None:
    assert metrics.parse(text) == metrics.unknown()


def test_a_zero_is_known() -> None:
    assert metrics.parse("vllm:num_requests_running 0.0 1700000000000")["running"] == 0
