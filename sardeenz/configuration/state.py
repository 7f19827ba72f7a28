"""The configuration as it is now, section by section, and as YAML that reads the same everywhere."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sardeenz.configuration import secrets
from sardeenz.configuration.compare import State
from sardeenz.configuration.sections import SECTIONS
from sardeenz.configuration.shapes import SECRET, Shape, written

_SAFE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufeff\ufffe\uffff]")
_STEP = "  "


def read() -> State:
    """Every section as the rows say it now."""
    known = secrets.references()
    return {name: section.read(known) for name, section in SECTIONS.items()}


def digest(state: State) -> str:
    """A few characters that tell this configuration from every other."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:8]


def text(state: Mapping[str, Any]) -> str:
    """Sections in their order, names in alphabetical order, every field of each: the same state is the same text."""
    return "\n".join(line for name in SECTIONS for line in _section(name, state.get(name, {}))) + "\n"


def _section(name: str, rows: Mapping[str, Any]) -> Iterator[str]:
    if not rows:
        yield f"{name}: {{}}"
        return
    yield f"{name}:"
    for row in sorted(rows):
        yield from block(name, row, rows[row])


def block(section: str, name: str, fields: Mapping[str, Any]) -> list[str]:
    """One object of a section, as its lines."""
    return list(_entry(name, fields, SECTIONS[section].shape, _STEP))


def _entry(key: str, value: Any, shape: Shape, indent: str) -> Iterator[str]:
    head = f"{indent}{_text(key)}:"
    if isinstance(value, Mapping) and value and SECRET not in value:
        yield head
        for name, inner in _ordered(value, shape):
            yield from _entry(_key(name, shape), inner, _inner(name, shape), indent + _STEP)
    elif isinstance(value, list) and value:
        yield head
        for each in value:
            yield from _item(each, shape.child or shape, indent + _STEP)
    else:
        yield f"{head} {_scalar(value, shape)}"


def _item(value: Any, shape: Shape, indent: str) -> Iterator[str]:
    if not isinstance(value, Mapping | list) or not value:
        yield f"{indent}- {_scalar(value, shape)}"
        return
    lines = list(_entry("", value, shape, indent))[1:]
    first, *rest = lines
    yield f"{indent}- {first[len(indent) + len(_STEP) :]}"
    yield from rest


def _ordered(value: Mapping[str, Any], shape: Shape) -> Iterator[tuple[str, Any]]:
    names = [name for name in shape.fields if name in value] if shape.kind == "object" else sorted(value)
    return ((name, value[name]) for name in names)


def _key(name: str, shape: Shape) -> str:
    return written(name) if shape.kind == "object" else name


def _inner(name: str, shape: Shape) -> Shape:
    return shape.fields[name] if shape.kind == "object" else shape.child or shape


def _scalar(value: Any, shape: Shape) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return f"{{{SECRET}: {_text(value[SECRET])}}}" if value else "{}"
    if isinstance(value, list):
        return "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return size(int(value)) if shape.kind == "size" else _number(value)
    return _text(str(value))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def size(size_bytes: int) -> str:
    """The size as people write it, to the byte."""
    for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        whole = 1024**power
        if size_bytes >= whole and size_bytes * 2 % whole == 0:
            return f"{size_bytes // whole}{'.5' if size_bytes % whole else ''}{unit}"
    return f"{size_bytes}B"


def _text(value: str) -> str:
    """Plain where no reader of any YAML takes it for something else, quoted otherwise."""
    if _SAFE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
