"""The Hub is asked for metadata alone, and whoever cannot ask it says so."""

import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from models_app.catalogue import hub
from tests.models_app.catalogue.folders import LLAMA

WEIGHTS = 3 * 2**20


def file_of(size: int, dtype: str = "BF16", *, padding: int = 0) -> bytes:
    """The whole of a safetensors file; `padding` makes its header longer."""
    header: dict[str, Any] = {"w": {"dtype": dtype, "shape": [size // 2], "data_offsets": [0, size]}}
    header["__metadata__"] = {"padding": "x" * padding}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


class Hub(ThreadingHTTPServer):
    """A double of the Hub: files by path, and what was read of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str] = []
        self.asked = 0
        self.tokens: set[str] = set()
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        """One file, or a part of it."""
        self.server.asked += 1
        self.server.tokens.add(self.headers.get("authorization", ""))
        body = self.server.files.get(self.path)
        if body is None or self.server.status != 200:
            self.send_response(self.server.status if self.server.status != 200 else 404)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if part := self.headers.get("range"):
            self.server.ranges.append(part)
            first, last = part.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last) + 1]
        self.send_response(206 if part else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.forget()
    yield server
    hub.forget()
    server.shutdown()
    server.server_close()
    thread.join()


def put(double: Hub, *names: str, config: object = LLAMA, padding: int = 0) -> None:
    """A model `org/name` with these files."""
    siblings = [{"rfilename": name} for name in (*names, "config.json")]
    double.files["/api/models/org/name/revision/main"] = json.dumps({"siblings": siblings}).encode()
    double.files["/org/name/resolve/main/config.json"] = json.dumps(config).encode()
    for name in names:
        double.files[f"/org/name/resolve/main/{name}"] = file_of(WEIGHTS, padding=padding)


def test_only_the_config_and_the_headers_are_read(double: Hub) -> None:
    put(double, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "README.md")
    found = hub.ask("org/name")
    assert found.why == ""
    assert found.facts["weights_bytes"] == 2 * WEIGHTS
    assert found.facts["weights_by_dtype"] == {"BF16": 2 * WEIGHTS}
    assert found.facts["num_key_value_heads"] == 8
    assert double.ranges == ["bytes=0-1048575"] * 2
    assert double.tokens == {"Bearer hf_secret"}


def test_a_long_header_is_read_with_a_second_request(double: Hub) -> None:
    put(double, "model.safetensors", padding=2**21)
    assert hub.ask("org/name").facts["weights_bytes"] == WEIGHTS
    assert len(double.ranges) == 2
    assert double.ranges[1].startswith("bytes=1048576-")


def test_weights_that_lie_there_twice_count_once(double: Hub) -> None:
    put(double, "consolidated.safetensors", "model.safetensors")
    assert hub.ask("org/name").facts["weights_bytes"] == WEIGHTS


def test_an_answer_is_remembered(double: Hub) -> None:
    put(double, "model.safetensors")
    hub.ask("org/name")
    asked = double.asked
    hub.ask("org/name")
    assert double.asked == asked


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "the Hugging Face Hub wants a token for it: give one on the Settings page, or set HF_TOKEN"),
        (
            403,
            "the Hugging Face Hub does not let this token read it: ask for access, or give another one in Settings",
        ),
        (404, "the Hugging Face Hub has no such model or revision"),
        (500, "the Hub answers 500"),
    ],
)
def test_a_refusal_is_said_in_words(double: Hub, status: int, why: str) -> None:
    double.status = status
    assert hub.ask("org/name") == hub.Answer(why=why)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ([], "config.json cannot be read: it is not a JSON object"),
        (LLAMA | {"num_hidden_layers": "many"}, "config.json: num_hidden_layers must be a whole number, not 'many'"),
    ],
)
def test_a_wrong_config_is_said_in_words(double: Hub, config: object, why: str) -> None:
    put(double, config=config)
    assert hub.ask("org/name").why == why


def test_a_truncated_header_is_said_in_words(double: Hub) -> None:
    put(double, "model.safetensors")
    double.files["/org/name/resolve/main/model.safetensors"] = file_of(WEIGHTS)[:40]
    why = "model.safetensors is not complete: it ends within its header; download it again"
    assert hub.ask("org/name").why == why


def test_offline_nothing_is_asked(double: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.ask("org/name").why == "HF_HUB_OFFLINE is set, so the Hugging Face Hub is not asked"
    assert double.asked == 0


def test_without_a_way_out_it_is_said_once_and_not_tried_at_every_question(
    double: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    first = hub.ask("org/name")
    assert first.why == "the Hugging Face Hub cannot be reached from here (ConnectError)"
    monkeypatch.setattr(hub, "_facts", None)  # whoever asks again fails
    assert hub.ask("org/other").why == first.why
