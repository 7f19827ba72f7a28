"""curl, as our own pages show it."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients.asks import NO_MODEL, QUESTION, not_supported, picture, sound, turns
from tests.clients.installation import Site


class Answer(NamedTuple):
    """What curl printed."""

    status: int
    kind: str
    body: str


def curl(site: Site, path: str, *arguments: str | Path, key: str | None = None) -> Answer:
    """Run curl with a key; its last line says the status and the content type."""
    argv = ["curl", "-sS", "--noproxy", "*", "--max-time", "60", "-w", "\n%{http_code} %{content_type}"]
    key_header = f"Authorization: Bearer {key or site.key}"
    done = subprocess.run(
        [*argv, "-H", key_header, *arguments, f"{site.root}{path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    body, _, last = done.stdout.rpartition("\n")
    status, _, kind = last.partition(" ")
    return Answer(int(status), kind, body)


def post(site: Site, path: str, body: Any, *arguments: str | Path, key: str | None = None) -> Answer:
    """JSON."""
    data = body if isinstance(body, str) else json.dumps(body)
    return curl(site, path, "-H", "Content-Type: application/json", "-d", data, *arguments, key=key)


def test_a_chat_is_answered(site: Site) -> None:
    answer = post(site, "/v1/chat/completions", {"model": site.chat, "messages": turns(), "max_tokens": 4})
    assert (answer.status, answer.kind) == (200, "application/json")
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 4


def test_a_stream_ends_with_done(site: Site) -> None:
    body = {"model": site.chat, "messages": turns(), "max_tokens": 4, "stream": True}
    answer = post(site, "/v1/chat/completions", body, "-N")
    assert (answer.status, answer.kind.partition(";")[0]) == (200, "text/event-stream")
    events = [line for line in answer.body.splitlines() if line]
    assert all(line.startswith("data: ") for line in events)
    assert events[-1] == "data: [DONE]"
    assert len(events) > 3


def test_models_are_listed(site: Site) -> None:
    listed = json.loads(curl(site, "/v1/models").body)
    assert site.chat in [card["id"] for card in listed["data"]]


def test_a_large_body_is_sent_from_a_file(site: Site, tmp_path: Path) -> None:
    """Large enough that curl asks first, with `Expect: 100-continue`."""
    content = [{"type": "image_url", "image_url": {"url": picture()}}, {"type": "text", "text": QUESTION}]
    messages = [{"role": "user", "content": content}]
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"model": site.chat, "max_tokens": 4, "messages": messages}))
    answer = curl(site, "/v1/chat/completions", "-H", "Content-Type: application/json", "--data-binary", f"@{file}")
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/chat/completions", {"model": NO_MODEL, "messages": turns()}, 404, "model_not_found"),
        ("/v1/chat/completions", {"messages": turns()}, 400, "invalid_body"),
        ("/v1/chat/completions", "{", 400, "invalid_body"),
        ("/v1/nothing", {}, 404, "unknown_path"),
        ("/sleep", {}, 404, "unknown_path"),
    ],
)
def test_a_refusal_says_why(site: Site, path: str, body: Any, status: int, code: str) -> None:
    answer = post(site, path, body)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


def test_a_wrong_key_is_refused(site: Site) -> None:
    answer = curl(site, "/v1/models", key="sk-srdz-nobody")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (401, "invalid_api_key")


def test_a_form_with_a_sound_is_written_down(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(sound())
    answer = curl(site, "/v1/audio/transcriptions", "-F", f"file=@{file}", "-F", f"model={site.chat}")
    if answer.status != 200:
        not_supported(site.kind, answer.status, answer.body)
    assert json.loads(answer.body)["text"]


def test_tokens_are_counted(site: Site) -> None:
    body = {"model": site.chat, "max_tokens": 4, "messages": turns()}
    key = f"x-api-key: {site.key}"
    argv = ("-H", key, "-H", "Content-Type: application/json", "-d", json.dumps(body))
    assert json.loads(curl(site, "/v1/messages/count_tokens", *argv).body)["input_tokens"] > 0
