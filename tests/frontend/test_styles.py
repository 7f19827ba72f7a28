"""A class of the global style sheets means one thing on every page."""

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "frontend" / "src"


def selectors(css: str) -> list[str]:
    """Every selector of a style sheet, those inside `@media` and `@container` too."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    lists = (found.strip() for found in re.findall(r"([^{};]+)\{", css))
    return [one.strip() for found in lists if not found.startswith("@") for one in found.split(",")]


def head(selector: str) -> str | None:
    """The class with which a selector begins, when nothing else narrows its first part down."""
    found = re.match(r"\.([a-zA-Z][\w-]*)(?=$|[\s>+~:\[])", selector)
    return found[1] if found else None


def test_no_component_gives_a_global_class_another_meaning() -> None:
    shared = {head(one) for sheet in SOURCE.glob("*.css") for one in selectors(sheet.read_text())} - {None}
    assert {"row-list", "row-table", "push-button", "form-field"} <= shared
    clashes = [
        f"{component.relative_to(SOURCE)}: {selector}"
        for component in sorted(SOURCE.rglob("*.svelte"))
        for style in re.findall(r"<style>(.*?)</style>", component.read_text(), re.DOTALL)
        for selector in selectors(style)
        if head(selector) in shared
    ]
    assert clashes == []


def test_a_global_class_says_in_two_words_what_it_is_for() -> None:
    classes = {
        found
        for sheet in SOURCE.glob("*.css")
        for selector in selectors(sheet.read_text())
        for found in re.findall(r"\.([a-zA-Z][\w-]*)", selector)
    }
    assert len(classes) > 30
    assert {name for name in classes if "-" not in name} == set()
