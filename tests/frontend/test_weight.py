"""What a browser loads before it shows a page: little, and of other pages nothing."""

import gzip
import json
from pathlib import Path
from typing import Any

DIST = Path(__file__).resolve().parents[2] / "frontend" / "dist"
MOST_BYTES = 250_000
CHARTS = "src/pages/history/Charts.svelte"
WORDS = tuple(f"src/locales/.wuchale/js.js.{language}.compiled.js" for language in ("en", "de"))


def manifest() -> dict[str, dict[str, Any]]:
    """What the build wrote: for each source that is loaded by itself, its files and what they import."""
    made: dict[str, dict[str, Any]] = json.loads((DIST / ".vite" / "manifest.json").read_text())
    return made


def loaded(chunks: dict[str, dict[str, Any]], *names: str) -> set[str]:
    """The files that these sources need, and theirs, but none that is loaded later."""
    files: set[str] = set()
    waiting = list(names)
    while waiting:
        chunk = chunks[waiting.pop()]
        if chunk["file"] not in files:
            files |= {chunk["file"], *chunk.get("css", [])}
            waiting += chunk.get("imports", [])
    return files


def weight(files: set[str]) -> int:
    """Their bytes as the web process sends them."""
    return sum(len(gzip.compress((DIST / file).read_bytes())) for file in files)


def test_the_first_load_of_every_page_is_small() -> None:
    chunks = manifest()
    pages = {name for name in chunks["index.html"]["dynamicImports"] if name.startswith("src/pages/")}
    words = max(weight(loaded(chunks, name)) for name in WORDS)
    weights = {page: weight(loaded(chunks, "index.html", page)) + words for page in pages}
    frame = weight(loaded(chunks, "index.html")) + words
    for page, size in sorted(weights.items(), key=lambda one: -one[1]):
        print(f"{size / 1000:6.1f} kB  {page}, of which {frame / 1000:.1f} kB are loaded once for all, words included")
    assert {"src/pages/fleet/Fleet.svelte", "src/pages/usage/Usage.svelte"} <= pages
    assert max(weights.values()) <= MOST_BYTES


def test_a_page_is_loaded_when_it_is_opened() -> None:
    chunks = manifest()
    first = loaded(chunks, "index.html", "src/pages/fleet/Fleet.svelte")
    assert chunks["src/pages/usage/Usage.svelte"]["file"] not in first
    assert chunks[CHARTS]["file"] not in first
