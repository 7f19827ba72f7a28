"""The spread of the calls of any span: of steps that are made where it can be, of single calls at its ends."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from gateway.metering import spread_rows
from gateway.metering.spread import Spread, add
from gateway.metering.spread_rows import CALLS, COLUMNS, DAY, FINE, HOUR, SETS, fine_from, floor, number_of
from gateway.models import ApiKey, Team, UsageSpread
from gpus.samples import EPOCH

Span = tuple[datetime, datetime]
Part = tuple[int, datetime, datetime]
Group = tuple[Any, ...]
"""When the step begins, or None where all are one, and then a value for each name that is grouped by."""
_TABLES: dict[str, type[ApiKey] | type[Team]] = {"key": ApiKey, "team": Team}


@dataclass(frozen=True, slots=True)
class Sought:
    """Which calls, of when, and how to group them."""

    since: datetime
    until: datetime
    measures: Sequence[str]
    by: tuple[str, ...] = ()
    """Some of `model`, `team` and `key`."""
    narrowed: dict[str, Any] = field(default_factory=dict)
    """Values by such names."""
    step_seconds: int | None = None
    """Of 300 seconds or of hours, or all together."""

    @property
    def columns(self) -> list[str]:
        """What is grouped by."""
        return [COLUMNS[name] for name in self.by]


def aligned(since: datetime, until: datetime, now: datetime) -> datetime:
    """The span's begin or a little before: where a step begins that is made. A short span stays as it is."""
    step = finest(since, until, now)
    return floor(since, step) if step else since


def finest(since: datetime, until: datetime, now: datetime) -> int:
    """The shortest step of such a span for which calls need not be counted one by one."""
    if until - since <= timedelta(hours=1):
        return 0
    return FINE if since >= fine_from(now) else HOUR


def read(sought: Sought, now: datetime) -> dict[Group, Spread]:
    """The spread of each group. At most a query for each length of step, and two for single calls at the ends."""
    found: defaultdict[Group, Spread] = defaultdict(dict)
    for seconds, since, until in _parts(sought, now):
        rows = _calls(sought, since, until) if seconds == 0 else _steps(sought, seconds, since, until)
        for group, told in rows:
            add(found[group], told)
    return _of_nobody(found, sought.by)


def _parts(sought: Sought, now: datetime) -> list[Part]:
    """Lengths of steps with the spans that they are to be read for; 0 is for single calls."""
    made = spread_rows.made()
    if FINE in made:
        first, last = made[FINE]
        made[FINE] = max(first, fine_from(now)), last
    longest = sought.step_seconds or DAY
    lengths = [seconds for seconds in (DAY, HOUR, FINE) if seconds in made and longest % seconds == 0]
    return list(_covered(sought.since, sought.until, lengths, made))


def _covered(since: datetime, until: datetime, lengths: list[int], made: dict[int, Span]) -> Iterator[Part]:
    """The longest steps in the middle, shorter ones before and after."""
    if since >= until:
        return
    if not lengths:
        yield 0, since, until
        return
    seconds, *shorter = lengths
    first, last = made[seconds]
    begin = max(first, floor(since + timedelta(seconds=seconds, microseconds=-1), seconds))
    end = min(last, floor(until, seconds))
    if begin >= end:
        yield from _covered(since, until, shorter, made)
        return
    yield from _covered(since, begin, shorter, made)
    yield seconds, begin, end
    yield from _covered(end, until, shorter, made)


def _steps(sought: Sought, seconds: int, since: datetime, until: datetime) -> Iterator[tuple[Group, dict[str, Any]]]:
    """Of steps that are made."""
    needed = {*sought.by, *sought.narrowed}
    kept = next(names for names in SETS if needed <= set(names))
    rows = UsageSpread.objects.filter(
        step_seconds=seconds,
        grouped=number_of(kept),
        at__gte=since,
        at__lt=until,
        **{COLUMNS[name]: value for name, value in sought.narrowed.items()},
    )
    told = rows.order_by().values_list("at", *sought.columns, *(f"spread__{name}" for name in sought.measures))
    width = 1 + len(sought.by)
    for row in told:
        yield (_begins(sought, row[0]), *row[1:width]), dict(zip(sought.measures, row[width:], strict=True))


def _begins(sought: Sought, at: datetime) -> datetime | None:
    return floor(at, sought.step_seconds) if sought.step_seconds else None


def _calls(sought: Sought, since: datetime, until: datetime) -> Iterator[tuple[Group, dict[str, Any]]]:
    """Of single calls."""
    narrowed = "".join(f" AND {COLUMNS[name]} = %({name})s" for name in sought.narrowed)
    columns = ["step", *sought.columns, "measure", "bucket"]
    listed = ", ".join(columns)
    asked = f"""
        SELECT {listed}, sum(number)::bigint FROM ({CALLS}{narrowed}) AS calls
        WHERE measure = ANY(%(measures)s) GROUP BY {listed}"""  # noqa: S608 no word of it comes from outside
    step = f"{sought.step_seconds} seconds" if sought.step_seconds else "100000 days"
    with connection.cursor() as cursor:
        cursor.execute(
            asked,
            {
                "step": step,
                "epoch": EPOCH,
                "since": since,
                "until": until,
                "measures": list(sought.measures),
                **sought.narrowed,
            },
        )
        rows = cursor.fetchall()
    for at, *values, measure, bucket, number in rows:
        yield (at if sought.step_seconds else None, *values), {measure: {bucket: number}}


def _of_nobody(found: dict[Group, Spread], by: tuple[str, ...]) -> dict[Group, Spread]:
    """Keys and teams that are gone have None for their id: steps remember it, calls do not."""
    gone: dict[int, set[int]] = {}
    for place, name in enumerate(by, 1):
        if name in _TABLES:
            told = {group[place] for group in found} - {None}
            gone[place] = told - set(_TABLES[name].objects.filter(pk__in=told).values_list("pk", flat=True))
    if not any(gone.values()):
        return found
    merged: defaultdict[Group, Spread] = defaultdict(dict)
    for group, spread in found.items():
        values = (None if value in gone.get(place, ()) else value for place, value in enumerate(group))
        add(merged[tuple(values)], spread)
    return merged
