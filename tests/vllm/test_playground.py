"""The playground in a browser with real vLLM behind it: pictures, reasoning, tool calls, refusals, a stopped answer."""

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, Route, expect
from tokenizers import Tokenizer

from models_app.engines import metrics
from models_app.engines.metrics import EngineMetrics
from tests.browser import accessible, patient
from tests.clients import tiny_vision
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import Up
from tests.patience import until

__all__ = ["page", "patient"]
_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("patient"),
    pytest.mark.skipif(not _EXECUTABLE, reason="SARDEENZ_TEST_VLLM names no vllm"),
]
_MIB = 2**20
ARGUMENTS = [
    *("--load-format", "dummy", "--enforce-eager", "--max-num-seqs", "4"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3"),
    *("--limit-mm-per-prompt", '{"image": 1}'),
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SPACES = ("Ġ", "Ċ", "ĉ", "č")
"""Blank, line feed, tab and carriage return, as tokens of bytes are written."""
LONG = 1900
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR4nGM4YaNBEmIY1TCqYfhqAACQ+f8B8u7oVgAAAABJRU5ErkJggg=="
)


class Seer:
    """A running installation with a model that sees, reasons and calls tools, all at random."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.folder = up.data_dir / "models" / "seer"
        self.up.environment["SARDEENZ_MODELS_DIR"] = str(self.folder.parent)

    def serve(self) -> None:
        """Deploy it and wait until it is ready."""
        tiny_vision.write(self.folder, tiny_vision.SAID)
        self.up.start()
        runtime = {"kind": "vllm-cpu", "executable": _EXECUTABLE, "version": "0.30.0", "kvcached": False}
        self.post("models", name="seer", source="seer")
        self.post("runtimes", name="engine", **runtime)
        sizes = {"weights_bytes": 64 * _MIB, "kv_cap_bytes": 32 * _MIB}
        made = self.post(
            "deployments",
            name="seer",
            model="seer",
            runtime="engine",
            extra_args=ARGUMENTS,
            sleep_enabled=False,
            **sizes,
        )
        self.post(f"deployments/{made['id']}/deploy")
        until(lambda: self.up.replicas()[0]["state"] in ("ready", "failed"), "the model is ready", 600)
        assert self.up.replicas()[0]["state"] == "ready", self.up.replicas()

    def post(self, path: str, **fields: Any) -> Any:
        """With the key of the local command line."""
        told = json.loads((self.up.data_dir / "cli.json").read_text())
        headers = {"Authorization": f"Bearer {told['token']}"}
        answer = httpx2.post(f"{told['url']}/api/{path}", json=fields, headers=headers, timeout=30, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()

    def number_of(self, token: str) -> str:
        """As a request names the token in its `logit_bias`."""
        return str(Tokenizer.from_file(str(self.folder / "tokenizer.json")).token_to_id(token))

    def gauges(self) -> EngineMetrics:
        """What its engine says of itself."""
        first, _, last = self.up.environment["SARDEENZ_ENGINE_PORTS"].partition("-")
        for port in range(int(first), int(last) + 1):
            with suppress(httpx2.ConnectError):
                told = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=30, trust_env=False)
                return metrics.parse(told.text)
        raise AssertionError("no engine listens")


@pytest.fixture
def seer() -> Iterator[Seer]:
    """Everything running; it is ended afterwards, engine included."""
    up = Up()
    try:
        made = Seer(up)
        made.serve()
        yield made
    finally:
        up.clear()


def test_pictures_reasoning_tool_calls_refusals_and_a_stop(page: Page, seer: Seer) -> None:
    sign_in(page, seer.up)
    page.get_by_role("link", name="Playground").click()
    page.get_by_label("Model of pane 1").select_option("seer")
    page.get_by_text("System prompt, sampling and tools").click()
    page.get_by_label("Max tokens").fill("96")
    a_picture_is_seen(page)
    two_are_refused_in_words(page)
    reasoning_stands_apart(page, seer)
    a_tool_is_called(page, seer)
    a_stop_reaches_the_engine(page, seer)
    accessible(page)


def ask(page: Page, prompt: str, **more: Any) -> Locator:
    """Ask with what the form has no field for; the turn that it begins."""
    page.unroute_all()

    def with_more(route: Route) -> None:
        route.continue_(post_data=json.dumps((route.request.post_data_json or {}) | more))

    page.route("**/api/playground", with_more)
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Prompt", exact=True).press("Enter")
    turn = page.get_by_role("region", name="Pane 1").get_by_role("article").filter(has_text=prompt)
    expect(turn).to_be_visible()
    return turn


def add_pictures(page: Page, number: int) -> None:
    files: Any = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": PICTURE} for n in range(number)]
    page.get_by_label("Pictures for the prompt").set_input_files(files)
    expect(page.get_by_role("list", name="Pictures").get_by_role("img")).to_have_count(number)


def prompt_tokens(turn: Locator) -> int:
    told = turn.get_by_text(re.compile(r"^\d+ → \d+ tokens"))
    expect(told).to_be_visible()
    return int(told.inner_text().split()[0])


def a_picture_is_seen(page: Page) -> None:
    blind = prompt_tokens(ask(page, "Describe it please."))
    page.get_by_role("button", name="New conversation").click()
    add_pictures(page, 1)
    turn = ask(page, "Describe it please.")
    expect(turn.get_by_role("img", name="Picture 1 of the prompt")).to_be_visible()
    assert prompt_tokens(turn) > blind + 4
    expect(turn.get_by_role("alert")).to_have_count(0)


def two_are_refused_in_words(page: Page) -> None:
    page.get_by_role("button", name="New conversation").click()
    add_pictures(page, 2)
    turn = ask(page, "Compare them please.")
    expect(turn.get_by_role("alert")).to_contain_text("At most 1 image")
    expect(turn.get_by_text(re.compile("tokens$"))).to_have_count(0)


def reasoning_stands_apart(page: Page, seer: Seer) -> None:
    page.get_by_role("button", name="New conversation").click()
    turn = ask(page, "Think first.", logit_bias={seer.number_of("</think>"): 3}, min_tokens=90, seed=3)
    prompt_tokens(turn)
    summary = turn.get_by_text("Reasoning", exact=True)
    expect(summary).to_be_visible()
    thought = turn.get_by_role("group").get_by_role("paragraph")
    expect(thought).to_be_hidden()  # an answer folds it up
    summary.click()
    expect(thought).to_be_visible()
    assert "</think>" not in thought.inner_text()


def a_tool_is_called(page: Page, seer: Seer) -> None:
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Tools").fill(json.dumps([TOOL]))
    page.get_by_label("Which tool").select_option("get_weather")
    no_space = {seer.number_of(space): -100 for space in SPACES}  # or the model might write blanks until it is cut off
    without = {"chat_template_kwargs": {"enable_thinking": False}, "logit_bias": no_space}
    turn = ask(page, "What is the weather?", **without)
    expect(turn.get_by_text("Calls get_weather")).to_be_visible()
    expect(turn.get_by_text('{"city":"Paris"}')).to_be_visible()
    prompt_tokens(turn)
    page.get_by_label("Tools").fill("")
    prompt_tokens(ask(page, "And now?"))


def a_stop_reaches_the_engine(page: Page, seer: Seer) -> None:
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Max tokens").fill(str(LONG))
    before = seer.gauges()["generation_tokens"] or 0
    turn = ask(page, "Tell a long story.", ignore_eos=True)
    expect(turn.get_by_text(re.compile("first token"))).to_be_visible()
    page.get_by_role("button", name="Stop pane 1").click()
    expect(turn.get_by_text("stopped")).to_be_visible()
    until(lambda: seer.up.get("usage?outcome=cancelled")["results"], "a call that is cancelled", 30)

    def generated() -> float:
        return (seer.gauges()["generation_tokens"] or 0) - before

    until(lambda: generated() > 0 and seer.gauges()["running"] == 0, "the engine runs nothing more", 60)
    assert generated() < LONG
