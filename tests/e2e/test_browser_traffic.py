"""A call in flight is seen within seconds, cancelled after a question, and its client told; a viewer only watches."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser import accessible, never_sideways, patient
from tests.e2e.stack import ROOT
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_browser_policies import VIEWER
from tests.e2e.test_supervised import Up, key_in, up
from tests.patience import until

__all__ = ["page", "patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]


class Stream:
    """One client's stream: what came until its end."""

    def __init__(self, up: Up, request_id: str) -> None:
        self.came = b""
        self.ended = False
        self._url = f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1/completions"
        self._headers = {"authorization": f"Bearer {key_in(up.said)}", "x-request-id": request_id}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        body = {"model": "chat", "prompt": "Tell", "stream": True, "max_tokens": 2000, "ignore_eos": True}
        with (
            httpx2.Client(trust_env=False, timeout=None) as client,
            client.stream("POST", self._url, json=body, headers=self._headers) as answer,
        ):
            for piece in answer.iter_raw():
                self.came += piece
        self.ended = True


@contextmanager
def viewing(page: Page, up: Up) -> Iterator[Page]:
    """The same page as somebody who may only look."""
    subprocess.run([sys.executable, "manage.py", "shell", "-c", VIEWER], cwd=ROOT, env=up.environment, check=True)
    assert page.context.browser is not None
    context = page.context.browser.new_context()
    looked = context.new_page()
    looked.goto(page.url)
    looked.get_by_label("User name").fill("vera")
    looked.get_by_label("Password").fill("pw")
    looked.get_by_role("button", name="Sign in").click()
    yield looked
    context.close()


def test_a_call_in_flight_is_seen_and_cancelled(page: Page, up: Up) -> None:
    up.cli("deploy", "chat", "--arg=--tokens-per-second=5")
    up.cli("restart", "chat", "--wait")
    sign_in(page, up)
    page.get_by_role("link", name="Traffic").click()
    flying = page.get_by_role("region", name="In flight")
    expect(flying.get_by_text("Nothing runs at this moment.")).to_be_visible()
    stream = Stream(up, "tell-me")
    row = flying.get_by_role("row").filter(has_text="tell-me")
    expect(row.get_by_role("rowheader", name="chat")).to_be_visible()
    expect(row.get_by_text("Streaming")).to_be_visible()
    expect(flying.get_by_text("1 call: 1 streaming")).to_be_visible()
    accessible(page)
    never_sideways(page)
    a_viewer_sees_it_and_cannot_end_it(page, up)
    a_filter_leaves_it_out(page)
    it_is_cancelled_by_keys_alone(page, stream)
    what_ended_is_in_the_figures(page, up)


def a_viewer_sees_it_and_cannot_end_it(page: Page, up: Up) -> None:
    with viewing(page, up) as looked:
        cancel = looked.get_by_role("button", name="Cancel the call tell-me")
        expect(cancel).to_be_disabled()
        expect(cancel).to_have_attribute("title", "this needs a staff account")
        expect(looked.get_by_text("To cancel a call, this needs a staff account.")).to_be_visible()
        accessible(looked)


def a_filter_leaves_it_out(page: Page) -> None:
    flying = page.get_by_role("region", name="In flight")
    page.get_by_label("Deployment").last.select_option("code")
    expect(page).to_have_url(re.compile(r"/traffic\?model=code"))
    expect(flying.get_by_text("Nothing runs at this moment.")).to_be_visible()
    page.reload()
    expect(flying.get_by_text("Nothing runs at this moment.")).to_be_visible()
    page.get_by_label("Deployment").last.select_option("")
    expect(flying.get_by_role("row").filter(has_text="tell-me")).to_be_visible()


def it_is_cancelled_by_keys_alone(page: Page, stream: Stream) -> None:
    page.get_by_role("button", name="Cancel the call tell-me").press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel the call to chat?")
    expect(dialog.get_by_text("Request tell-me.")).to_be_visible()
    accessible(page)
    dialog.get_by_role("button", name="End the call").press("Enter")
    expect(page.get_by_text("1 call cancelled.")).to_be_visible()
    expect(page.get_by_text("Nothing runs at this moment.")).to_be_visible()
    until(lambda: stream.ended, "the end of the stream", 10)
    last = stream.came.strip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
    assert json.loads(last)["error"]["code"] == "cancelled_by_operator"


def what_ended_is_in_the_figures(page: Page, up: Up) -> None:
    outcomes = page.get_by_role("region", name="How they ended")
    expect(outcomes.get_by_text("cancelled by operator")).to_be_visible()
    table = page.get_by_role("region", name="By deployment")
    table.get_by_role("button", name="chat", exact=True).click()
    expect(page).to_have_url(re.compile(r"/traffic\?by=key&model=chat"))
    expect(page.get_by_role("region", name="By key").get_by_role("rowheader", name="first key")).to_be_visible()
    accessible(page)
    never_sideways(page)
    (call,) = up.get("usage?outcome=cancelled_by_operator")["results"]
    assert (call["request_id"], call["status"]) == ("tell-me", 200)
    assert "admin cancelled this call" in up.get("why?kind=call&of=tell-me")["sentence"]
