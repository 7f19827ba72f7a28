"""What every test with headless Chromium uses: where it is, how long a page may take, and checks of a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE_MS = 30_000
AXE = Path(__file__).parents[1] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
WIDTHS = (1440, 1024, 768, 390)


@contextmanager
def chromium(base_url: str | None = None, locale: str = "en-US") -> Iterator[Page]:
    """A page of headless Chromium, where no script may fail and nothing be loaded that the page's policy refuses.

    Where tests must not be skipped, its absence is a failure.
    """
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=base_url, locale=locale)
        context.set_default_timeout(PATIENCE_MS)
        problems = _problems(context)
        yield context.new_page()
        browser.close()
    assert problems == []


def _problems(context: BrowserContext) -> list[str]:
    """What goes wrong in its pages from now on."""
    told: list[str] = []
    context.on("weberror", lambda error: told.append(str(error.error)))
    context.on("console", lambda line: told.append(line.text) if "Content Security Policy" in line.text else None)
    return told


@pytest.fixture
def patient() -> Iterator[None]:
    """Machines that run tests are busy: what is expected may take a while."""
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=None)


def never_sideways(page: Page) -> None:
    """Nothing is wider than the page at any width people use."""
    before = page.viewport_size
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (page.url, width, wide)
    if before is not None:
        page.set_viewport_size(before)


def accessible(page: Page) -> None:
    """Nothing that axe knows of WCAG 2.1 A and AA is broken, in the light theme and in the dark one."""
    page.evaluate(AXE.read_text())
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        found = page.evaluate(f"axe.run(document, {{ runOnly: {list(RULES)} }})")
        broken = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]
        assert found["passes"] and broken == [], (page.url, theme, broken)
    page.evaluate("delete document.documentElement.dataset.theme")
