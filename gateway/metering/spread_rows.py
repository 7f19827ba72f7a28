"""Spreads of calls as rows: made of single calls once a step of time is over, an hour's and a day's of those before.

Every step is kept of everybody together and of each combination of model, team and key that is asked for, so that a
look at a month reads some hundred rows however many calls there were.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Min, Sum

from gateway.metering.spread import BUCKET, TIMES
from gateway.models import UsageHour, UsageRecord, UsageSpread
from gpus.samples import EPOCH

FINE, HOUR, DAY = 300, 3600, 86400
FINE_KEPT = timedelta(days=2)
SETTLED = timedelta(minutes=2)
"""A step is made so long after its end: by then its calls are written, but for an outage of the database."""
LOOKED_AT_AGAIN = timedelta(days=2)
"""So far back hours are made again when their sums have changed since: calls were written, or tokens known, late."""

COLUMNS = {"model": "served_name", "team": "team_id", "key": "key_id"}
SETS = ((), ("model",), ("team",), ("team", "key"), ("model", "team"), ("model", "team", "key"))
"""By what the calls of a step are grouped. A key's team may change, so its calls are always told apart by both."""


def number_of(names: tuple[str, ...]) -> int:
    """As PostgreSQL's GROUPING numbers the set."""
    return sum(bit for name, bit in zip(COLUMNS, (4, 2, 1), strict=True) if name not in names)


TOGETHER = number_of(())

_TOLD = ", ".join(
    [
        "('outcome', outcome, 1)",
        "('tokens', '', completion_tokens)",
        *(f"('{name}', ({BUCKET.format(seconds=f'{name}_seconds')})::text, 1)" for name in TIMES if name != "e2e"),
        f"('e2e', CASE WHEN outcome = 'ok' THEN ({BUCKET.format(seconds='e2e_seconds')})::text END, 1)",
    ]
)
CALLS = f"""
    SELECT date_bin(%(step)s::interval, at, %(epoch)s) AS step, served_name, team_id, key_id, told.*
    FROM gateway_usagerecord CROSS JOIN LATERAL (VALUES {_TOLD}) AS told(measure, bucket, number)
    WHERE bucket IS NOT NULL AND number IS NOT NULL AND at >= %(since)s AND at < %(until)s"""  # noqa: S608
"""What single calls tell: a row to each measure."""

_OF_CALLS = f"""
    SELECT step, GROUPING({", ".join(COLUMNS.values())}) AS grouped, served_name, team_id, key_id, measure, bucket,
        sum(number)::bigint AS number
    FROM ({CALLS}) AS calls
    GROUP BY step, measure, bucket,
        GROUPING SETS ({", ".join(f"({', '.join(COLUMNS[name] for name in names)})" for names in SETS)})"""  # noqa: S608
_OF_HOURS = f"""
    SELECT date_bin(%(step)s::interval, at, %(epoch)s) AS step, grouped, served_name, team_id, key_id, measure, bucket,
        sum(number::bigint)::bigint AS number
    FROM gateway_usagespread, jsonb_each(spread) AS told(measure, buckets),
        jsonb_each_text(buckets) AS one(bucket, number)
    WHERE step_seconds = {HOUR} AND at >= %(since)s AND at < %(until)s
    GROUP BY 1, 2, 3, 4, 5, 6, 7"""  # noqa: S608
_MAKE = """
    INSERT INTO gateway_usagespread (step_seconds, at, grouped, served_name, team_id, key_id, spread)
    SELECT %(seconds)s, step, grouped, coalesce(served_name, ''), team_id, key_id, jsonb_object_agg(measure, buckets)
    FROM (
        SELECT step, grouped, served_name, team_id, key_id, measure, jsonb_object_agg(bucket, number) AS buckets
        FROM ({source}) AS counted GROUP BY 1, 2, 3, 4, 5, 6
    ) AS measured
    GROUP BY step, grouped, served_name, team_id, key_id
    ON CONFLICT DO NOTHING"""
_WITHOUT_CALLS = f"""
    INSERT INTO gateway_usagespread (step_seconds, at, grouped, served_name, spread)
    SELECT %(seconds)s, step, {TOGETHER}, '', '{{}}'
    FROM generate_series(%(since)s, %(until)s - %(step)s::interval, %(step)s::interval) AS step
    ON CONFLICT DO NOTHING"""  # noqa: S608
"""A step is made where this row is, so that nobody looks for its calls."""


def floor(at: datetime, seconds: int) -> datetime:
    """When the step began."""
    step = timedelta(seconds=seconds)
    return EPOCH + (at - EPOCH) // step * step


def fine_from(now: datetime) -> datetime:
    """Since when fine steps are kept."""
    return floor(now - FINE_KEPT, HOUR)


def made() -> dict[int, tuple[datetime, datetime]]:
    """Of each length of step, from when until when all are made."""
    rows = UsageSpread.objects.filter(grouped=TOGETHER).order_by().values_list("step_seconds")
    known = rows.annotate(first=Min("at"), last=Max("at"))
    return {seconds: (first, last + timedelta(seconds=seconds)) for seconds, first, last in known}


def roll_up(now: datetime, work_seconds: float) -> None:
    """Make what is over, the oldest first, for about so long: what is left is the next run's."""
    end = time.monotonic() + work_seconds
    for hour in _late_hours(now):
        _make_again(hour, now)
    first = UsageRecord.objects.order_by("at").values_list("at", flat=True).first()
    for seconds in (FINE, HOUR, DAY):
        while time.monotonic() < end and (due := _due(seconds, first, now)):
            _make(seconds, *due)


def _due(seconds: int, first: datetime | None, now: datetime) -> tuple[datetime, datetime] | None:
    """The next steps to make: those of an hour at most, or a longer one."""
    known = made()
    if seconds in known:
        since = known[seconds][1]
    elif first is not None:
        since = floor(first, max(seconds, HOUR))
    else:
        return None
    until = floor(now - SETTLED, seconds)
    if seconds == FINE:
        since = max(since, fine_from(now))
    if seconds == DAY:  # it is made of hours
        until = min(until, floor(known[HOUR][1], DAY)) if HOUR in known else since
    until = min(until, since + timedelta(seconds=max(seconds, HOUR)))
    return (since, until) if since < until else None


def _make_again(hour: datetime, now: datetime) -> None:
    """With the day that it is in, and its fine steps while those are kept."""
    end, known = hour + timedelta(hours=1), made()
    if FINE in known:
        _make(FINE, max(hour, fine_from(now)), min(end, known[FINE][1]))
    _make(HOUR, hour, end)
    if DAY in known and hour < known[DAY][1]:
        _make(DAY, floor(hour, DAY), floor(hour, DAY) + timedelta(days=1))


def _late_hours(now: datetime) -> Iterator[datetime]:
    """Begins of hours whose sums are others than when they were made."""
    since = floor(now - min(LOOKED_AT_AGAIN, timedelta(days=settings.USAGE_DAYS) - timedelta(hours=1)), HOUR)
    known = UsageSpread.objects.filter(step_seconds=HOUR, grouped=TOGETHER, at__gte=since).order_by("at")
    sums = {hour: told for hour, *told in _sums(since, now)}
    for hour, *seen in known.values_list("at", "seen_calls", "seen_tokens"):
        if sums.get(hour, [0, 0]) != seen:
            yield hour


def _sums(since: datetime, until: datetime) -> Any:
    hours = UsageHour.objects.filter(hour__gte=since, hour__lt=until).order_by("hour").values_list("hour")
    return hours.annotate(Sum("calls"), Sum("completion_tokens"))


@transaction.atomic
def _make(seconds: int, since: datetime, until: datetime) -> None:
    """Make all steps of this length that begin in the span, instead of those there are."""
    if since >= until:
        return
    span: dict[str, Any] = {
        "seconds": seconds,
        "step": f"{seconds} seconds",
        "epoch": EPOCH,
        "since": since,
        "until": until,
    }
    sums = [(told[1], told[2]) for told in _sums(since, until)] if seconds == HOUR else []
    old = UsageSpread.objects.filter(step_seconds=seconds, at__gte=since, at__lt=until)
    old.delete()
    with connection.cursor() as cursor:
        cursor.execute(_MAKE.format(source=_OF_HOURS if seconds == DAY else _OF_CALLS), span)
        cursor.execute(_WITHOUT_CALLS, span)
    if seconds == HOUR:
        calls, tokens = sums[0] if sums else (0, 0)
        old.filter(grouped=TOGETHER).update(seen_calls=calls, seen_tokens=tokens)


def forget(now: datetime) -> None:
    """Fine steps go after two days, the others with their calls."""
    UsageSpread.objects.filter(step_seconds=FINE, at__lt=fine_from(now)).delete()
    UsageSpread.objects.filter(at__lt=now - timedelta(days=settings.USAGE_DAYS)).delete()
