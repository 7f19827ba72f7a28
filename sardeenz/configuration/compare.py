"""What a document asks for, against what there is and what there was when it was made. Pure.

A field that the document has as its base had it was not touched by its author: what others made of it since stays. A
field that both changed, each otherwise, is a conflict. Without a base the document is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Fields = dict[str, Any]
State = dict[str, dict[str, Fields]]
"""Section, name, field: value. References to secrets carry a seal."""
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is made, changed or deleted; for each field what it is and what it will be."""

    section: str
    name: str
    verb: Literal["create", "change", "delete"]
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Other:
    """What somebody else did since the base: to one field, or to all of an object where `field` is empty."""

    section: str
    name: str
    field: str
    was: Any
    now: Any
    wanted: Any


@dataclass(slots=True)
class Comparison:
    """What would be done, what others did that stays, and what cannot be decided."""

    changes: list[Change] = field(default_factory=list)
    kept: list[Other] = field(default_factory=list)
    conflicts: list[Other] = field(default_factory=list)


def compare(wanted: State, now: State, base: State | None, *, prune: bool) -> Comparison:
    """Section by section, in the order of `now`; deletions last."""
    result = Comparison()
    for section in now:
        if section in wanted:
            was = None if base is None else base.get(section, {})
            _compare_section(result, section, wanted[section], now[section], was)
    if prune:
        for section in reversed(list(now)):
            if section in wanted:
                was = None if base is None else base.get(section, {})
                _prune(result, section, wanted[section], now[section], was)
    return result


def _compare_section(
    result: Comparison, section: str, wanted: dict[str, Fields], now: dict[str, Fields], base: dict[str, Fields] | None
) -> None:
    for name, fields in wanted.items():
        was = None if base is None else base.get(name)
        if name in now:
            made_since = base is not None and was is None
            _change(result, section, name, fields, now[name], dict.fromkeys(fields, ABSENT) if made_since else was)
        elif was is not None:  # somebody deleted it since
            touched = any(was.get(key, ABSENT) != value for key, value in fields.items())
            (result.conflicts if touched else result.kept).append(Other(section, name, "", was, None, fields))
        else:
            made = {key: (None, value) for key, value in fields.items()}
            result.changes.append(Change(section, name, "create", made))


def _change(result: Comparison, section: str, name: str, wanted: Fields, now: Fields, base: Fields | None) -> None:
    changed: dict[str, tuple[Any, Any]] = {}
    for key, value in wanted.items():
        there = now.get(key)
        if value == there:
            continue
        was = there if base is None else base.get(key, there)
        other = Other(section, name, key, was, there, value)
        if was == there:
            changed[key] = (there, value)
        elif value == was:
            result.kept.append(other)
        else:
            result.conflicts.append(other)
    if changed:
        result.changes.append(Change(section, name, "change", changed))


def _prune(
    result: Comparison, section: str, wanted: dict[str, Fields], now: dict[str, Fields], base: dict[str, Fields] | None
) -> None:
    for name, there in now.items():
        if name in wanted:
            continue
        if base is not None and name not in base:
            result.kept.append(Other(section, name, "", None, there, None))
        elif edited := list(_edited(section, name, {} if base is None else base[name], there)):
            result.conflicts.extend(edited)
        else:
            result.changes.append(Change(section, name, "delete"))


def _edited(section: str, name: str, base: Fields, now: Fields) -> Iterator[Other]:
    for key, there in now.items():
        if base.get(key, there) != there:
            yield Other(section, name, key, base.get(key), there, None)
