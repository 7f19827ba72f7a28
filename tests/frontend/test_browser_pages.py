"""The dashboard's forms and pages in a real browser, against the real API without the machinery behind it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests import factories
from tests.browser import PATIENCE_MS, chromium, never_sideways
from tests.patience import until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
GIB = factories.GIB


@pytest.fixture
def page(live_server: LiveServer) -> Iterator[Page]:
    """Signed in as an operator of two 80 GiB GPUs that serve `chat`; nothing here starts an engine."""
    factories.user("olive", is_staff=True)
    factories.gpu()
    factories.gpu()
    factories.deployment(name="chat")
    factories.model(name="spare")
    with chromium(live_server.url) as shown:
        shown.goto("/models")
        shown.get_by_label("User name").fill("olive")
        shown.get_by_label("Password").fill("pw")
        shown.get_by_role("button", name="Sign in").click()
        expect(shown.get_by_role("heading", name="Models")).to_be_visible(timeout=PATIENCE_MS)
        yield shown
    until(alone, "the server's threads let go of the database", 30)


def rows(page: Page, path: str) -> list[dict[str, Any]]:
    """What the API lists, asked as the page does; rows themselves are out of reach while Playwright's loop runs."""
    return list(page.request.get(f"/api/{path}").json()["results"])


def alone() -> bool:
    """Whether nobody but us is connected to the test's database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return bool(cursor.fetchone()[0] == 1)


def test_a_deploy_that_does_not_fit_is_told_before_and_leaves_nothing_behind(page: Page) -> None:
    page.get_by_role("button", name="Deploy a model").click()
    form = page.get_by_role("dialog", name="Deploy a model")
    form.get_by_label("Model", exact=True).select_option("new")
    form.get_by_label("Source").fill("org/tuna")
    form.get_by_label("Weights").fill("200 GiB")
    note = form.get_by_role("status")
    expect(note).to_contain_text(re.compile("It (does not fit now|can never fit): .*GiB"), timeout=PATIENCE_MS)
    expect(note).to_contain_text("200 GiB of weights")
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(form.get_by_role("alert")).to_contain_text("GiB", timeout=PATIENCE_MS)
    expect(form.get_by_label("Source")).to_have_value("org/tuna")
    assert "org/tuna" not in {row["source"] for row in rows(page, "models")}
    assert rows(page, "deployments?name=tuna") == []
    form.get_by_label("Weights").fill("8 GiB")
    expect(note).to_contain_text("It fits now on", timeout=PATIENCE_MS)
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(form).to_have_count(0, timeout=PATIENCE_MS)
    assert [row["placed"] for row in rows(page, "deployments?name=tuna")] == [1]


def test_a_model_that_nobody_uses_is_removed(page: Page) -> None:
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="spare"))
    expect(row).to_have_count(1, timeout=PATIENCE_MS)
    row.get_by_role("button").click()
    menu = page.get_by_role("menu", name="What spare can do")
    assert menu.evaluate("menu => getComputedStyle(menu).containerType") == "normal"
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0, timeout=PATIENCE_MS)
    assert "spare" not in {row["name"] for row in rows(page, "models")}


def test_an_unknown_address_leads_back(page: Page) -> None:
    for path in ("/nothing/here", "/access/none", "/api/deploymens"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404
        expect(page.get_by_text(f"Nothing is at {path}")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("link", name="To the fleet").click()
    expect(page).to_have_title("Fleet · Sardeenz")


def test_no_page_scrolls_sideways(page: Page) -> None:
    for address in ("models", "usage", "access/keys", "nothing"):
        page.goto(f"/{address}")
        expect(page.get_by_role("heading").first).to_be_attached(timeout=PATIENCE_MS)
        never_sideways(page)
