"""/api/usage: single calls and their sums by the hour, in pages of JSON or whole as CSV."""

from datetime import UTC
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from gateway.csv_download import TableViewSet
from gateway.models import UsageHour, UsageRecord
from gateway.teams import SUMS
from gateway.usage_serializers import (
    CallsQuerySerializer,
    HoursPageSerializer,
    HoursQuerySerializer,
    UsageSerializer,
)

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
    """Finished calls, newest first."""

    queryset = UsageRecord.objects.select_related("key", "team")
    serializer_class = UsageSerializer

    @extend_schema(
        parameters=[CallsQuerySerializer],
        responses={(200, "application/json"): UsageSerializer(many=True), (200, "text/csv"): CSV},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Single calls, kept for SARDEENZ_USAGE_DAYS."""
        asked = _asked(CallsQuerySerializer, request)
        found = _narrowed(self.get_queryset(), asked, "at")
        if model := asked.get("model"):
            found = found.filter(Q(served_name=model) | Q(asked_name=model))
        if outcome := asked.get("outcome"):
            found = found.filter(outcome=outcome)
        if self.wants_csv():
            fields = list(UsageSerializer.Meta.fields)
            return self.download("usage", fields, found.values_list(*_columns(fields)).iterator())
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response(UsageSerializer(page, many=True).data)


class UsageHoursViewSet(TableViewSet):
    """Sums by the hour, kept when single calls are pruned."""

    queryset = UsageHour.objects.all()

    @extend_schema(
        parameters=[HoursQuerySerializer],
        responses={(200, "application/json"): HoursPageSerializer, (200, "text/csv"): CSV},
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Sums over the hours (UTC) that begin in the span asked for, newest first."""
        asked = _asked(HoursQuerySerializer, request)
        found = _narrowed(self.get_queryset(), asked, "hour")
        if model := asked.get("model"):
            found = found.filter(served_name=model)
        fields = [field for group in asked["group_by"] for field in GROUPED[group]]
        rows = _summed(found, fields)
        if self.wants_csv():
            return self.download("usage-hours", [*fields, *SUMS], rows.iterator())
        page = self.paginate_queryset(rows) or []
        answer = self.get_paginated_response([dict(zip((*fields, *SUMS), row, strict=True)) for row in page])
        totals = found.aggregate(*(Sum(field, default=0) for field in SUMS))
        answer.data["totals"] = {field: totals[f"{field}__sum"] for field in SUMS}
        return answer


def _summed(hours: QuerySet[UsageHour], fields: list[str]) -> QuerySet[Any, tuple[Any, ...]]:
    """One tuple to each group: the fields, then the sums."""
    columns = _columns(fields)
    order = [f"-{column}" if column in ("hour", "day") else column for column in columns]
    by_day = hours.annotate(day=TruncDate("hour", tzinfo=UTC))
    return by_day.order_by(*order).values_list(*columns).annotate(*(Sum(field) for field in SUMS))
