"""Sleeping, pausing, and what requests see of it."""

import threading
from typing import Any

import httpx2
import pytest

from tests.contract.engines import Engine
from tests.contract.sse import chat, events
from tests.patience import until


class Caller(threading.Thread):
    """A chat in a thread of its own."""

    def __init__(self, engine: Engine, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._body = body
        self.answer: httpx2.Response | None = None
        self.start()

    def run(self) -> None:
        with self._engine.client() as client:
            self.answer = client.post("/v1/chat/completions", json=self._body)


def _sleeping(client: httpx2.Client) -> bool:
    return bool(client.get("/is_sleeping").json()["is_sleeping"])


@pytest.mark.parametrize(("level", "state"), [(1, "weights_offloaded"), (2, "discard_all")])
def test_the_level_comes_in_the_query(engine: Engine, awake: httpx2.Client, level: int, state: str) -> None:
    answer = awake.post(f"/sleep?level={level}", json={"level": 3 - level})
    assert (answer.status_code, answer.content) == (200, b"")
    assert _sleeping(awake)
    until(lambda: engine.gauge("engine_sleep_state", sleep_state=state) == 1, f"the metric says {state}")


def test_level_0_only_pauses_and_the_metric_calls_it_neither_awake_nor_asleep(
    engine: Engine, awake: httpx2.Client
) -> None:
    assert awake.post("/sleep?level=0").status_code == 200
    assert _sleeping(awake)
    until(lambda: engine.gauge("engine_sleep_state", sleep_state="awake") == 0, "the metric says it is not awake")
    for state in ("weights_offloaded", "discard_all"):
        assert engine.gauge("engine_sleep_state", sleep_state=state) == 0
    awake.post("/wake_up")
    assert not _sleeping(awake)
    until(lambda: engine.gauge("engine_sleep_state", sleep_state="awake") == 1, "the metric says awake")


def test_waking_ends_the_sleep(engine: Engine, awake: httpx2.Client) -> None:
    awake.post("/sleep?level=1")
    answer = awake.post("/wake_up")
    assert (answer.status_code, answer.content) == (200, b"")
    assert not _sleeping(awake)
    until(lambda: engine.gauge("engine_sleep_state", sleep_state="awake") == 1, "the metric says awake")
    assert awake.post("/v1/chat/completions", json=chat("hello", max_tokens=2)).status_code == 200


def test_waking_in_parts_ends_with_the_last_part(awake: httpx2.Client) -> None:
    awake.post("/sleep?level=1")
    awake.post("/wake_up?tags=weights")
    assert _sleeping(awake)
    awake.post("/wake_up?tags=kv_cache")
    assert not _sleeping(awake)


def test_asleep_it_still_answers_what_costs_nothing(awake: httpx2.Client) -> None:
    awake.post("/sleep?level=1")
    for path in ("/health", "/v1/models", "/metrics", "/version", "/load"):
        assert awake.get(path).status_code == 200
    assert awake.post("/tokenize", json={"model": "sprat", "prompt": "a"}).status_code == 200


def test_a_request_to_a_sleeper_hangs_until_it_wakes(engine: Engine, awake: httpx2.Client) -> None:
    awake.post("/sleep?level=1")
    caller = Caller(engine, chat("anybody there", max_tokens=2, ignore_eos=True))
    until(lambda: awake.get("/load").status_code == 200, "it answers others")
    caller.join(0.5)
    assert caller.answer is None
    awake.post("/wake_up")
    caller.join(60)
    assert caller.answer is not None
    assert caller.answer.status_code == 200


def test_by_default_a_sleep_ends_what_runs_with_abort(engine: Engine, awake: httpx2.Client) -> None:
    ended = engine.gauge("request_success_total", finished_reason="abort")
    caller = Caller(engine, chat("a long story", max_tokens=1900, ignore_eos=True))
    until(lambda: engine.gauge("num_requests_running") == 1, "it runs")
    awake.post("/sleep?level=1")
    caller.join(60)
    assert caller.answer is not None
    assert caller.answer.status_code == 200
    assert caller.answer.json()["choices"][0]["finish_reason"] == "abort"
    until(lambda: engine.gauge("request_success_total", finished_reason="abort") == ended + 1, "it counts as abort")


def test_a_sleep_that_waits_lets_what_runs_end(engine: Engine, awake: httpx2.Client) -> None:
    body = chat("a short story", max_tokens=150, ignore_eos=True, stream=True)
    with engine.client() as other, other.stream("POST", "/v1/chat/completions", json=body) as answer:
        stream = events(answer)
        next(stream)
        awake.post("/sleep?level=1&mode=wait")
        *_, last, end = stream
    assert end == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "length"
    assert _sleeping(awake)


def test_a_pause_that_keeps_freezes_what_runs(engine: Engine, awake: httpx2.Client) -> None:
    body = chat("a frozen story", max_tokens=400, ignore_eos=True, stream=True)
    with engine.client() as other, other.stream("POST", "/v1/chat/completions", json=body) as answer:
        stream = events(answer)
        next(stream)
        assert awake.post("/pause?mode=keep").json() == {"status": "paused"}
        assert awake.get("/is_paused").json() == {"is_paused": True}
        assert _sleeping(awake)
        made = engine.gauge("generation_tokens_total")
        assert awake.post("/resume").json() == {"status": "resumed"}
        assert list(stream)[-1] == "[DONE]"
    assert engine.gauge("generation_tokens_total") > made


def test_a_level_that_is_no_number_is_a_400(awake: httpx2.Client) -> None:
    assert awake.post("/sleep?level=x").status_code == 400
    assert not _sleeping(awake)


def test_an_unknown_mode_is_refused(engine: Engine) -> None:
    for path, status in (("/sleep", 500), ("/pause", 400)):
        with engine.client() as client:  # after a 500 vLLM closes the connection
            assert client.post(f"{path}?mode=doze").status_code == status


def test_a_second_sleep_ends_what_waits_for_the_first_to_end(engine: Engine, awake: httpx2.Client) -> None:
    awake.post("/sleep?level=1")
    caller = Caller(engine, chat("anybody there", max_tokens=2))
    caller.join(0.5)
    assert engine.gauge("num_requests_waiting") == 0  # nobody looks while it sleeps
    until(lambda: awake.post("/sleep?level=1").is_success and not caller.is_alive(), "it is cut", 60)
    assert caller.answer is not None
    assert caller.answer.json()["choices"][0]["finish_reason"] == "abort"


def test_the_prefix_cache_can_be_dropped(awake: httpx2.Client) -> None:
    assert awake.post("/reset_prefix_cache").json() == {"success": True}


def test_aborting_needs_no_pause(engine: Engine, awake: httpx2.Client) -> None:
    caller = Caller(engine, chat("to be cut", max_tokens=1900, ignore_eos=True))
    until(lambda: engine.gauge("num_requests_running") == 1, "it runs")
    assert awake.post("/abort_requests", json={}).json()["status"] == "aborted"
    caller.join(60)
    assert caller.answer is not None
    assert caller.answer.json()["choices"][0]["finish_reason"] == "abort"
    assert not _sleeping(awake)


def test_collective_rpc_wants_a_method(awake: httpx2.Client) -> None:
    assert awake.post("/collective_rpc", json={}).status_code == 400
