"""What a decision was made from, as lines that people read: sizes in GiB, lengths and moments in words."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sardeenz import sizes
from sardeenz.cli import times

_BYTES = ("free", "needs", "frees", "short", "excess")
_MOMENTS = ("now", "since", "until")
_INDENT = "  "


def lines(given: Any, each: str = "") -> Iterator[str]:
    """One line for each value; what belongs to it follows, indented. A map's values are of the unit in its name."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from _named(str(name), value, each)
    elif isinstance(given, list):
        for one in given:
            first, *rest = lines(one) if one not in ({}, []) else ("none",)
            yield f"- {first}"
            yield from (_INDENT + line for line in rest)
    else:
        yield _value(given, each)


def _named(name: str, value: Any, each: str) -> Iterator[str]:
    unit = _unit(name)
    plain = name.removesuffix("_bytes").removesuffix("_seconds").replace("_", " ")
    if not isinstance(value, dict | list):
        yield f"{plain}: {_value(value, unit or each)}"
    elif not value:
        yield f"{plain}: none"
    else:
        yield f"{plain}:"
        yield from (_INDENT + line for line in lines(value, "" if unit == "moment" else unit))


def _unit(name: str) -> str:
    if name.endswith("_bytes") or name in _BYTES:
        return "bytes"
    if name.endswith("seconds"):
        return "seconds"
    return "moment" if name.endswith("_at") or name in _MOMENTS else ""


def _value(value: str | float | bool | None, unit: str) -> str:
    if value is None or value == "":
        return "not known" if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _measure(value, unit)
    with suppress(ValueError):
        return times.shown(value) if unit == "moment" else value
    return value


def _measure(value: float, unit: str) -> str:
    match unit:
        case "bytes":
            return sizes.shown(value)
        case "seconds":
            return f"{value:.4g} s"
        case "moment":  # of Unix
            return times.shown(datetime.fromtimestamp(value, UTC).isoformat())
    return str(value)
