"""The dashboard in German: as the browser asks or a person chooses, and nothing of it left in English."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import accessible, chromium, never_sideways, patient
from tests.e2e.test_supervised import Up, up

__all__ = ["patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]
PAGES = {
    "": "Flotte",
    "deployments": "Deployments",
    "deployments/chat": "chat",
    "models": "Modelle",
    "playground": "Playground",
    "nodes": "Knoten & GPUs",
    "evictions": "Verdrängungen",
    "decisions": "Entscheidungen",
    "policies": "Richtlinien",
    "access/keys": "API-Schlüssel",
    "access/teams": "Teams",
    "access/aliases": "Aliasse",
    "traffic": "Verkehr",
    "usage": "Nutzung",
    "requests": "Anfragen",
    "benchmarks": "Benchmarks",
    "settings": "Einstellungen",
    "nothing": "Nicht gefunden",
}
READ = """() => {
  const words = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const inside = texts.currentNode.parentElement;
    if (!inside.closest("script, style, noscript, code, pre")) words.push(texts.currentNode.textContent);
  }
  for (const name of ["title", "aria-label", "placeholder", "data-label"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) words.push(element.getAttribute(name));
  }
  return words;
}"""
# Words that every English sentence has one of, and no German one.
ENGLISH = re.compile(r"\b(the|its|of|and|not|with|are|is|from|this|that|every|which|when|until|by|for|to|has|no)\b")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser whose owner reads German first."""
    with chromium(locale="de-AT") as shown:
        yield shown


def sign_in(page: Page, up: Up) -> None:
    """As the first admin, in German."""
    found = re.search(r"Password\s+(\S+)", up.said)
    assert found is not None, up.said
    page.goto(address(up))
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_label("Benutzername").fill("admin")
    page.get_by_label("Passwort").fill(found[1])
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_text("simulierte GPUs")).to_be_visible()


def address(up: Up, path: str = "") -> str:
    return f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/{path}"


def english(page: Page) -> list[str]:
    """What is shown or read aloud and sounds English."""
    return sorted({one for said in page.evaluate(READ) if ENGLISH.search(one := " ".join(said.split()))})


def test_every_page_is_german_for_who_reads_german(page: Page, up: Up) -> None:
    up.cli("sleep", "summariser", "--wait")
    up.cli("chat", "code", "Hello")
    sign_in(page, up)
    left = {}
    for path, title in PAGES.items():
        page.goto(address(up, path))
        expect(page).to_have_title(f"{title} · Sardeenz")
        expect(page.get_by_text(re.compile("gelesen …$|geladen …$|^Wird "))).to_have_count(0)
        never_sideways(page)
        left[path] = english(page)
    accessible(page)
    assert {path: words for path, words in left.items() if words} == {}
    every_term_is_told(page)


def every_term_is_told(page: Page) -> None:
    """From every page, and by the command palette for one that is looked for."""
    page.get_by_role("button", name="Was die Wörter bedeuten").click()
    told = page.get_by_role("dialog", name="Was die Wörter bedeuten")
    expect(told.get_by_role("term")).to_have_count(38)
    accessible(page)
    told.get_by_label("Begriff suchen").fill("absturz")
    expect(told.get_by_role("term")).to_have_text(["Verwaiste Engine"])
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("gemeint KV-Limit")
    page.keyboard.press("Enter")
    expect(told.get_by_role("term").first).to_have_text("KV-Limit")


def test_a_person_chooses_a_language_and_keeps_it(page: Page, up: Up) -> None:
    page.goto(address(up))
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.get_by_role("button", name="Deutsch").click()
    sign_in(page, up)
    page.goto(address(up, "deployments?sort=priority"))
    page.get_by_role("button", name="Konto").click()
    page.get_by_role("menuitem", name="English").click()
    expect(page).to_have_url(address(up, "deployments?sort=priority"))
    expect(page.get_by_text("simulated GPUs")).to_be_visible()
    page.reload()
    expect(page).to_have_title("Deployments · Sardeenz")
    expect(page.get_by_role("heading", name="Deployments")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")
