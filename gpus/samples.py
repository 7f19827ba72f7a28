"""The history of what is read: every ten seconds for a day, by the minute for a month, then forgotten.

A sample is a row per subject and instant. Whoever keeps and asks agrees on the fields of a kind of subject: their order
is that of the array, so a new field goes to the end.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Max

from gpus.models import Sample

FINE_SECONDS = 10
COARSE_SECONDS = 60
FINE_KEPT = timedelta(days=1)
COARSE_KEPT = timedelta(days=30)
ROLLED_AGAIN = timedelta(minutes=10)
"""So far back minutes are made up for: a roll-up that was missed costs nothing."""
MOST_POINTS = 400
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Steps are counted from here."""
_STEPS = (10, 30, 60, 300, 600, 1800, 3600, 7200, 14400)


@dataclass(frozen=True, slots=True)
class Series:
    """Means and greatest values of every field by step. A step of which nothing is known is absent; `at` begins it."""

    step_seconds: int
    at: list[datetime]
    mean: dict[str, list[float | None]]
    greatest: dict[str, list[float | None]]


def keep(readings: Mapping[str, Sequence[float | None]], at: datetime) -> None:
    """Keep what was read of each subject, once per step: a second reading of the same ten seconds is dropped."""
    begins = _floor(at, FINE_SECONDS)
    Sample.objects.bulk_create(
        (
            Sample(subject=subject, step_seconds=FINE_SECONDS, at=begins, values=list(values))
            for subject, values in readings.items()
        ),
        ignore_conflicts=True,
    )


def roll_up(now: datetime) -> None:
    """Make the minutes that are over from their samples; those that are made are not looked at again."""
    until = _floor(now, COARSE_SECONDS)
    since = until - ROLLED_AGAIN
    made = Sample.objects.filter(step_seconds=COARSE_SECONDS, at__gte=since).aggregate(last=Max("at"))["last"]
    if made is not None:
        since = made + timedelta(seconds=COARSE_SECONDS)
    if since >= until:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO gpus_sample (subject, step_seconds, at, values)
            SELECT subject, %(coarse)s, minute, array_agg(mean ORDER BY place)
            FROM (
                SELECT subject, date_bin(%(step)s::interval, at, %(epoch)s) AS minute, place, avg(value) AS mean
                FROM gpus_sample, unnest(values) WITH ORDINALITY AS listed(value, place)
                WHERE step_seconds = %(fine)s AND at >= %(since)s AND at < %(until)s
                GROUP BY subject, minute, place
            ) AS minutes
            GROUP BY subject, minute
            ON CONFLICT DO NOTHING
            """,
            {
                "coarse": COARSE_SECONDS,
                "step": f"{COARSE_SECONDS} seconds",
                "epoch": EPOCH,
                "fine": FINE_SECONDS,
                "since": since,
                "until": until,
            },
        )


def forget_old(now: datetime) -> None:
    """What was kept long enough goes."""
    Sample.objects.filter(step_seconds=FINE_SECONDS, at__lt=now - FINE_KEPT).delete()
    Sample.objects.filter(step_seconds=COARSE_SECONDS, at__lt=now - COARSE_KEPT).delete()


def series(
    subjects: str | Sequence[str],
    fields: Sequence[str],
    since: datetime,
    until: datetime,
    now: datetime,
    *,
    averaged: Collection[str] = (),
) -> Series:
    """What is known of a subject from `since` to `until`, in at most MOST_POINTS steps, by one query.

    Where minutes are asked for, the ten seconds of those that are not made yet count too, so that what was read just
    now is never missing; a value counts for as long as it stands for.
    Several subjects are added up, but the fields that are `averaged`; of those, each subject's greatest value counts.
    """
    kept = FINE_SECONDS if since >= now - FINE_KEPT else COARSE_SECONDS
    step = step_of(until - since, kept)
    each = ", ".join(
        f"sum(values[{n}] * step_seconds) / sum(step_seconds) FILTER (WHERE values[{n}] IS NOT NULL) AS mean{n},"
        f" max(values[{n}]) AS most{n}"
        for n in range(1, len(fields) + 1)
    )
    together = ", ".join(
        f"avg(mean{n}), max(most{n})" if name in averaged else f"sum(mean{n}), sum(most{n})"
        for n, name in enumerate(fields, 1)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT begins, {together} FROM (
                SELECT date_bin(%s::interval, at, %s) AS begins, {each} FROM gpus_sample
                WHERE subject = ANY(%s) AND at >= %s AND at < %s
                    AND (step_seconds = %s OR (step_seconds = %s AND at >= (
                        SELECT coalesce(max(at) + %s::interval, '-infinity') FROM gpus_sample WHERE step_seconds = %s)))
                GROUP BY begins, subject
            ) AS by_subject
            GROUP BY begins ORDER BY begins
            """,  # noqa: S608 the places are numbers counted here
            [
                f"{step} seconds",
                EPOCH,
                [subjects] if isinstance(subjects, str) else list(subjects),
                since,
                until,
                kept,
                FINE_SECONDS,
                f"{COARSE_SECONDS} seconds",
                COARSE_SECONDS,
            ],
        )
        rows = cursor.fetchall()
    return Series(
        step,
        [row[0] for row in rows],
        {name: [row[1 + 2 * place] for row in rows] for place, name in enumerate(fields)},
        {name: [row[2 + 2 * place] for row in rows] for place, name in enumerate(fields)},
    )


def step_of(span: timedelta, at_least: int) -> int:
    """The shortest step that is not finer than what is kept and leaves no more than MOST_POINTS."""
    fitting = (step for step in _STEPS if step >= at_least and span.total_seconds() / step <= MOST_POINTS)
    return next(fitting, _STEPS[-1])


def _floor(at: datetime, seconds: int) -> datetime:
    return EPOCH + (at - EPOCH) // timedelta(seconds=seconds) * timedelta(seconds=seconds)
