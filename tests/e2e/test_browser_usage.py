"""What was called shows on the usage page, and what was said in it on the page of requests, without its secrets."""

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser import never_sideways, patient
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import Up, key_in, up
from tests.patience import until

__all__ = ["page", "patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]

SECRET = "sk-live-0123456789abcdef0123456789abcdef"
PROMPT = "Which fish live in tins?"


def call(up: Up, *, stream: bool) -> None:
    """One chat that a person wrote a secret into."""
    port = up.ports["SARDEENZ_GATEWAY_PORT"]
    messages = [{"role": "system", "content": f"Use {SECRET} and write to bob@fish.example."}]
    body = {
        "model": "chat",
        "max_tokens": 8,
        "stream": stream,
        "messages": [*messages, {"role": "user", "content": PROMPT}],
    }
    headers = {"Authorization": f"Bearer {key_in(up.said)}"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    answer = httpx2.post(url, json=body, headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text


def test_the_usage_page_tells_what_was_called(page: Page, up: Up) -> None:
    for stream in (False, False, True):
        call(up, stream=stream)
    sign_in(page, up)
    page.get_by_role("link", name="Usage").click()
    sums = page.get_by_role("region", name="Sums by model")
    row = sums.get_by_role("row").filter(has=page.get_by_role("rowheader", name="chat"))
    expect(row.get_by_role("cell").first).to_have_text("3")
    chart = page.get_by_role("slider", name="Calls by model")
    expect(chart).to_have_attribute("aria-valuemax", "24")
    chart.press("End")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("UTC: "))
    calls = page.get_by_role("region", name="Latest calls")
    expect(calls.get_by_role("row")).to_have_count(1 + 3)
    expect(calls.get_by_text("ok", exact=True).nth(1)).to_be_visible()
    calls.get_by_label("Outcome").select_option("cancelled")
    expect(calls.get_by_text("No call of this span ended with cancelled.")).to_be_visible()
    page.get_by_text("7 days").click()
    expect(chart).to_have_attribute("aria-valuemax", "7")
    table = page.context.request.get(page.url.split("/usage")[0] + str(_csv(page)))
    assert table.text().splitlines()[0].startswith("day,served_name,calls,")
    page.reload()
    expect(page.get_by_role("radio", name="7 days")).to_be_checked()
    expect(row.get_by_role("cell").first).to_have_text("3")
    never_sideways(page)


def _csv(page: Page) -> str | None:
    return page.get_by_role("link", name="Download CSV").get_attribute("href")


def test_a_captured_request_shows_its_prompt_and_not_its_secrets(page: Page, up: Up) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, up)
    page.get_by_role("link", name="Requests").click()
    page.get_by_label("Deployment").select_option(value="chat")
    expect(page.get_by_text("Nothing is captured")).to_be_visible()
    page.get_by_role("button", name="15 min").click()
    expect(page.get_by_text("Captures until")).to_be_visible()

    def kept() -> bool:
        call(up, stream=True)
        return bool(up.get("captures?deployment=chat")["results"])

    until(kept, "a captured call", 30)
    page.get_by_role("button", name=PROMPT).first.click()
    detail = page.get_by_role("region", name="POST /v1/chat/completions")
    expect(detail.get_by_label("Request", exact=True)).to_contain_text("Use [redacted] and write to [e-mail].")
    expect(detail.get_by_text("Answer")).to_be_visible()
    assert SECRET not in page.content()
    detail.get_by_role("button", name="Copy the request as a curl line").click()
    expect(detail.get_by_text("Copied")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    assert f":{up.ports['SARDEENZ_GATEWAY_PORT']}/v1/chat/completions" in line
    assert 'Authorization: Bearer $SARDEENZ_API_KEY"' in line
    never_sideways(page)
    page.reload()
    expect(page.get_by_role("button", name=PROMPT).first).to_be_visible()
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_text("Capturing is off")).to_be_visible()
    page.get_by_role("button", name="Clear…").click()
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("Nothing is captured")).to_be_visible()
    assert up.get("captures?deployment=chat")["results"] == []
