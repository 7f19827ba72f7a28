"""A document as what it asks for: sections, names and fields with their lines, every mistake told at once."""

from dataclasses import dataclass, field
from typing import Any

from sardeenz.configuration import document, secrets, shapes
from sardeenz.configuration.compare import State
from sardeenz.configuration.document import Mapping, Node, Scalar
from sardeenz.configuration.errors import ConfigurationInvalid, Problem
from sardeenz.configuration.sections import SECTIONS
from sardeenz.configuration.shapes import Misread

BASE = "base"


@dataclass(slots=True)
class Wanted:
    """What a document says; `base` is the version it was made from, where it says one."""

    state: State = field(default_factory=dict)
    lines: dict[tuple[str, str, str], int] = field(default_factory=dict)
    base: str = ""

    def line(self, section: str, name: str, field_name: str = "") -> int:
        """Where a field stands, else its object; 0 where neither does."""
        return self.lines.get((section, name, field_name)) or self.lines.get((section, name, ""), 0)


def read(text: str) -> Wanted:
    """What the document says. Raises ConfigurationInvalid with all that is wrong in it."""
    wanted = Wanted()
    problems: list[Problem] = []
    for key, (line, node) in document.read(text).entries.items():
        if key == BASE:
            problems += _read_base(wanted, node)
        elif key not in SECTIONS:
            problems.append(shapes.unknown(line, "", key, [BASE, *SECTIONS]))
        else:
            problems += _read_section(wanted, key, node)
    if problems:
        raise ConfigurationInvalid(*problems)
    return wanted


def _read_base(wanted: Wanted, node: Node) -> list[Problem]:
    if not isinstance(node, Scalar):
        return [Problem(node.line, BASE, shapes.WRONG, "write the number of a version, as an export does")]
    wanted.base = node.text
    return []


def _read_section(wanted: Wanted, section: str, node: Node) -> list[Problem]:
    if not isinstance(node, Mapping):
        what = f"write each {SECTIONS[section].noun} by its name, or {{}} for none"
        return [Problem(node.line, section, shapes.WRONG, what)]
    wanted.state[section] = {}
    problems: list[Problem] = []
    for name, (line, inner) in node.entries.items():
        wanted.lines[section, name, ""] = line
        try:
            fields, lines = shapes.fields(inner, SECTIONS[section].shape, f"{section}.{name}")
        except Misread as error:
            problems += error.problems
            continue
        wanted.state[section][name] = SECTIONS[section].tidied(fields)
        wanted.lines |= {(section, name, each): at for each, at in lines.items()}
    return problems


def seal(wanted: Wanted, now: State) -> None:
    """Look at the secrets that are named. Raises ConfigurationInvalid where one is missing."""
    problems: list[Problem] = []
    for section, rows in wanted.state.items():
        for name, fields in rows.items():
            there = now[section].get(name, {})
            for hidden in (each for each, shape in SECTIONS[section].shape.fields.items() if shape.hides):
                if isinstance(fields.get(hidden), dict):
                    problems += _seal(wanted, section, name, hidden, there.get(hidden) or {})
    if problems:
        raise ConfigurationInvalid(*problems)


def _seal(wanted: Wanted, section: str, name: str, hidden: str, before: dict[str, Any]) -> list[Problem]:
    fields = wanted.state[section][name]
    try:
        fields[hidden] = secrets.resealed(fields[hidden], before)
    except secrets.SecretMissing as error:
        line = wanted.line(section, name, hidden)
        return [Problem(line, f"{section}.{name}.{hidden}", "secret_missing", str(error))]
    return []
