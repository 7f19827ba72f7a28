"""`sardeenz tail`, against the real API over HTTP; following is tried as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from typer.testing import CliRunner

from models_app.models import Deployment
from sardeenz.cli.main import app
from tests import factories
from tests.gateway.api.test_captures_api import captured, keep

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def address(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage", name="command line")[1])
    monkeypatch.setenv("COLUMNS", "250")
    return str(live_server.url)


@pytest.fixture
def run(address: str) -> Any:
    def invoke(*words: str, refused: bool = False) -> Any:
        done = CliRunner().invoke(app, ["tail", "--no-follow", *words])
        assert done.exit_code == int(refused), done.output
        return done

    return invoke


@pytest.fixture
def chat() -> Deployment:
    return factories.deployment(name="chat", capture_until=timezone.now() + timedelta(hours=1))


@pytest.fixture
def follow(address: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-u", "-m", "sardeenz.cli.main", "tail", *words]
        child = subprocess.Popen(
            argv, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


ASKED = json.dumps(
    {"model": "gpt-4", "messages": [{"role": "system", "content": "Be\nbrief."}, {"role": "user", "content": "hi"}]}
)
ANSWERED = json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Good day."}}]})


def test_a_call_is_a_block_of_text(run: Any, chat: Deployment) -> None:
    row, _ = factories.api_key(name="app", team=factories.team("blue"))
    facts = {"key_id": row.pk, "team": row.team_id, "ttft_seconds": 0.25, "cached_tokens": 2, "prompt_tokens": 1234}
    keep(captured(chat, request=ASKED, response=ANSWERED, **facts))
    head, *text = run("chat").stdout.splitlines()
    assert "200 ok  gpt-4 -> chat  key app (blue)  1,234 + 5 tokens (2 cached)" in head
    assert "queued 0.25 s, ttft 0.25 s, e2e 1.50 s" in head
    assert text == ["> system: Be", "  brief.", "  user: hi", "< Good day.", ""]


PICTURE = {"role": "user", "content": [{"type": "text", "text": "see"}, {"url": "[image/png, 9 bytes]"}]}
REQUESTS = {
    '{"prompt": "Once upon"}': "Once upon",
    '{"input": "Hello"}': "Hello",
    '{"input": ["a", "b"]}': '{"input": ["a", "b"]}',
    '{"messages": [{"role": "tool"}]}': 'tool: {"role": "tool"}',
    json.dumps({"messages": [PICTURE]}): "user: see [image/png, 9 bytes]",
    "[1]": "[1]",
}
RESPONSES = {
    '{"error": {"message": "too many", "code": "request_limit"}}': "too many",
    '{"choices": [{"text": "one"}, {"text": "two"}]}': "one\n  two",
    '{"type":"response.output_text.delta","delta":"a b"}\n{"type":"x","text":"a b"}': "a b",
    '{"content": [{"type": "text", "text": "Anthropic"}]}': "Anthropic",
    '{"choices": [{"text": "a\u2028b"}]}': "a\ufffdb",
    '{"data": [{"embedding": [1, 2]}]}': '{"data": [{"embedding": [1, 2]}]}',
    '{"choices": [{"te\n[… 9 bytes left out …]\n"}': '{"choices": [{"te\n  [… 9 bytes left out …]\n  "}',
    "": "",
}


def test_requests_and_answers_of_every_kind_are_readable(run: Any, chat: Deployment) -> None:
    keep(*(captured(chat, request=text, response="") for text in REQUESTS))
    shown = [block.partition("\n< ")[0] for block in run().stdout.split("\n> ")[1:]]
    assert shown == list(REQUESTS.values())
    keep(*(captured(chat, response=text) for text in RESPONSES))
    blocks = run("-n", str(len(RESPONSES))).stdout.split("\n< ")[1:]
    assert [block.partition("\n\n")[0].strip() for block in blocks] == list(RESPONSES.values())


def test_what_strangers_write_steers_no_terminal(run: Any, chat: Deployment) -> None:
    keep(captured(chat, request="\x1b[2J\x07[bold]x[/bold]\r\x9b1m", asked_name="\x1b]0;x"))
    told = run().stdout
    assert not {letter for letter in told if ord(letter) < 32 or 127 <= ord(letter) < 160} - {"\n"}
    assert "[bold]x[/bold]" in told


def test_the_latest_are_shown_oldest_first_and_as_json(run: Any, chat: Deployment) -> None:
    for number in range(3):
        keep(captured(chat, request=f"call-{number}"))
    keep(captured(factories.deployment(name="code"), request="code"))
    lines = [json.loads(line) for line in run("chat", "-n", "2", "--json").stdout.splitlines()]
    assert [each["request"] for each in lines] == ["call-1", "call-2"]
    assert [json.loads(line)["request"] for line in run("--json", "-n", "1").stdout.splitlines()] == ["code"]
    assert run("-n", "0").stdout == ""


def test_capturing_is_turned_on_and_off(run: Any) -> None:
    factories.deployment(name="chat")
    assert "chat does not capture; `sardeenz tail chat --capture 15m` turns it on" in run("chat").stderr
    assert "no deployment captures" in run().stderr
    assert "chat captures until 20" in run("chat", "--capture", "15m").stderr
    until = Deployment.objects.get().capture_until
    assert until is not None
    assert timedelta(minutes=14) < until - timezone.now() <= timedelta(minutes=15)
    assert "chat captures until 20" in run().stderr
    assert "chat does not capture" in run("chat", "--off").stderr
    assert Deployment.objects.get().capture_until is None


def test_what_cannot_be_done_is_said(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.deployment(name="chat")
    assert "say which deployments" in run("--capture", "15m", refused=True).stderr
    assert "say which deployments" in run("--off", refused=True).stderr
    assert "'soon'" in run("chat", "--capture", "soon", refused=True).stderr
    assert "no deployment 'nobody'" in run("nobody", refused=True).stderr
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read")[1])
    assert "manage scope" in run(refused=True).stderr


def test_following_shows_what_comes_and_ends_with_ctrl_c(follow: Any, chat: Deployment) -> None:
    keep(captured(chat, request="before"))
    child = follow("chat", "--json")
    assert json.loads(child.stdout.readline())["request"] == "before"
    for text in ("first", "second"):
        keep(captured(chat, request=text))
        assert json.loads(child.stdout.readline())["request"] == text
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (out, child.returncode) == ("", 0)
    assert "Traceback" not in err and "Abort" not in err
