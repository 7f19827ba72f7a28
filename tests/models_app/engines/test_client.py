"""The client against a small real HTTP server."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from models_app.engines.canary import PICTURE, PROMPT, Canary
from models_app.engines.client import EngineClient, Gauges
from models_app.errors import EngineProtocolError, EngineRefused, EngineTimeout, EngineUnreachable

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 2.0
vllm:num_requests_running{engine="1",model_name="a"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 4.0
"""


ONE_TOKEN = {"max_tokens": 1, "temperature": 0, "seed": 0, "return_tokens_as_token_ids": True}


@dataclass
class Fake:
    """What to answer by path, and what was asked."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    hold_seconds: float = 0.0

    def says(self, path: str, body: object, status: int = 200) -> EngineClient:
        """From now on `path` is answered so."""
        self.answers[path] = (status, body if isinstance(body, bytes) else json.dumps(body).encode())
        return self.client()

    def client(self) -> EngineClient:
        """Ours, to this server."""
        return EngineClient(self.url, "the-key")


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append((f"{self.command} {self.path}", body))
            fake.keys.add(self.headers.get("Authorization"))
            time.sleep(fake.hold_seconds)
            status, content = fake.answers.get(self.path.partition("?")[0], (200, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever hung up does not want it
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@contextmanager
def serving() -> Iterator[Fake]:
    """A server in a thread."""
    fake = Fake()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def engine() -> Iterator[Fake]:
    """A pretended engine."""
    with serving() as fake:
        yield fake


def test_every_call_carries_the_engines_key(engine: Fake) -> None:
    engine.client().health()
    engine.client().sleep(1)
    assert engine.keys == {"Bearer the-key"}


def test_level_and_mode_of_a_sleep_are_in_the_query(engine: Fake) -> None:
    engine.client().sleep(1)
    engine.client().sleep(2, mode="abort")
    assert engine.asked == [("POST /sleep?level=1&mode=wait", None), ("POST /sleep?level=2&mode=abort", None)]


def test_a_wake_from_level_one_is_one_call(engine: Fake) -> None:
    engine.client().wake()
    assert engine.asked == [("POST /wake_up", None)]


def test_a_wake_from_level_two_reads_the_weights_before_the_cache(engine: Fake) -> None:
    engine.client().wake(2)
    assert engine.asked == [
        ("POST /wake_up?tags=weights", None),
        ("POST /collective_rpc", {"method": "reload_weights"}),
        ("POST /wake_up?tags=kv_cache", None),
        ("POST /reset_prefix_cache", None),
    ]


def test_a_failed_reload_leaves_the_cache_asleep(engine: Fake) -> None:
    client = engine.says("/collective_rpc", {"error": "no file"}, 500)
    with pytest.raises(EngineRefused):
        client.wake(2)
    assert "POST /wake_up?tags=kv_cache" not in [asked for asked, _ in engine.asked]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (500, False)])
def test_health_is_what_the_engine_says(engine: Fake, status: int, healthy: bool) -> None:
    assert engine.says("/health", b"", status).health() is healthy


@pytest.mark.parametrize("asleep", [True, False])
def test_is_sleeping_is_what_the_engine_says(engine: Fake, asleep: bool) -> None:
    assert engine.says("/is_sleeping", {"is_sleeping": asleep}).is_sleeping() is asleep


@pytest.mark.parametrize("body", [b"", b"<html>", [True], {"is_sleeping": "no"}, {}, b"\xff\xfe"])
def test_a_garbled_is_sleeping_is_not_awake(engine: Fake, body: object) -> None:
    with pytest.raises(EngineProtocolError):
        engine.says("/is_sleeping", body).is_sleeping()


def test_gauges_are_summed_over_cores_by_exact_name(engine: Fake) -> None:
    assert engine.says("/metrics", METRICS.encode()).gauges() == Gauges(running=3, waiting=4)


def test_a_gauge_that_is_not_told_is_unknown(engine: Fake) -> None:
    assert engine.says("/metrics", b"process_cpu_seconds_total 1\n").gauges() == Gauges(None, None)


@pytest.mark.parametrize("value", ["NaN", "many", "+Inf"])
def test_a_gauge_that_is_no_number_is_unknown(engine: Fake, value: str) -> None:
    told = engine.says("/metrics", f"vllm:num_requests_running {value}\n".encode()).gauges()
    assert told == Gauges(None, None)


def test_the_canary_is_one_greedy_token_and_how_likely_it_was(engine: Fake) -> None:
    usage = {"prompt_tokens": 6, "completion_tokens": 1}
    told = {"tokens": ["token_id:7"], "token_logprobs": [-0.3]}
    client = engine.says("/v1/completions", {"choices": [{"text": " over", "logprobs": told}], "usage": usage})
    assert client.canary("llama") == Canary(" over", 6, 1, "token_id:7", -0.3)
    asked = {"model": "llama", "prompt": PROMPT, **ONE_TOKEN, "logprobs": 0}
    assert engine.asked == [("POST /v1/completions", asked)]


def test_what_an_engine_does_not_tell_is_unknown(engine: Fake) -> None:
    told = {"tokens": [], "token_logprobs": [None]}
    assert engine.says("/v1/completions", {"choices": [{"text": " a", "logprobs": told}]}).canary("llama") == Canary(
        " a", 0, 0
    )
    assert engine.says("/v1/completions", {"choices": [{"text": " a", "logprobs": None}]}).canary("llama") == Canary(
        " a", 0, 0
    )


def test_one_that_looks_at_pictures_is_shown_one_and_its_tokens_count(engine: Fake) -> None:
    engine.says("/v1/completions", {"choices": [{"text": " a"}], "usage": {"prompt_tokens": 6, "completion_tokens": 1}})
    told = {"content": [{"token": "token_id:9", "logprob": -1.5}]}
    choice = {"message": {"content": None, "reasoning": "A"}, "logprobs": told}
    usage = {"prompt_tokens": 70, "completion_tokens": 1}
    client = engine.says("/v1/chat/completions", {"choices": [choice], "usage": usage})
    image = Canary("A", 70, 1, "token_id:9", -1.5)
    assert client.canary("seer", seeing=True) == Canary(" a", 76, 2, image=image)
    path, asked = engine.asked[-1]
    assert path == "POST /v1/chat/completions"
    assert asked["messages"][0]["content"][0] == {"type": "image_url", "image_url": {"url": PICTURE}}
    assert ONE_TOKEN.items() <= asked.items()


def test_one_that_refuses_the_picture_is_known_by_its_text(engine: Fake) -> None:
    engine.says("/v1/completions", {"choices": [{"text": " a"}]})
    client = engine.says("/v1/chat/completions", {"error": "At most 0 image(s) may be provided"}, 400)
    assert client.canary("seer", seeing=True) == Canary(" a", 0, 0)


def test_an_engine_without_completions_is_known_by_an_embeddings_peaks(engine: Fake) -> None:
    engine.says("/v1/completions", {"error": "Not Found"}, 404)
    answer = {"data": [{"embedding": [0.1, -0.9, 0.3, 0.2, 0.01]}], "usage": {"prompt_tokens": 6}}
    client = engine.says("/v1/embeddings", answer)
    assert client.canary("bge") == Canary("peaks 1- 2+ 3+ 0+", 6, 0)
    engine.says("/v1/embeddings", {"data": [{"embedding": [0.1004, -0.8996, 0.3001, 0.2, 0.011]}]})
    assert client.canary("bge").answer == "peaks 1- 2+ 3+ 0+"


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_failing_completion_is_not_asked_as_an_embedding(engine: Fake, status: int) -> None:
    with pytest.raises(EngineRefused):
        engine.says("/v1/completions", {"error": "busy"}, status).canary("llama")
    assert [path for path, _ in engine.asked] == ["POST /v1/completions"]


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": [{"embedding": "AAAA"}]}])
def test_an_answer_without_an_embedding_is_a_protocol_error(engine: Fake, body: object) -> None:
    engine.says("/v1/completions", {"error": "Not Found"}, 404)
    with pytest.raises(EngineProtocolError):
        engine.says("/v1/embeddings", body).canary("bge")


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}])
def test_a_completion_without_a_choice_is_a_protocol_error(engine: Fake, body: object) -> None:
    with pytest.raises(EngineProtocolError):
        engine.says("/v1/completions", body).canary("llama")


def test_an_error_status_is_told_with_its_words(engine: Fake) -> None:
    client = engine.says("/sleep", b"Sleep mode is not enabled", 503)
    with pytest.raises(EngineRefused, match=r"/sleep answered 503: Sleep mode is not enabled") as caught:
        client.sleep(1)
    assert caught.value.fields["status"] == 503


def test_a_slow_engine_times_out(engine: Fake) -> None:
    engine.hold_seconds = 0.5
    with pytest.raises(EngineTimeout):
        engine.client().health(timeout_seconds=0.05)


def test_an_engine_that_is_gone_is_unreachable() -> None:
    with serving() as fake:
        client = fake.client()
    with pytest.raises(EngineUnreachable):
        client.version()


def test_an_answer_that_cannot_be_decoded_is_a_coded_error() -> None:
    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"nope")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with pytest.raises(EngineProtocolError):
        EngineClient(f"http://127.0.0.1:{server.server_port}", "k").version()
    thread.join()
    server.server_close()


def test_the_version_is_the_engines_own(engine: Fake) -> None:
    assert engine.says("/version", {"version": "0.30.0"}).version() == "0.30.0"


def test_a_version_that_is_not_told_is_unknown(engine: Fake) -> None:
    assert engine.says("/version", {}).version() is None
