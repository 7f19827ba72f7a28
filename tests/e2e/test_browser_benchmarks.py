"""Benchmarks as a person makes them in the dashboard: a form, a run that is followed, its result, and two beside one
another."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import PATIENCE_MS, accessible, never_sideways
from tests.e2e.stack import ROOT
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_browser_policies import VIEWER
from tests.e2e.test_supervised import Up, up

__all__ = ["page", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """Machines that run tests are busy: what is expected may take a while."""
    expect.set_options(timeout=2 * PATIENCE_MS)
    yield
    expect.set_options(timeout=None)


def ask_wrongly(page: Page) -> None:
    """What cannot be read is said beside its field, by the page or by the server."""
    form = page.get_by_role("dialog", name="New benchmark")
    form.get_by_label("Prompt tokens").fill("many")
    form.get_by_role("button", name="Measure").click()
    expect(form.get_by_label("Prompt tokens")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Prompt tokens")).to_be_focused()
    form.get_by_text("A trace", exact=True).click()
    form.get_by_label("Trace", exact=True).fill("offset_ms,model,prompt_tokens,max_tokens\n-5,chat,1,1\n")
    form.get_by_role("button", name="Measure").click()
    expect(form.get_by_role("alert")).to_contain_text("line 2 of the trace has the negative offset -5 ms")
    expect(form.get_by_label("Trace", exact=True)).to_be_focused()
    accessible(page)


def measure(page: Page) -> None:
    """Two callers for a few seconds, and what a neighbour feels."""
    form = page.get_by_role("dialog", name="New benchmark")
    form.get_by_text("A load", exact=True).click()
    form.get_by_label("Name", exact=True).fill("evening")
    form.get_by_label("Callers").fill("2")
    form.get_by_label("Prompt tokens").fill("16")
    form.get_by_label("Answer tokens").fill("4-8")
    form.get_by_label("Ends after").fill("6 s")
    form.get_by_role("button", name="Ask a neighbour").click()
    form.get_by_label("Neighbour", exact=True).select_option("code")
    form.get_by_role("button", name="Measure").click()


def test_a_load_is_measured_followed_compared_and_a_viewer_only_looks(page: Page, up: Up) -> None:
    sign_in(page, up)
    page.get_by_role("link", name="Benchmarks").click()
    expect(page.get_by_text("Nothing was measured yet")).to_be_visible()
    page.get_by_role("button", name="New benchmark").press("Enter")
    ask_wrongly(page)
    measure(page)
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^chat: [0-9]+ at most")).first).to_be_visible()
    times = page.get_by_role("table", name="Times of chat", exact=True)
    expect(times.get_by_role("row", name=re.compile("^First token From the planned time"))).to_contain_text("ms")
    expect(page.get_by_role("table", name="Times of code, probes")).to_be_visible()
    drawn = page.get_by_role("img", name=re.compile("^chat: half within .*; code, probes: half within"))
    expect(drawn.first.locator("canvas")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("chat.*GiB at most")).first).to_be_visible()
    accessible(page)
    never_sideways(page)
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG").first.click()
    assert picture.value.suggested_filename == "benchmark-1-distribution.png"

    up.cli("bench", "run", "chat", "--calls", "4", "--output", "4", "--name", "again")
    page.get_by_role("link", name="All benchmarks").click()
    for name in ("evening", "again"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare 2").click()
    assert "/benchmarks/compare?ids=" in page.url
    compared = page.get_by_role("table", name="Figures of chat")
    expect(compared.get_by_role("row", name=re.compile("^First token p50 .*%"))).to_be_visible()
    accessible(page)
    page.reload()
    expect(compared).to_be_visible()

    up.cli("bench", "run", "chat", "--rate", "1", "--seconds", "300", "--detach")
    page.get_by_role("link", name="All benchmarks").click()
    page.get_by_role("link", name="Benchmark 3").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile("^cancelled (while it ran|before it began)"))).to_be_visible()
    look_as_viewer(page, up)


def look_as_viewer(page: Page, up: Up) -> None:
    """Somebody who may only look sees runs and the form, and why nothing can be asked."""
    subprocess.run([sys.executable, "manage.py", "shell", "-c", VIEWER], cwd=ROOT, env=up.environment, check=True)
    page.context.clear_cookies()
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/benchmarks/1")
    page.get_by_label("User name").fill("vera")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    again = page.get_by_role("button", name="Again…")
    expect(again).to_be_disabled()
    expect(again).to_have_attribute("title", "this needs a staff account")
    page.get_by_role("link", name="All benchmarks").click()
    page.get_by_role("button", name="See the form").click()
    form = page.get_by_role("dialog", name="New benchmark")
    expect(form.get_by_role("note")).to_contain_text("this needs a staff account")
    expect(form.get_by_label("Callers")).to_be_disabled()
    expect(form.get_by_role("button", name="Measure")).to_be_disabled()
