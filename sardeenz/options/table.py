"""The environment variables that set an installation up, as the web process has them."""

import functools
import os
import tomllib
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit, urlunsplit

TABLE = Path(__file__).with_name("options.toml")
NOT_SHOWN = frozenset({"SARDEENZ_SECRET_KEY"})
"""Variables of which nobody is shown more than that they are set."""


class Option(TypedDict):
    """One variable: what holds where it is not set, and what it means."""

    name: str
    default: str
    meaning: str


class Group(TypedDict):
    """Variables about the same thing."""

    title: str
    options: list[Option]


class OptionRow(Option):
    """One variable and its value here; `value` is null where it is not set, or is nobody's to see."""

    is_set: bool
    value: str | None


class GroupRow(TypedDict):
    """Variables about the same thing, with their values."""

    title: str
    options: list[OptionRow]


@functools.cache
def groups() -> list[Group]:
    """Every variable by subject."""
    found: list[Group] = tomllib.loads(TABLE.read_text())["groups"]
    return found


def shown() -> list[GroupRow]:
    """Every variable by subject with its value, without passwords."""
    return [{"title": group["title"], "options": [_row(option) for option in group["options"]]} for group in groups()]


def _row(option: Option) -> OptionRow:
    name = option["name"]
    given = os.environ.get(name, "")
    if name in NOT_SHOWN:
        return {**option, "is_set": bool(given or os.environ.get(f"{name}_FILE")), "value": None}
    return {**option, "is_set": bool(given), "value": _without_password(given) or None}


def _without_password(text: str) -> str:
    """A URL's user and password are nobody's to see; any other text is as it is."""
    parts = urlsplit(text)
    if not parts.scheme or "@" not in parts.netloc:
        return text
    return urlunsplit(parts._replace(netloc=f"…@{parts.netloc.rpartition('@')[2]}"))
