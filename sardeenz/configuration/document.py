"""YAML as nodes that know their lines. What a text means is for the field that holds it to say, never for the YAML.

Libraries differ in what a plain `no`, `12:30`, `017` or `7e12345` is; here each is the text that was written, until a
field asks for a number. Keys that stand twice, anchors, aliases and tags are refused, and depth and size are bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from sardeenz.configuration.errors import ConfigurationInvalid, Problem

MOST_CHARACTERS: Final = 4 * 1024**2
MOST_NODES: Final = 200_000
DEEPEST: Final = 12
INVALID = "not_yaml"
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_POSITION = re.compile(r"position (\d+)")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One text; `plain` where no quotes say that it is one."""

    text: str
    plain: bool
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of the document, with the line it begins at."""

    items: "list[Node]" = field(default_factory=list)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys in their order, each with its line and what stands there."""

    entries: "dict[str, tuple[int, Node]]" = field(default_factory=dict)
    line: int = 0


Node = Scalar | Sequence | Mapping


def read(text: str) -> Mapping:
    """The document. Raises ConfigurationInvalid, which names the line."""
    if len(text) > MOST_CHARACTERS:
        raise _invalid(0, f"it has more than {MOST_CHARACTERS // 1024**2} million characters")
    try:
        root = _Reader(text).document()
    except yaml.YAMLError as error:
        raise _invalid(*_told(text, error)) from error
    if not isinstance(root, Mapping):
        raise _invalid(root.line, "begin with sections such as `deployments:`")
    return root


def _invalid(line: int, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(Problem(line, "", INVALID, message))


def _told(text: str, error: yaml.YAMLError) -> tuple[int, str]:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return mark.line + 1, f"this is not YAML: {getattr(error, 'problem', None) or error}"
    position = _POSITION.search(str(error))
    line = text.count("\n", 0, int(position[1])) + 1 if position else 0
    return line, "it holds a character that YAML does not allow; write it escaped, in double quotes"


class _Reader:
    """Builds nodes from the parser's events, which never recurse: so no document is too deep for us to refuse."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._nodes = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise _invalid(_line(event), "only one document may stand in a file")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, 1)
        return _not_empty(root)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _invalid(line, f"it has more than {MOST_NODES:,} entries")
        if depth > DEEPEST:
            raise _invalid(line, "it is nested too deeply")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _invalid(line, "anchors (&) and aliases (*) are not taken; write the value where it belongs")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _invalid(line, "tags (!) are not taken; the field says what its value is")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, event.implicit[0], line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(line, depth)
        return self._mapping(line, depth)

    def _sequence(self, line: int, depth: int) -> Sequence:
        found = Sequence(line=line)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.items.append(self._node(event, depth + 1))
        return found

    def _mapping(self, line: int, depth: int) -> Mapping:
        found = Mapping(line=line)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise _invalid(key.line, "a key is one text, not a list or a mapping")
            if key.text in found.entries:
                first = found.entries[key.text][0]
                raise _invalid(key.line, f"{key.text!r} stands here again; it is in line {first} already")
            found.entries[key.text] = key.line, self._node(next(self._events), depth + 1)
        return found


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _not_empty(root: Node | None) -> Node:
    if root is None or (isinstance(root, Scalar) and root.plain and not root.text):
        raise _invalid(0, "the document is empty")
    return root
