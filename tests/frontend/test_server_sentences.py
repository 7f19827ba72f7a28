"""Every sentence of the server that a page can show has its German, and every German one is still said."""

import json
import re
import tomllib
from collections import Counter

import pytest

from models_app.in_force import Level
from models_app.states import State
from sardeenz.labels import LABELS
from tests.frontend import sentences

LANGUAGE = sentences.ROOT / "frontend" / "src" / "language" / "server"
NOT_OURS = {"framework", "words"}
"""What Django and its REST framework say, and single words."""
HOLES = re.compile(r"\{[\w!:.]*\}(?:\{[\w!:.]*\})*")


def catalogue(name: str) -> dict[str, str]:
    """One file of translations, by the English template."""
    translations: dict[str, str] = json.loads((LANGUAGE / f"{name}.de.json").read_text())
    return translations


NAMES = sorted(path.name.removesuffix(".de.json") for path in LANGUAGE.glob("*.de.json"))
NEVER = tomllib.loads((sentences.ROOT / "tests" / "frontend" / "never_shown.toml").read_text())["groups"]
NEVER_TEXTS = {text for group in NEVER for text in group.get("texts", ())}
NEVER_MODULES = tuple(module for group in NEVER for module in group.get("modules", ()))
TRANSLATED = {english for name in NAMES for english in catalogue(name)}
OURS = {english for name in set(NAMES) - NOT_OURS for english in catalogue(name)}


def said() -> dict[str, str]:
    """Each sentence that can be shown, with one place where it is said."""
    places = dict.fromkeys(sentences.options(), "sardeenz/options/options.toml")
    for path in sentences.sources():
        name = path.relative_to(sentences.ROOT).as_posix()
        if not name.startswith(NEVER_MODULES):
            places |= {text: f"{name}:{line}" for line, text in sentences.sentences(path)}
    return places


def test_every_sentence_is_translated_or_never_shown() -> None:
    missing = {text: place for text, place in said().items() if text not in TRANSLATED | NEVER_TEXTS}
    assert missing == {}, (
        "translate them in frontend/src/language/server, or say in never_shown.toml why no page needs it"
    )


def test_no_translation_is_of_what_is_no_longer_said() -> None:
    assert OURS - set(said()) == set()
    assert set(NEVER_TEXTS) - set(said()) == set()
    assert [module for module in NEVER_MODULES if not (sentences.ROOT / module).exists()] == []


def test_each_sentence_has_one_translation() -> None:
    often = Counter(english for name in NAMES for english in catalogue(name))
    assert [english for english, times in often.items() if times > 1] == []
    assert not OURS & NEVER_TEXTS


@pytest.mark.parametrize("name", NAMES)
def test_a_translation_holds_what_its_sentence_holds(name: str) -> None:
    def holes(text: str) -> list[str]:
        return sorted(re.sub(r"[!:][\w.]*", "", hole) for hole in HOLES.findall(text))

    def wrong(english: str, german: str) -> bool:
        return not german.strip() or holes(english) != holes(german)

    assert {english: german for english, german in catalogue(name).items() if wrong(english, german)} == {}


def test_single_words_have_their_german() -> None:
    words = {*State.values, *(str(level) for level in Level.labels), *filter(None, LABELS.values())}
    assert sorted(words - TRANSLATED) == []


def test_the_extraction_reads_what_code_says(tmp_path) -> None:  # type: ignore[no-untyped-def]
    module = tmp_path / "module.py"
    module.write_text(
        '"""A docstring is not said."""\n'
        "def f(n, many):\n"
        '    logger.info("nor is what is logged")\n'
        "    raise Refused(f\"there {'are' if many else 'is'} {n} of \" + \"them\")\n"
    )
    assert [text for _, text in sentences.sentences(module)] == ["there {0} {1} of them", "are", "is"]
