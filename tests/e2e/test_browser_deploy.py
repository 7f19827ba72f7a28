"""A person deploys, is told beforehand what does not fit, finds the way back, and removes what is left over."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_browser import PATIENCE_MS, page, sign_in
from tests.e2e.test_browser_access import choose, row
from tests.e2e.test_supervised import Up, up

__all__ = ["page", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """Machines that run tests are busy: what is expected may take a while."""
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=None)


def test_a_refused_deploy_is_told_before_and_leaves_nothing_behind(page: Page, up: Up) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    sign_in(page, up)
    page.get_by_role("button", name="Deploy a model").click()
    form = page.get_by_role("dialog", name="Deploy a model")
    form.get_by_label("Model", exact=True).select_option("new")
    form.get_by_label("Source").fill("org/tuna")
    form.get_by_label("Weights").fill("200 GiB")
    expect(form.get_by_role("status")).to_contain_text("It does not fit now: 20")
    expect(form.get_by_role("status")).to_contain_text("GiB are needed, GPU ")
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(form.get_by_role("alert")).to_contain_text("GiB")
    expect(form.get_by_label("Source")).to_have_value("org/tuna")
    assert [one["name"] for one in up.get("models?name=tuna")["results"] if one["source"] == "org/tuna"] == []
    assert up.get("deployments?name=tuna")["results"] == []
    form.get_by_label("Weights").fill("8 GiB")
    expect(form.get_by_role("status")).to_contain_text("It fits now on GPU ")
    expect(form.get_by_role("status")).to_contain_text("8 GiB of weights")
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(form).to_have_count(0)
    tuna = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="tuna"))
    expect(tuna).to_contain_text("Ready")
    tuna.get_by_role("button", name=re.compile("What tuna")).click()
    menu = page.get_by_role("menu", name=re.compile("What tuna"))
    assert menu.evaluate("menu => menu.getBoundingClientRect().width") > 200
    page.get_by_role("menuitem", name="Move…").click()
    move = page.get_by_role("dialog", name="Move tuna")
    expect(move.get_by_role("radio")).to_have_count(2)
    expect(move).to_contain_text("it is here")
    expect(move.get_by_role("radio", disabled=False)).to_have_count(1)
    assert problems == []


def test_a_model_that_nobody_uses_is_removed_on_its_page(page: Page, up: Up) -> None:
    sign_in(page, up)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    chat = row(page, str(up.get("deployments?name=chat")["results"][0]["model_name"]))
    chat.get_by_role("button").click()
    expect(page.get_by_role("menuitem", name="Delete…")).to_contain_text("used by chat")
    page.keyboard.press("Escape")
    added = page.request.post(
        f"{page.url.removesuffix('/models')}/api/models",
        data={"name": "spare", "source": "org/spare"},
        headers={"X-CSRFToken": next(one["value"] for one in page.context.cookies() if one["name"] == "csrftoken")},
    )
    assert added.status == 201, added.text()
    choose(page, "spare", "Delete…")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row(page, "spare")).to_have_count(0)


def test_an_unknown_address_leads_back(page: Page, up: Up) -> None:
    sign_in(page, up)
    home = page.url.rstrip("/")
    for path in ("/nothing/here", "/access/none", "/api/deploymens"):
        answer = page.goto(home + path)
        assert answer is not None
        assert answer.status == 404
        expect(page.get_by_text(f"Nothing is at {path}")).to_be_visible()
    page.get_by_role("link", name="To the fleet").click()
    expect(page.get_by_role("article")).to_have_count(2)
    page.goto(f"{home}/usage/")
    expect(page).to_have_url(f"{home}/usage")
