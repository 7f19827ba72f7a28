"""/api/usage: single calls and their sums by the hour, in pages of JSON or whole as CSV."""

from datetime import UTC
from typing import Any

from django.db.models import F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from gateway.api import quantiles
from gateway.api.calls_pagination import CallsPagination
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


def _of_model(calls: QuerySet[UsageRecord], model: str) -> QuerySet[UsageRecord]:
    """Those it answered, and those that asked for it as an alias. Mostly there are but the one or the other, which an
    index has in the order of time."""
    answered = calls.filter(served_name=model)
    asked = calls.filter(asked_name=model).exclude(asked_name=F("served_name"))
    if not asked.exists():
        return answered
    return answered | asked if answered.exists() else asked


def _asked(query: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    given = query(data=request.query_params)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class UsageViewSet(TableViewSet):
    """Single finished calls are listed here, the newest first, as pages of JSON or whole as CSV."""

    queryset = UsageRecord.objects.select_related("key", "team").order_by("-at", "-id")
    serializer_class = UsageSerializer
    pagination_class = CallsPagination

    @extend_schema(
        parameters=[CallsQuerySerializer],
        responses={(200, "application/json"): UsageSerializer(many=True), (200, "text/csv"): CSV},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Single calls, kept for SARDEENZ_USAGE_DAYS, by when they ended.

        Of those behind the page at most 10,000 are counted; where there are more, `more` is true.
        """
        asked = _asked(CallsQuerySerializer, request)
        calls = _narrowed(self.get_queryset(), asked, "at")
        if model := asked.get("model"):
            calls = _of_model(calls, model)
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
        if model := asked.get("model"):
            hours = hours.filter(served_name=model)
        fields = [field for group in asked["group_by"] for field in GROUPED[group]]
        rows, calls = _summed(hours, fields), quantiles.sought(asked)
        names = (*fields, *SUMS, *QUANTILES)
        if self.wants_csv():
            return self.download("usage-hours", names, quantiles.beside(rows.iterator(), fields, calls))
        page = self.paginate_queryset(rows) or []
        shown = [dict(zip(names, row, strict=True)) for row in quantiles.beside(page, fields, calls)]
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
