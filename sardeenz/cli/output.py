"""What the command line prints: lines, tables and JSON. Colour only where somebody looks at a terminal."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

Cell = str | tuple[str, str]
"""A text, or a text and its colour."""

GAP = "  "
NARROW = 24
"""Columns that the last column of a table has at least before its text goes on in the next line."""


def say(text: str, colour: str = "", *, error: bool = False, end: str = "\n") -> None:
    """One line on standard output, or on standard error."""
    shown = painted(text, colour) if colour else text
    typer.echo(shown + end, nl=False, err=error, color=False if os.environ.get("NO_COLOR") else None)


def typed() -> str:
    """What people type to run us: `sardeenz`, or where no such command is found, its path from here."""
    program = Path(sys.argv[0])
    if program.name != "sardeenz" or shutil.which("sardeenz"):
        return "sardeenz"
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def fail(message: str) -> NoReturn:
    """Say it on standard error and end with status 1."""
    say(message, "red", error=True)
    raise typer.Exit(1)


def emit(answer: Any) -> None:
    """The API's answer for programs."""
    typer.echo(json.dumps(answer, indent=2))


def painted(text: str, colour: str) -> str:
    """The text in a colour, in `bold` or `dim`."""
    if colour in ("bold", "dim"):
        return typer.style(text, bold=colour == "bold" or None, dim=colour == "dim" or None)
    return typer.style(text, fg=colour)


def plain(text: str, *, after: str = "\n") -> str:
    """What a stranger wrote cannot steer the terminal; `after` begins each further line."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text.replace("\t", "    "))
    return kept.rstrip("\n").replace("\n", after)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: frozenset[int] = frozenset(), foot: int = 0
) -> str:
    """Columns as wide as their widest cell. The last one goes on below itself where a terminal is too narrow.

    `right` are the columns of numbers; the last `foot` rows are sums, in bold like the heads.
    """
    lines: list[list[tuple[str, str]]] = [[(name, "bold") for name in columns]]
    for number, row in enumerate(rows):
        bold = "bold" if number >= len(rows) - foot else ""
        lines.append([_cell(cell, bold) for cell in row])
    widths = [max(len(text) for text, _ in column) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths, right) for line in lines)


def _cell(cell: Cell, colour: str) -> tuple[str, str]:
    text, own = (cell, "") if isinstance(cell, str) else cell
    return plain(text, after=" "), own or colour


def _line(cells: Sequence[tuple[str, str]], widths: Sequence[int], right: frozenset[int]) -> str:
    padded = [
        (text.rjust(width) if number in right else text.ljust(width), colour)
        for number, ((text, colour), width) in enumerate(zip(cells, widths, strict=True))
    ]
    *first, (last, last_colour) = padded
    indent = sum(len(text) + len(GAP) for text, _ in first)
    parts = _wrapped(last.rstrip(), indent) if len(cells) - 1 not in right else [last]
    shown = [painted(text, colour) if colour else text for text, colour in first]
    shown.append(f"\n{' ' * indent}".join(painted(part, last_colour) if last_colour else part for part in parts))
    return GAP.join(shown).rstrip()


def _wrapped(text: str, indent: int) -> list[str]:
    if not sys.stdout.isatty():
        return [text]  # what is piped is one line to a row
    room = max(shutil.get_terminal_size().columns - indent, NARROW)
    return textwrap.wrap(text, room) or [text]


def examples(*lines: str) -> str:
    """The end of a verb's help: commands that can be typed as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
