"""Maintenance in the dashboard: a GPU is cordoned, emptied while streams flow and opened again; what is under way."""

import re
import subprocess
import sys
import threading
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import accessible, never_sideways, patient
from tests.e2e.stack import ROOT
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_browser_deployments import VIEWER
from tests.e2e.test_supervised import Up, key_in, up
from tests.patience import until

__all__ = ["page", "patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]


class Streams:
    """Calls of one model, one after the other, each a stream read to its end."""

    def __init__(self, up: Up, model: str) -> None:
        self.url = f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1/chat/completions"
        self.key, self.model = key_in(up.said), model
        self.ended = 0
        self.failed: list[str] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Streams":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        body = {"model": self.model, "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 16}
        headers = {"Authorization": f"Bearer {self.key}"}
        while not self.over.is_set():
            try:
                answer = httpx2.post(self.url, json=body, headers=headers, timeout=60, trust_env=False)
            except httpx2.HTTPError as error:
                self.failed.append(repr(error))
                continue
            if answer.status_code != 200 or "[DONE]" not in answer.text:
                self.failed.append(answer.text[-300:])
            self.ended += 1


def home_of(up: Up, name: str) -> str:
    """The UUID of the GPU of a deployment's only replica, once it has one that serves."""
    placed: list[dict[str, Any]] = []

    def settled() -> bool:
        placed[:] = [row for row in up.replicas() if row["deployment_name"] == name]
        return [row["state"] for row in placed] == ["ready"]

    until(settled, f"{name} serves on one GPU", 90)
    return str(placed[0]["gpu_uuids"][0])


def panel(page: Page, index: int) -> Locator:
    return page.get_by_role("article", name=f"GPU {index}", exact=True)


def confirm(page: Page, verb: str, why: str) -> Locator:
    """Say why, once what would happen is told; by keyboard."""
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    dialog.get_by_label("Why", exact=True).fill(why)
    dialog.get_by_role("button", name=verb, exact=True).press("Enter")
    expect(dialog).to_have_count(0)
    return dialog


def look(page: Page) -> None:
    """What runs where, with memory, state and pid."""
    page.get_by_role("link", name="Nodes & GPUs").click()
    expect(page.get_by_role("heading", name="Nodes & GPUs")).to_be_visible()
    expect(page.get_by_role("table", name=re.compile("^Processes on")).first).to_contain_text("engine")
    accessible(page)
    never_sideways(page)


def cordon(page: Page, up: Up, empty: int) -> None:
    """A cordoned GPU says so here and on the fleet, and a deploy avoids it."""
    panel(page, empty).get_by_role("button", name=re.compile("^Cordon")).press("Enter")
    dialog = page.get_by_role("dialog", name=f"Cordon GPU {empty}?")
    expect(dialog).to_contain_text("takes nothing new")
    accessible(page)
    confirm(page, "Cordon", "new fan")
    expect(panel(page, empty)).to_contain_text("cordoned: new fan")
    page.get_by_role("link", name="Fleet", exact=True).click()
    expect(panel(page, empty)).to_contain_text("cordoned: new fan")
    gpus = up.get("gpus")["results"]
    closed = next(row["uuid"] for row in gpus if row["index"] == empty)
    up.cli("deploy", "tuna", "--model", "org/tuna", "--runtime", "simulator", "--weights", "4GiB")
    assert home_of(up, "tuna") != closed
    page.get_by_role("link", name="Nodes & GPUs").click()
    panel(page, empty).get_by_role("button", name=re.compile("^Uncordon")).press("Enter")
    expect(panel(page, empty)).not_to_contain_text("cordoned")


def drain(page: Page, up: Up, busy: int, name: str) -> None:
    """What would move is told, and moves while its streams go on."""
    before = home_of(up, name)
    with Streams(up, name) as streams:
        until(lambda: streams.ended > 1, "streams flow", 60)
        panel(page, busy).get_by_role("button", name=re.compile("^Drain")).press("Enter")
        dialog = page.get_by_role("dialog", name=f"Drain GPU {busy}?")
        expect(dialog).to_contain_text(f"A new replica of {name} loads on GPU {1 - busy}")
        accessible(page)
        confirm(page, "Drain", "new driver")
        expect(panel(page, busy)).to_contain_text(": new driver")
        expect(panel(page, busy)).to_contain_text("No process runs there")
        expect(panel(page, busy)).to_contain_text("cordoned: new driver")
        seen = streams.ended
        until(lambda: streams.ended > seen + 1, "streams still flow", 60)
    assert (streams.failed, home_of(up, name) != before) == ([], True)
    panel(page, busy).get_by_role("button", name=re.compile("^Uncordon")).press("Enter")
    expect(panel(page, busy)).not_to_contain_text("cordoned")
    page.get_by_role("link", name="Decisions").click()
    expect(page.get_by_role("main")).to_contain_text("is empty; it stays cordoned (new driver)")


def cancel_a_load(page: Page, up: Up) -> None:
    """What is under way is counted at the top, listed in a drawer, and can be called off there."""
    up.cli(
        "deploy",
        "slow",
        "--model",
        "org/slow",
        "--runtime",
        "simulator",
        "--weights",
        "4GiB",
        "--arg=--load-seconds",
        "--arg=120",
    )
    opener = page.get_by_role("button", name=re.compile("^Operations under way: [1-9]"))
    expect(opener).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name=re.compile("^Find")).fill("under way")
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Operations under way")
    row = drawer.get_by_role("listitem").filter(has_text="slow/")
    expect(row).to_contain_text("Loads")
    accessible(page)
    never_sideways(page)
    row.get_by_role("button", name=re.compile("^Cancel slow")).press("Enter")
    expect(drawer.get_by_role("listitem")).to_have_count(0)
    expect(drawer).to_contain_text("Nothing loads")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(page.get_by_role("button", name="Operations under way: 0")).to_be_visible()


def look_as_viewer(page: Page, up: Up) -> None:
    """Somebody who may only look sees the same, and why each control is off."""
    subprocess.run([sys.executable, "manage.py", "shell", "-c", VIEWER], cwd=ROOT, env=up.environment, check=True)
    page.context.clear_cookies()
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/nodes")
    page.get_by_label("User name").fill("vera")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    for verb in ("Cordon", "Drain"):
        button = panel(page, 0).get_by_role("button", name=re.compile(f"^{verb}"))
        expect(button).to_be_disabled()
        expect(button).to_have_attribute("title", "this needs a staff account")


def hear_nothing(page: Page, up: Up) -> None:
    """While nothing new comes, the page says since when what it shows is old."""
    up.kill_all_but_a_gateway()
    note = page.get_by_role("status").filter(has_text="What you see may be old.")
    expect(note).to_contain_text(re.compile("It is of .* old"))
    accessible(page)


def test_a_gpu_is_cordoned_and_emptied_and_what_is_under_way_is_seen(page: Page, up: Up) -> None:
    up.cli("delete", "summariser", "--wait")  # so that each GPU has room for what is on the other
    sign_in(page, up)
    look(page)
    uuids = {row["uuid"]: row["index"] for row in up.get("gpus")["results"]}
    busy = uuids[home_of(up, "code")]
    cordon(page, up, 1 - busy)
    drain(page, up, busy, "code")
    cancel_a_load(page, up)
    look_as_viewer(page, up)
    hear_nothing(page, up)
