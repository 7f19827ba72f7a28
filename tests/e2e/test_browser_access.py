"""Keys, teams and aliases as a person makes them in the dashboard, held to what the gateway then does."""

import json
import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import PATIENCE_MS, accessible, never_sideways
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import Up, up
from tests.patience import until

__all__ = ["page", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]


def ask(up: Up, key: str, model: str) -> tuple[int, str]:
    """A question to the gateway: the status, and what it was refused for, or the model that answered."""
    answer = httpx2.post(
        f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        content=json.dumps({"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}),
        timeout=30,
        trust_env=False,
    )
    told: dict[str, Any] = answer.json()
    return answer.status_code, str(told["error"]["code"] if "error" in told else told["model"])


def row(page: Page, name: str) -> Locator:
    """The row of a list that begins with this name."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def choose(page: Page, name: str, item: str) -> None:
    """One of the things that a row's menu offers."""
    row(page, name).get_by_role("button").click()
    page.get_by_role("menuitem", name=item).click()


def make_team(page: Page, name: str) -> None:
    """A team that may have two requests at once; its name is refused at first, and the form says where."""
    page.get_by_role("button", name="Form the first team").click()
    form = page.get_by_role("dialog", name="New team")
    form.get_by_label("Name").fill("Not A Slug")
    form.get_by_label("Requests at once").fill("2")
    page.get_by_role("button", name="Form the team").click()
    expect(form.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Name")).to_be_focused()
    form.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Form the team").click()
    expect(row(page, name)).to_contain_text("2 at once")


def make_key(page: Page, name: str, team: str) -> str:
    """A key of the team for chat alone, with one request a minute; its text, from the only time it is shown."""
    page.get_by_role("button", name="New key").click()
    form = page.get_by_role("dialog", name="New API key")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Team").select_option(team)
    form.get_by_label("Only these").check()
    form.get_by_label("chat", exact=True).check()
    form.get_by_text("none of its own").click()
    form.get_by_label("Requests per minute").fill("1")
    page.get_by_role("button", name="Make the key").click()
    shown = page.get_by_role("dialog").filter(has_text="shown only this once")
    found = re.search(r"sk-srdz-[\w-]{43}", shown.inner_text())
    assert found is not None
    expect(shown).to_contain_text(f"Authorization: Bearer {found[0]}")
    page.keyboard.press("Escape")
    expect(shown).to_be_visible()
    page.get_by_role("button", name="I have copied it").click()
    expect(shown).to_have_count(0)
    expect(page.get_by_role("button", name="New key")).to_be_focused()
    expect(row(page, name)).to_contain_text("1 requests/min")
    assert found[0] not in page.content()
    return found[0]


def make_alias(page: Page, name: str) -> None:
    """An alias for code, with chat as its fallback; the preview follows."""
    page.get_by_role("button", name="Make the first alias").click()
    form = page.get_by_role("dialog", name="New alias")
    form.get_by_label("Name").fill("chat")
    form.get_by_label("Deployment of target 1").select_option("chat")
    form.get_by_label("Weight of target 1").fill("0")
    page.get_by_role("button", name="Add a target").click()
    form.get_by_label("Deployment of target 2").select_option("code")
    form.get_by_label("Weight of target 2").fill("5")
    page.get_by_role("button", name="Move target 2 up").click()
    expect(form.get_by_label("Deployment of target 1").locator("option:checked")).to_have_text("code")
    expect(form).to_contain_text("code 100 %")
    page.get_by_role("button", name="Make the alias").click()
    expect(form.get_by_role("alert")).to_contain_text("a deployment answers to 'chat'")
    form.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make the alias").click()
    expect(row(page, name)).to_contain_text("only as fallback")


def test_a_team_a_key_and_an_alias_are_made_used_changed_and_ended(page: Page, up: Up) -> None:
    sign_in(page, up)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Access").click()
    page.get_by_role("link", name="Teams").click()
    make_team(page, "blue")
    page.get_by_role("link", name="API keys").click()
    key = make_key(page, "desk", "blue")
    assert ask(up, key, "code") == (403, "model_not_allowed")
    assert ask(up, key, "chat") == (200, "chat")
    assert ask(up, key, "chat") == (429, "request_limit")
    page.get_by_role("link", name="Aliases").click()
    make_alias(page, "gpt-4")
    page.get_by_role("link", name="API keys").click()
    choose(page, "desk", "Edit…")
    page.get_by_role("dialog").get_by_label("gpt-4").check()
    page.get_by_role("dialog").get_by_label("Requests per minute").fill("")
    page.get_by_role("button", name="Save").click()
    expect(row(page, "desk")).to_contain_text("gpt-4")
    until(lambda: ask(up, key, "gpt-4") == (200, "code"), "the alias answers the key", 20)
    page.get_by_role("link", name="Teams").click()
    row(page, "blue").get_by_role("button").click()
    expect(page.get_by_role("menuitem", name="Delete…")).to_contain_text("1 key belongs to it")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="API keys").click()
    choose(page, "desk", "Revoke…")
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(row(page, "desk")).to_have_count(0)
    expect(page.get_by_role("heading", name="API keys")).to_be_focused()
    until(lambda: ask(up, key, "chat") == (401, "invalid_api_key"), "the key opens nothing", 20)
    page.get_by_label("Show revoked").check()
    expect(row(page, "desk")).to_contain_text("Revoked")


def add_a_runtime(page: Page, up: Up) -> None:
    """An engine of another version with a Hub token, which is told to nobody afterwards, and goes again."""
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="New runtime").click()
    form = page.get_by_role("dialog", name="New runtime")
    form.get_by_label("Name").fill("vllm-next")
    form.get_by_label("Program").fill("vllm")
    page.get_by_role("button", name="Add the runtime").click()
    expect(form.get_by_label("Program")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Program").fill("/opt/next/bin/vllm")
    page.get_by_role("button", name="Add the runtime").click()
    expect(row(page, "vllm-next")).to_contain_text("vLLM on GPUs")
    page.get_by_role("button", name="Set the token…").click()
    page.get_by_role("dialog", name="Hugging Face token").get_by_label("Token").fill("hf_of_a_test")
    page.get_by_role("button", name="Set", exact=True).click()
    hub = page.get_by_role("region", name="Hugging Face Hub")
    expect(hub).to_contain_text("set, shown to nobody")
    runtimes = {one["name"]: one for one in up.get("runtimes")["results"]}
    assert runtimes["vllm-next"]["environment"] == {"HF_TOKEN": "(hidden)"}
    page.get_by_role("searchbox", name="Find a variable").fill("headroom")
    expect(page.get_by_role("region", name="Environment").get_by_role("term")).to_have_count(1)
    accessible(page)
    never_sideways(page)
    choose(page, "vllm-next", "Delete…")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row(page, "vllm-next")).to_have_count(0)


def test_pages_have_addresses_that_survive_a_reload_and_go_back(page: Page, up: Up) -> None:
    sign_in(page, up)
    expect(page.get_by_role("article")).to_have_count(2, timeout=PATIENCE_MS)
    page.evaluate("window.sameDocument = true")
    page.get_by_role("link", name="Access").click()
    page.get_by_role("link", name="Aliases").click()
    expect(page).to_have_url(re.compile(r"/access/aliases$"))
    expect(page.get_by_role("link", name="Access")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert page.evaluate("window.sameDocument") is True
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/access/teams")
    expect(page.get_by_role("heading", name="Teams", exact=True)).to_be_visible()
    never_sideways(page)
    add_a_runtime(page, up)
