"""Changes of the configuration in words."""

from collections.abc import Iterator
from typing import Any

from sardeenz import sizes
from sardeenz.configuration.compare import ABSENT, Change, Other
from sardeenz.configuration.sections import SECTIONS
from sardeenz.configuration.shapes import SECRET, Shape
from sardeenz.labels import label

_VERBS = {"create": "is made", "change": "is changed", "delete": "is deleted"}


def title(change: Change) -> str:
    """What happens to one object."""
    return f"{SECTIONS[change.section].noun} {change.name} {_VERBS[change.verb]}"


def sentences(change: Change) -> Iterator[str]:
    """What happens to each field."""
    for name, (old, new) in change.fields.items():
        shape = SECTIONS[change.section].shape.fields[name]
        if change.verb == "create":
            yield f"{label(name)}: {shown(new, shape)}"
        elif shape.kind == "map":
            yield from _entries(label(name), old or {}, new or {}, shape)
        else:
            yield f"{label(name)}: {shown(old, shape)} -> {shown(new, shape)}"


def _entries(name: str, old: dict[str, Any], new: dict[str, Any], shape: Shape) -> Iterator[str]:
    inner = shape.child or shape
    for key in sorted({*old, *new}):
        if old.get(key) == new.get(key):
            continue
        before, after = (shown(each.get(key), inner) for each in (old, new))
        yield f"{name}: {key}: {'another value of ' + after if before == after else f'{before} -> {after}'}"


def shown(value: Any, shape: Shape) -> str:
    """A value for people: sizes in GiB, secrets by their names."""
    if value is None or value == "" or value is ABSENT:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return f"secret {value[SECRET]}" if SECRET in value else _pairs(value, shape)
    if isinstance(value, list):
        return ", ".join(shown(each, shape.child or shape) for each in value) or "none"
    return sizes.shown(value) if shape.kind == "size" else f"{value:g}" if isinstance(value, float) else str(value)


def _pairs(value: dict[str, Any], shape: Shape) -> str:
    if shape.kind == "object":
        return " ".join(f"{label(name)} {shown(each, shape.fields[name])}" for name, each in value.items())
    return ", ".join(f"{name}={shown(each, shape.child or shape)}" for name, each in sorted(value.items())) or "none"


def other(one: Other, who: str) -> str:
    """What somebody else did since the base."""
    what = f"{SECTIONS[one.section].noun} {one.name}"
    if not one.field:
        return f"{what}: {who} {'deleted' if one.now is None else 'made'} it since"
    shape = SECTIONS[one.section].shape.fields[one.field]
    was, now = shown(one.was, shape), shown(one.now, shape)
    return f"{what}: {label(one.field)}: {who} changed it since, {was} -> {now}"
