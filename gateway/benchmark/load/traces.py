"""Calls as they once came, and prompts as people wrote them, from the text of a file."""

import csv
import io
import json
import math
from collections import defaultdict
from typing import Any

from gateway.benchmark.load.plan import Moment
from sardeenz.errors import InvalidSpec

LONGEST = 200_000
COLUMNS = ("offset_ms", "model", "prompt_tokens", "max_tokens")


def read_trace(text: str) -> dict[str, tuple[Moment, ...]]:
    """The calls of each model, in order. Raises InvalidSpec with the line that cannot be read.

    CSV with a header, or one JSON object to a line; other columns are passed over.
    """
    lines = [line for line in _lines(text) if line.strip()]
    if not lines:
        raise InvalidSpec("the trace is empty: a header and a line for each call are needed", field="trace")
    rows = _json_lines(lines) if lines[0].lstrip().startswith("{") else _csv_lines(text)
    if not rows:
        raise InvalidSpec("the trace has a header and no call", field="trace")
    if len(rows) > LONGEST:
        raise InvalidSpec(f"the trace has {len(rows)} calls; {LONGEST} is the most", field="trace")
    found: defaultdict[str, list[Moment]] = defaultdict(list)
    for number, row in rows:
        model, moment = _moment(number, row)
        found[model].append(moment)
    return {model: tuple(sorted(moments, key=lambda each: each.at)) for model, moments in found.items()}


def read_prompts(text: str) -> tuple[str, ...]:
    """The prompts of a JSONL file: each line a text, or an object with a `prompt`. Raises InvalidSpec."""
    found = []
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        said = _parsed(number, line, "prompts")
        prompt = said.get("prompt") if isinstance(said, dict) else said
        if not isinstance(prompt, str) or not prompt:
            raise InvalidSpec(f"line {number} of the prompts has no text in `prompt`", field="prompts")
        found.append(prompt)
    if not found:
        raise InvalidSpec("there is no prompt in the file", field="prompts")
    return tuple(found)


def _lines(text: str) -> list[str]:
    """As JSON has them: of what else separates lines in prose, each may stand in a string as it is."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _json_lines(lines: list[str]) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(lines, 1):
        said = _parsed(number, line, "trace")
        if not isinstance(said, dict):
            raise InvalidSpec(f"line {number} of the trace is no JSON object", field="trace")
        rows.append((number, said))
    return rows


def _parsed(number: int, line: str, field: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InvalidSpec(f"line {number} of the {field} is not JSON: {error}", field=field) from error


def _csv_lines(text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        absent, needed = (", ".join(f"`{name}`" for name in names) for names in (missing, COLUMNS))
        raise InvalidSpec(f"the trace has no column {absent}; it needs {needed}", field="trace")
    return [(reader.line_num, row) for row in reader]


def _moment(number: int, row: dict[str, Any]) -> tuple[str, Moment]:
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidSpec(f"line {number} of the trace names no model", field="trace")
    offset = _number(number, row, "offset_ms")
    if offset < 0:
        raise InvalidSpec(f"line {number} of the trace has the negative offset {offset:g} ms", field="trace")
    tokens = [_number(number, row, name) for name in ("prompt_tokens", "max_tokens")]
    for name, count in zip(("prompt_tokens", "max_tokens"), tokens, strict=True):
        if count < 1:
            raise InvalidSpec(
                f"line {number} of the trace: {name} is {count:g}, and has to be 1 or more", field="trace"
            )
    return model, Moment(offset / 1000, int(tokens[0]), int(tokens[1]))


def _number(number: int, row: dict[str, Any], name: str) -> float:
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InvalidSpec(f"line {number} of the trace: {name} is no number: {row.get(name)!r}", field="trace")
    return value
