"""What every test with headless Chromium uses: where it is, how long a page may take, and checks of a page."""

import shutil

from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE_MS = 30_000
WIDTHS = (1440, 1024, 768, 390)


def never_sideways(page: Page) -> None:
    """Nothing is wider than the page at any width people use."""
    before = page.viewport_size
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (page.url, width, wide)
    if before is not None:
        page.set_viewport_size(before)
