"""Models are tried side by side without a key; what was decided and who held which GPU is seen, in words too."""

import base64
import re

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser import accessible, never_sideways, patient
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import Up, up
from tests.patience import until

__all__ = ["page", "patient", "up"]
DOT = base64.b64decode("R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]


def test_models_are_tried_and_what_was_decided_is_seen(page: Page, up: Up) -> None:
    sign_in(page, up)
    two_models_answer_the_same_prompt(page)
    the_same_picture_can_be_given_twice(page)
    a_stopped_answer_ends_at_the_engine(page, up)
    a_sleeping_model_wakes_for_a_prompt(page)
    decisions_are_narrowed_and_have_their_inputs(page)
    lanes_are_told_in_words(page)


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Prompt", exact=True).press("Enter")


def two_models_answer_the_same_prompt(page: Page) -> None:
    page.get_by_role("link", name="Playground").click()
    page.get_by_role("button", name="Another model").click()
    ask(page, "Which fish live in tins?")
    for pane in (1, 2):
        answer = page.get_by_role("region", name=f"Pane {pane}")
        expect(answer.get_by_text("Which fish live in tins?")).to_be_visible()
        expect(answer.get_by_text(re.compile(r"^first token \d"))).to_be_visible()
        expect(answer.get_by_text(re.compile(r"^\d+ → \d+ tokens"))).to_be_visible()
    expect(page).to_have_url(re.compile(r"/playground\?model=\w+&model=\w+&prompt=Which"))
    page.get_by_role("button", name="Close pane 2").click()
    accessible(page)
    never_sideways(page)


def the_same_picture_can_be_given_twice(page: Page) -> None:
    picture: FilePayload = {"name": "dot.gif", "mimeType": "image/gif", "buffer": DOT}
    page.get_by_label("Pictures for the prompt").set_input_files([picture, picture])
    pictures = page.get_by_role("list", name="Pictures")
    expect(pictures.get_by_role("img")).to_have_count(2)
    pictures.get_by_role("button", name="Remove picture 2").click()
    pictures.get_by_role("button", name="Remove picture 1").click()
    expect(pictures).to_have_count(0)


def a_stopped_answer_ends_at_the_engine(page: Page, up: Up) -> None:
    up.cli("deploy", "chat", "--arg=--tokens-per-second=3")
    up.cli("restart", "chat", "--wait")
    page.get_by_label("Model of pane 1").select_option("chat")
    ask(page, "Tell a long story.")
    pane = page.get_by_role("region", name="Pane 1")
    expect(pane.get_by_text(re.compile(r"^first token \d"))).to_have_count(2)  # stopped before it is no call yet
    pane.get_by_role("button", name="Stop pane 1").click()
    expect(pane.get_by_text("stopped")).to_be_visible()
    until(lambda: up.get("usage?outcome=cancelled")["results"], "a call that is cancelled", 30)
    (call,) = up.get("usage?outcome=cancelled")["results"]
    assert (call["served_name"], call["key_name"]) == ("chat", "Playground of admin")
    chat = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="chat"))
    page.get_by_role("link", name="Fleet", exact=True).click()
    expect(chat.get_by_role("cell", name="Running 0")).to_be_visible()


def a_sleeping_model_wakes_for_a_prompt(page: Page) -> None:
    code = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="code"))
    code.get_by_role("button", name="Sleep", exact=True).click()
    expect(code).to_contain_text("Sleeping")
    page.get_by_role("link", name="Playground").click()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Model of pane 1").select_option("code")
    page.get_by_text("System prompt, sampling and tools").click()
    page.get_by_label("Max tokens").fill("8")
    ask(page, "Wake up.")
    expect(page.get_by_text(re.compile(r"^first token \d"))).to_be_visible()
    expect(page.get_by_role("region", name="Pane 1").get_by_text("Ready")).to_be_visible()


def decisions_are_narrowed_and_have_their_inputs(page: Page) -> None:
    page.get_by_role("link", name="Decisions").click()
    found = page.get_by_role("region", name="Decisions, the newest first")
    expect(found.get_by_role("listitem").first).to_be_visible()
    page.get_by_label("Deployment").select_option("code")
    page.get_by_label("Actor").fill("admin")
    expect(found.get_by_text("is to sleep")).to_be_visible()
    expect(page).to_have_url(re.compile("actor=admin&deployment=code"))
    page.reload()
    expect(page.get_by_label("Actor")).to_have_value("admin")
    expect(found.get_by_text("is to sleep")).to_be_visible()
    accessible(page)
    never_sideways(page)


def lanes_are_told_in_words(page: Page) -> None:
    page.get_by_role("link", name="Evictions").click()
    gpu = page.get_by_role("region", name="GPU 0")
    expect(gpu.get_by_role("img").first).to_have_attribute("aria-label", re.compile(r"/\d+: .*ready \d"))
    gpu.get_by_text("In words").press("Enter")
    expect(gpu.get_by_text("is ready").first).to_be_visible()
    expect(page.get_by_text("No model gave its place to another in this time.")).to_be_visible()
    accessible(page)
    never_sideways(page)
