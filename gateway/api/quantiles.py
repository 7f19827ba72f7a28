"""How long calls took for half of them and for all but a twentieth, from single calls: older ones are only sums."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, FloatField, Q, QuerySet
from django.db.models.functions import TruncDate, TruncHour

from gateway.models import UsageRecord

QUANTILES = ("ttft_p50_seconds", "ttft_p95_seconds", "e2e_p50_seconds", "e2e_p95_seconds")
"""Time to the first content, of every stream that had some; duration, of calls that ended well."""

Known = dict[str, float | None]


class _Quantiles(Aggregate):
    """The median and the 95th percentile, interpolated; null without a value."""

    template = "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(FloatField())


_MEASURED = {"ttft": _Quantiles("ttft_seconds"), "e2e": _Quantiles("e2e_seconds", filter=Q(outcome="ok"))}


def of_groups(calls: QuerySet[UsageRecord], columns: list[str]) -> dict[tuple[Any, ...], Known]:
    """By the values of `columns`, which may be `hour` and `day` (UTC) besides those of a call."""
    dated = calls.annotate(hour=TruncHour("at", tzinfo=UTC), day=TruncDate("at", tzinfo=UTC))
    rows = dated.order_by().values_list(*columns).annotate(**_MEASURED)
    return {tuple(group): _named(ttft, e2e) for *group, ttft, e2e in rows}


def of_all(calls: QuerySet[UsageRecord]) -> Known:
    """Of all of them together."""
    return _named(**calls.order_by().aggregate(**_MEASURED))


def _named(ttft: list[float] | None, e2e: list[float] | None) -> Known:
    return dict(zip(QUANTILES, _two(ttft, e2e), strict=True))


def _two(*measured: list[float] | None) -> Iterator[float | None]:
    for pair in measured:
        yield from pair or (None, None)
