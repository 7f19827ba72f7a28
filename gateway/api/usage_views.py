"""/api/usage: single calls and their sums by the hour, in pages of JSON or whole as CSV."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from gateway.api import quantiles
from gateway.api.csv_download import TableViewSet
from gateway.api.quantiles import QUANTILES
from gateway.api.usage_serializers import (
    CallsQuerySerializer,
    HoursPageSerializer,
    HoursQuerySerializer,
    UsageSerializer,
)
from gateway.metering.usage_fields import SUMS
from gateway.models import UsageHour, UsageRecord

NAMES = {"key": "key_id", "key_name": "key__name", "team": "team_id", "team_name": "team__name"}
"""Where a field of an answer is called otherwise in the database."""
GROUPED = {
    "hour": ("hour",),
    "day": ("day",),
    "key": ("key", "key_name"),
    "team": ("team", "team_name"),
    "model": ("served_name",),
}
"""The fields that tell groups apart."""
CSV = OpenApiResponse(bytes, description="every row that matches, with a header")


def _columns(fields: list[str]) -> list[str]:
    return [NAMES.get(field, field) for field in fields]


def _narrowed(rows: QuerySet[Any], asked: dict[str, Any], moment: str) -> QuerySet[Any]:
    """The rows of one key, of one team, of a span of time."""
    wanted = {"key": "key", "team": "team", "since": f"{moment}__gte", "until": f"{moment}__lt"}
    return rows.filter(**{column: asked[field] for field, column in wanted.items() if field in asked})


def _asked(query: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    given = query(data=request.query_params)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class UsageViewSet(TableViewSet):
    """Single finished calls are listed here, the newest first, as pages of JSON or whole as CSV."""

    queryset = UsageRecord.objects.select_related("key", "team")
    serializer_class = UsageSerializer

    @extend_schema(
        parameters=[CallsQuerySerializer],
        responses={(200, "application/json"): UsageSerializer(many=True), (200, "text/csv"): CSV},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Single calls, kept for SARDEENZ_USAGE_DAYS."""
        asked = _asked(CallsQuerySerializer, request)
        calls = _narrowed(self.get_queryset(), asked, "at")
        if model := asked.get("model"):
            calls = calls.filter(Q(served_name=model) | Q(asked_name=model))
        if outcome := asked.get("outcome"):
            calls = calls.filter(outcome=outcome)
        if self.wants_csv():
            fields = list(UsageSerializer.Meta.fields)
            return self.download("usage", fields, calls.values_list(*_columns(fields)).iterator())
        page = self.paginate_queryset(calls) or []
        return self.get_paginated_response(UsageSerializer(page, many=True).data)


class UsageHoursViewSet(TableViewSet):
    """Sums by the hour, kept when single calls are pruned."""

    queryset = UsageHour.objects.all()

    @extend_schema(
        parameters=[HoursQuerySerializer],
        responses={(200, "application/json"): HoursPageSerializer, (200, "text/csv"): CSV},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Sums over the hours (UTC) that begin in the span asked for, newest first.

        Quantiles of the time to the first content and of the duration are those of single calls, which are kept for
        SARDEENZ_USAGE_DAYS; before that they are null.
        """
        asked = _asked(HoursQuerySerializer, request)
        hours = _narrowed(self.get_queryset(), asked, "hour")
        calls = _narrowed(UsageRecord.objects.all(), _whole_hours(asked), "at")
        if model := asked.get("model"):
            hours, calls = hours.filter(served_name=model), calls.filter(served_name=model)
        fields = [field for group in asked["group_by"] for field in GROUPED[group]]
        rows = _summed(hours, fields)
        took = quantiles.of_groups(calls, _columns(fields))
        if self.wants_csv():
            return self.download("usage-hours", [*fields, *SUMS, *QUANTILES], _with_quantiles(rows, took, len(fields)))
        page = self.paginate_queryset(rows) or []
        names = (*fields, *SUMS, *QUANTILES)
        shown = [dict(zip(names, row, strict=True)) for row in _with_quantiles(page, took, len(fields))]
        answer = self.get_paginated_response(shown)
        totals = hours.aggregate(*(Sum(field, default=0) for field in SUMS))
        answer.data["totals"] = {field: totals[f"{field}__sum"] for field in SUMS} | quantiles.of_all(calls)
        return answer


def _summed(hours: QuerySet[UsageHour], fields: list[str]) -> QuerySet[Any, tuple[Any, ...]]:
    """One tuple to each group: the fields, then the sums."""
    columns = _columns(fields)
    order = [f"-{column}" if column in ("hour", "day") else column for column in columns]
    by_day = hours.annotate(day=TruncDate("hour", tzinfo=UTC))
    return by_day.order_by(*order).values_list(*columns).annotate(*(Sum(field) for field in SUMS))


def _whole_hours(asked: dict[str, Any]) -> dict[str, Any]:
    """The span that holds the calls of all hours that begin in the span asked for."""
    return asked | {end: _hour_from(asked[end]) for end in ("since", "until") if end in asked}


def _hour_from(moment: datetime) -> datetime:
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if hour == moment else hour + timedelta(hours=1)


def _with_quantiles(
    rows: Iterable[tuple[Any, ...]], took: dict[tuple[Any, ...], quantiles.Known], width: int
) -> Iterator[tuple[Any, ...]]:
    """Each row with the quantiles of its group, which is what its first columns say."""
    unknown: quantiles.Known = dict.fromkeys(QUANTILES)
    for row in rows:
        yield (*row, *took.get(row[:width], unknown).values())
