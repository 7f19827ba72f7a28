"""What is kept of a finished call, and which of it is added up by the hour: each field stands here once.

From this list follow how a batch is written (`usage_rows`), how hours are added to, and the columns of the API and its
CSV. The models state the same columns for their migrations. A field's unit is the end of its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from gateway.metering.meter import Record
from gateway.models import Told
from gateway.wire.usage import CANCELLED, CHARGED


@dataclass(frozen=True, slots=True)
class UsageField:
    """One column of `UsageRecord`, with the PostgreSQL type in which a batch hands it over."""

    name: str
    sql_type: str
    value: Callable[[Record], Any]
    summed: bool = False
    """Whether hours hold its sum."""
    shown: bool = True
    """Whether the API shows it of a single call."""


def _of_record(name: str, sql_type: str, *, summed: bool = False, shown: bool = True) -> UsageField:
    """A field that a record has under the same name."""
    return UsageField(name, sql_type, attrgetter(name), summed, shown)


def _tokens(name: str) -> UsageField:
    """A count of tokens. Half of what an answer used is as good as nothing: it stays open like the rest."""
    count = attrgetter(f"usage.{name}")
    return UsageField(name, "int", lambda record: count(record) if _told_by_answer(record) else None, summed=True)


def _told_by_answer(record: Record) -> bool:
    return record.usage.prompt_tokens is not None and record.usage.completion_tokens is not None


def _told(record: Record) -> Told:
    if _told_by_answer(record):
        return Told.ANSWER
    return Told.LOST if record.replica_id is None or record.generation is None else Told.OPEN


FIELDS = (
    _of_record("request_id", "text"),
    _of_record("served_name", "text"),
    _of_record("asked_name", "text"),
    _of_record("path", "text"),
    _of_record("replica_id", "bigint"),
    _of_record("generation", "int", shown=False),
    _of_record("status", "int"),
    _of_record("outcome", "text"),
    _of_record("stream", "bool"),
    UsageField("told", "text", _told, shown=False),
    _of_record("pieces", "int", shown=False),
    UsageField("prompt_copies", "int", attrgetter("choices"), shown=False),
    _of_record("body_bytes", "bigint", shown=False),
    _tokens("prompt_tokens"),
    _tokens("cached_tokens"),
    _tokens("completion_tokens"),
    _of_record("wake_seconds", "float8", summed=True),
    _of_record("queue_seconds", "float8", summed=True),
    _of_record("ttft_seconds", "float8"),
    _of_record("gap_seconds", "float8"),
    _of_record("longest_gap_seconds", "float8"),
    _of_record("e2e_seconds", "float8", summed=True),
    _of_record("gpu_seconds", "float8", summed=True),
    _of_record("beside", "int", shown=False),
    _of_record("trail", "jsonb", shown=False),
)
"""Besides these a row has its key, its team and when the call ended."""

SHOWN = tuple(field.name for field in FIELDS if field.shown)
"""What the API shows of one call."""

_SUM_OF = {
    "calls": "count(*)",
    "failed": f"count(*) FILTER (WHERE outcome NOT IN {CHARGED})",
    "cancelled": f"count(*) FILTER (WHERE outcome IN {CANCELLED})",
} | {field.name: f"coalesce(sum({field.name}), 0)" for field in FIELDS if field.summed}

SUMS = tuple(_SUM_OF)
"""The columns of `UsageHour` that are added up."""

SUMMED = ", ".join(_SUM_OF.values())
"""Their values in SQL, over rows of calls."""


def add_to_hours(source: str) -> str:
    """The SQL statement that adds rows of an hour, a key, a team, a served name and all `SUMS` to the hours."""
    return f"""
        INSERT INTO gateway_usagehour AS hours (hour, key_id, team_id, served_name, {", ".join(SUMS)})
        {source}
        ON CONFLICT (hour, key_id, team_id, served_name) DO UPDATE SET
            {", ".join(f"{name} = hours.{name} + excluded.{name}" for name in SUMS)}"""
