"""The dashboard in a real browser, against a real installation."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import PATIENCE_MS, accessible, chromium, never_sideways
from tests.e2e.test_supervised import Up, up

__all__ = ["up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of its own for every test."""
    with chromium() as shown:
        yield shown


def sign_in(page: Page, up: Up) -> None:
    """As the first admin, with the password that the first start printed."""
    found = re.search(r"Password\s+(\S+)", up.said)
    assert found is not None, up.said
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(found[1])
    page.get_by_role("button", name="Sign in").click()


def test_an_operator_signs_in_sees_the_fleet_live_and_puts_a_model_to_sleep(page: Page, up: Up) -> None:
    sign_in(page, up)
    expect(page.get_by_role("article")).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.get_by_text("simulated GPUs")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    code = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="code"))
    expect(code).to_contain_text("Ready", timeout=PATIENCE_MS)
    bar = page.get_by_role("img", name=re.compile("code: weights, [0-9.]+ GiB; code: overhead, .*GiB free"))
    expect(bar).to_have_count(1, timeout=PATIENCE_MS)
    expect(page.get_by_text("KV memory: may use all it can address").first).to_be_visible(timeout=PATIENCE_MS)
    code.get_by_role("button", name="Sleep", exact=True).click()
    expect(code).to_contain_text("Sleeping", timeout=PATIENCE_MS)
    asleep = page.get_by_role("img", name=re.compile("code: kept while asleep, [0-9.]+ GiB"))
    expect(asleep).to_have_count(1, timeout=PATIENCE_MS)
    assert {row["deployment_name"]: row["state"] for row in up.replicas()}["code"] == "sleeping"


def test_many_gpus_stand_in_a_line_each_and_open_to_their_cards(page: Page, up: Up) -> None:
    sign_in(page, up)
    expect(page.get_by_role("article")).to_have_count(2, timeout=PATIENCE_MS)
    page.get_by_text("Dense", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(0)
    assert page.url.endswith("?view=dense")
    here = page.get_by_role("list", name="Replicas on GPU 0", exact=True)
    expect(here.get_by_role("link", name="chat", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("chat: weights, [0-9.]+ GiB"))).to_be_visible()
    never_sideways(page)
    page.get_by_role("button", name="GPU 0", exact=True).press("Enter")
    expect(page.get_by_role("article", name="GPU 0")).to_be_visible()
    accessible(page)
    page.reload()
    expect(page.get_by_role("list", name="GPUs of")).to_be_visible()


def test_the_page_never_scrolls_sideways(page: Page, up: Up) -> None:
    sign_in(page, up)
    expect(page.get_by_role("article")).to_have_count(2, timeout=PATIENCE_MS)
    never_sideways(page)
