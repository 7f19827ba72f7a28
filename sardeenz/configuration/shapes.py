"""What a field may hold, as the REST API's serializers say it: from YAML to what they take, and back.

Each field's kind decides what its text means: `no` is a text in a text field and a boolean in none, `1e3` is a text or
a number, and a size is written with its unit. So nothing has to be quoted to keep its meaning, and every field that
the API learns is a field of the document.
"""

import math
import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal

from rest_framework import serializers

from models_app.rows import looks_secret
from sardeenz import sizes
from sardeenz.configuration.document import Mapping, Node, Scalar, Sequence
from sardeenz.configuration.errors import Problem

Kind = Literal["text", "whole", "number", "flag", "size", "list", "map", "object", "anything"]
SECRET = "secret"  # noqa: S105
WRONG = "invalid_field"
UNKNOWN = "unknown_field"
_BYTES = "_bytes"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,30}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_UNIT = re.compile(r".*[A-Za-z]\s*")


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind; of lists and maps what they hold, of objects their fields by the API's names."""

    kind: Kind
    nullable: bool = False
    blank: bool = False
    child: "Shape | None" = None
    fields: "MappingOf[str, Shape]" = field(default_factory=dict)
    hides: bool = False
    """Its entries may be secrets, which are said by reference."""


def of(serializer: serializers.Serializer[Any], *without: str) -> Shape:
    """All that a request may set, but for these fields."""
    fields = {
        name: _shape(name, each)
        for name, each in serializer.fields.items()
        if name not in without and not each.read_only and not isinstance(each, serializers.HiddenField)
    }
    return Shape("object", fields=fields)


def _shape(name: str, given: Any) -> Shape:
    nullable, blank = bool(given.allow_null), bool(getattr(given, "allow_blank", False))
    if isinstance(given, serializers.ListSerializer | serializers.ListField):
        return Shape("list", nullable, child=_shape("", given.child))
    if isinstance(given, serializers.Serializer):
        return Shape("object", nullable, fields=of(given).fields)
    if isinstance(given, serializers.DictField):
        return Shape("map", nullable, child=_shape("", given.child), hides=name == "environment")
    if isinstance(given, serializers.BooleanField):
        return Shape("flag", nullable)
    if isinstance(given, serializers.IntegerField):
        return Shape("size" if name.endswith(_BYTES) else "whole", nullable)
    if isinstance(given, serializers.FloatField | serializers.DecimalField):
        return Shape("number", nullable)
    if isinstance(given, serializers.JSONField):
        return Shape("anything", nullable)
    return Shape("text", nullable, blank)


def written(name: str) -> str:
    """A field's name in the document: sizes have their unit in the value, not in the name."""
    return name.removesuffix(_BYTES)


class Misread(Exception):
    """A value that its field cannot hold."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


def _misread(line: int, where: str, message: str, code: str = WRONG) -> Misread:
    return Misread(Problem(line, where, code, message))


def value(node: Node, shape: Shape, where: str) -> Any:
    """What the API is given for this field. Raises Misread."""
    if isinstance(node, Scalar) and node.plain and node.text in _NULLS and shape.kind not in ("map", "list", "object"):
        return "" if shape.blank and not shape.nullable else None
    if shape.kind == "object":
        return fields(node, shape, where)[0]
    if shape.kind == "list":
        return _list(node, shape, where)
    if shape.kind == "map":
        return _map(node, shape, where)
    if shape.kind == "anything":
        return _anything(node, where)
    if not isinstance(node, Scalar):
        raise _misread(node.line, where, "write one value here, not a list or a mapping")
    return node.text if shape.kind == "text" else _measured(node, shape.kind, where)


def fields(node: Node, shape: Shape, where: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of an object, and the line of each. Raises Misread with everything that is wrong with them."""
    if not isinstance(node, Mapping):
        raise _misread(node.line, where, "write its fields below it, as `field: value`")
    known = {written(name): name for name in shape.fields}
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for key, (line, inner) in node.entries.items():
        if key not in known:
            problems.append(unknown(line, where, key, known))
            continue
        try:
            found[known[key]] = value(inner, shape.fields[known[key]], f"{where}.{key}")
            lines[known[key]] = line
        except Misread as error:
            problems += error.problems
    if problems:
        raise Misread(*problems)
    return found, lines


def unknown(line: int, where: str, key: str, known: Any) -> Problem:
    """A key that means nothing here, and the one that may have been meant."""
    near = get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
    return Problem(line, where, UNKNOWN, f"there is no field {key!r}{hint}")


def _list(node: Node, shape: Shape, where: str) -> list[Any]:
    if not isinstance(node, Sequence) or shape.child is None:
        raise _misread(node.line, where, "write a list here, as `[]` or one `- entry` per line")
    return [value(each, shape.child, f"{where}[{number}]") for number, each in enumerate(node.items, 1)]


def _map(node: Node, shape: Shape, where: str) -> dict[str, Any]:
    if not isinstance(node, Mapping) or shape.child is None:
        raise _misread(node.line, where, "write a mapping here, as `{}` or one `NAME: value` per line")
    found = {}
    for key, (_, inner) in node.entries.items():
        place = f"{where}.{key}"
        if shape.hides and (looks_secret(key) or isinstance(inner, Mapping)):
            found[key] = _reference(inner, key, place)
        else:
            found[key] = value(inner, shape.child, place)
    return found


def _reference(node: Node, variable: str, where: str) -> dict[str, str]:
    """The name of a secret. Only what is hidden everywhere may be one, and what is hidden may be nothing else."""
    named = node.entries.get(SECRET) if isinstance(node, Mapping) and len(node.entries) == 1 else None
    if named is None or not isinstance(named[1], Scalar):
        raise _misread(node.line, where, f"name a secret of the server here, as `{variable}: {{secret: NAME}}`")
    if not looks_secret(variable):
        raise _misread(node.line, where, "by its name it is no secret, and would be shown; write its value")
    return {SECRET: named[1].text}


def _anything(node: Node, where: str) -> Any:
    """By the rules of YAML 1.2, for fields that hold what JSON can."""
    if isinstance(node, Sequence):
        return [_anything(each, where) for each in node.items]
    if isinstance(node, Mapping):
        return {key: _anything(inner, where) for key, (_, inner) in node.entries.items()}
    if not node.plain:
        return node.text
    if node.text in _NULLS:
        return None
    if node.text in _FLAGS:
        return _FLAGS[node.text]
    if _WHOLE.fullmatch(node.text):
        return int(node.text)
    number = float(node.text) if _NUMBER.fullmatch(node.text) else math.inf
    return number if math.isfinite(number) else node.text


def _measured(node: Scalar, kind: Kind, where: str) -> Any:
    text = node.text
    if kind == "size":
        return _size(node, where)
    if kind == "flag":
        if node.plain and text in _FLAGS:
            return _FLAGS[text]
        raise _misread(node.line, where, f"write true or false, not {text!r}")
    if kind == "whole":
        if node.plain and _WHOLE.fullmatch(text):
            return int(text)
        raise _misread(node.line, where, f"write a whole number with digits alone, not {text!r}")
    number = float(text) if node.plain and _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise _misread(node.line, where, f"write a number such as 30 or 0.5, not {text!r}")
    return number


def _size(node: Scalar, where: str) -> int:
    try:
        if not _UNIT.fullmatch(node.text):
            raise ValueError("write a size with its unit, as 512MiB or 6GiB")
        return sizes.parse(node.text)
    except (ValueError, OverflowError) as error:
        raise _misread(node.line, where, str(error)) from error
