"""Tokens and answers: reversible, and the same answer for the same prompt, so canaries can be compared.

A token is a word of the vocabulary (with or without the space before it) or up to three bytes of anything else. Its
number says which, so that detokenizing needs no state.
"""

import json
import random
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

WORDS = """
    a and are as at back be before black by calm can cold come count cover cut dark deep did do down draw each early
    eat end even every fall far fast few find fish five flat float fold for four from full gather gentle go good
    gray green grow half hand harbour have head hold home in into is it keep kind land last layer lay leave less let
    lid light line little long low make many memory met mind more most move near neat net never new next no north
    not now of often oil old on one open other out over pack page part pass place plain point pull put quick quiet
    rest right ring rise room round row run sail salt sand sardine sea seal second see send set share shelf ship
    shore short side silver six skin sky sleep slow small so soft some soon south stack stay still stop sun swim
    take tail ten than that the then there they thin three tide tight time tin to together took top turn two under
    until up very wait wake walk warm water wave way we well west when where which while white wide wind with word
    work year you
""".split()  # noqa: SIM905
_INDEX = {word.encode(): number for number, word in enumerate(WORDS)}
_BYTES_BASE = 2 * len(WORDS)
_TOKEN = re.compile(rb" ?(?:" + b"|".join(sorted(_INDEX, reverse=True)) + rb")(?![a-z])|[.,:;!?\n]|[\s\S]{1,3}")
_GARBAGE = ("!", "##", " !", "#", " ~", "0")
_CLOSED = 1 << 24
VOCABULARY = _BYTES_BASE + 2 * _CLOSED
"""Numbers of tokens are below this."""


def tokenize(text: str) -> list[int]:
    """The numbers of a text's tokens."""
    return [_number(piece) for piece in _TOKEN.findall(text.encode())]


def token_strings(text: str) -> list[str]:
    """The texts of a text's tokens."""
    return [piece.decode("utf-8", "replace") for piece in _TOKEN.findall(text.encode())]


def detokenize(numbers: Sequence[int]) -> str:
    """The text of these tokens; an unknown number reads as nothing."""
    return b"".join(_piece(number) for number in numbers).decode("utf-8", "replace")


def length(text: str) -> int:
    """How many tokens a text has."""
    return len(_TOKEN.findall(text.encode()))


def digest(text: str, seed: int = 0) -> int:
    """A number that stands for the text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def answer(prompt: str, *, choice: int, limit: int, endless: bool, least: int = 0) -> list[str]:
    """The tokens of the answer to a prompt, at most `limit`; unless `endless` it comes to its own end after `least`."""
    source = random.Random(digest(prompt, choice))  # noqa: S311
    total = limit if endless else min(limit, max(24 + source.randrange(72), least))
    words = source.choices(WORDS, k=total)
    pieces = [" " + word for word in words]
    for place in range(11, total, 12):
        pieces[place] = "."
    pieces[:1] = [words[0]] if words else []
    return pieces


def garbage(limit: int) -> list[str]:
    """What an engine says whose weights are gone."""
    return (list(_GARBAGE) * (limit // len(_GARBAGE) + 1))[: min(limit, 48)]


def pieces(text: str) -> list[str]:
    """A given text as tokens; only for text of one-byte characters."""
    return [piece.decode("latin-1") for piece in _TOKEN.findall(text.encode("latin-1"))]


def as_json(schema: dict[str, Any], prompt: str) -> str:
    """A JSON text that satisfies a simple schema."""
    return json.dumps(_instance(schema, schema, random.Random(digest(prompt))))  # noqa: S311


def _number(piece: bytes) -> int:
    spaced = piece.startswith(b" ")
    word = _INDEX.get(piece.removeprefix(b" "))
    if word is not None:
        return 2 * word + spaced
    return _BYTES_BASE + int.from_bytes(b"\x01" + piece)


def _piece(number: int) -> bytes:
    if number < _BYTES_BASE:
        word, spaced = divmod(number, 2)
        return b" " * spaced + WORDS[word].encode()
    packed = number - _BYTES_BASE
    return packed.to_bytes(4).lstrip(b"\x00").removeprefix(b"\x01") if number < VOCABULARY else b""


def _instance(schema: Any, root: dict[str, Any], source: random.Random) -> Any:
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, source)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return source.choice(schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _instance(schema[key][0], root, source)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _instance(value, root, source) for name, value in properties.items()}
    if kind == "array":
        wanted = max(int(schema.get("minItems", 1)), 0)
        return [_instance(schema.get("items", {}), root, source) for _ in range(wanted)]
    return _scalar(kind, schema, source)


def _scalar(kind: str, schema: dict[str, Any], source: random.Random) -> Any:
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 10) - (kind == "integer"))
        return low if high <= low else source.randint(int(low), max(int(low), int(high)))
    if kind == "boolean":
        return source.random() < 0.5
    if kind == "null":
        return None
    formats = {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00Z", "email": "sardine@example.org"}
    if schema.get("format") in formats:
        return formats[schema["format"]]
    text = " ".join(source.choices(WORDS, k=3))
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    return text[: schema["maxLength"]] if "maxLength" in schema else text


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found
