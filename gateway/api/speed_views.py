"""/api/usage/speed and /api/usage/figures: how fast calls of the last hour, day or month were answered, and how they
ended, step by step and group by group."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Aggregate, Count, DateTimeField, F, FloatField, Func, Q, QuerySet, Sum, Value
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.models import Team, UsageRecord
from gateway.wire.usage import CANCELLED, CHARGED
from gpus import samples
from models_app.api.history import SpanQuery, span
from models_app.api.serializers import NamedField

FINEST_SECONDS = 60
LIVE_SECONDS = 10
LIVE_SPAN = timedelta(minutes=15)
"""A span of at most so long is shown in finer steps: whoever asks for it watches."""
MOST_GROUPS = 100
BY = {"model": ("served_name",), "key": ("key", "key__name"), "team": ("team", "team__name")}
TIMES = (
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "gap_p50_seconds",
    "gap_p95_seconds",
    "queue_p95_seconds",
    "wake_p95_seconds",
)
RATES = ("calls_per_second", "failed_per_second", "tokens_per_second")
FIELDS = (*RATES, *TIMES)


class SpeedQuery(SpanQuery):
    """Of which calls, and of when."""

    model = serializers.CharField(max_length=200, required=False, help_text="a served name")
    key = serializers.IntegerField(required=False, min_value=1, help_text="a key's id")
    team = NamedField(queryset=Team.objects.all(), required=False, help_text="a team's id or name")


class FiguresQuery(SpeedQuery):
    """What narrows calls, and how to group them."""

    by = serializers.ChoiceField(tuple(BY), default="model")


class SpeedSerializer(serializers.Serializer[Any]):
    """One value per step and field, aligned with `at`; a step without any call is absent, null is unknown."""

    step_seconds = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    at = serializers.ListField(child=serializers.DateTimeField())
    values = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


class CallFiguresSerializer(serializers.Serializer[Any]):
    """Of some calls together; null is unknown."""

    calls = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField(help_text="given up by their callers, or by an operator")
    woke = serializers.IntegerField(help_text="calls that waited for a model to be ready")
    queued = serializers.IntegerField(help_text="calls that waited for a seat")
    calls_per_second = serializers.FloatField()
    failed_per_second = serializers.FloatField()
    tokens_per_second = serializers.FloatField()
    ttft_p50_seconds = serializers.FloatField(allow_null=True)
    ttft_p95_seconds = serializers.FloatField(allow_null=True)
    gap_p50_seconds = serializers.FloatField(allow_null=True)
    gap_p95_seconds = serializers.FloatField(allow_null=True)
    queue_p95_seconds = serializers.FloatField(allow_null=True)
    wake_p95_seconds = serializers.FloatField(allow_null=True)


class CallGroupSerializer(CallFiguresSerializer):
    """One group; `id` is a served name, or the id of a key or team, and null for what was deleted or is in no team."""

    id = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True)


class CallOutcomeSerializer(serializers.Serializer[Any]):
    """How many calls ended so."""

    outcome = serializers.CharField()
    calls = serializers.IntegerField()


class TrafficSerializer(serializers.Serializer[Any]):
    """All calls of the span, their groups with the busiest first, and how they ended."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    total = CallFiguresSerializer()
    groups = CallGroupSerializer(many=True)
    outcomes = CallOutcomeSerializer(many=True)


class _Percentile(Aggregate):
    """One value below which so much of them lies; null without any."""

    template = "percentile_cont(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


_MEASURED: dict[str, Any] = {
    "calls": Count("pk"),
    "failed": Count("pk", filter=~Q(outcome__in=CHARGED)),
    "tokens": Sum("completion_tokens", default=0),
} | {
    f"{name}_p{part}_seconds": _Percentile(f"{name}_seconds", part=part / 100)
    for name, part in (("ttft", 50), ("ttft", 95), ("gap", 50), ("gap", 95), ("queue", 95), ("wake", 95))
}
_COUNTED: dict[str, Any] = {
    "cancelled": Count("pk", filter=Q(outcome__in=CANCELLED)),
    "woke": Count("pk", filter=Q(wake_seconds__gt=0)),
    "queued": Count("pk", filter=Q(queue_seconds__gt=0)),
}


def _rates(row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The row with what it counts by the second."""
    return {**row, **{f"{name}_per_second": row[name] / seconds for name in ("calls", "failed", "tokens")}}


def _asked(
    request: Request, query_type: type[SpeedQuery]
) -> tuple[dict[str, Any], QuerySet[UsageRecord], datetime, datetime]:
    """What is asked for, its calls by the instants at which they ended, and the span."""
    query = query_type(data=request.query_params)
    query.is_valid(raise_exception=True)
    asked = query.validated_data
    since, until = span(request)
    columns = {"model": "served_name", "key": "key", "team": "team"}
    narrowed = {column: asked[field] for field, column in columns.items() if field in asked}
    return asked, UsageRecord.objects.filter(at__gte=since, at__lt=until, **narrowed).order_by(), since, until


class SpeedView(APIView):
    """By the instants at which calls ended."""

    @extend_schema(parameters=[SpeedQuery], responses=SpeedSerializer)
    def get(self, request: Request) -> Response:
        """Calls, tokens, and times until the first content, in at most 400 steps. Single calls are kept for
        SARDEENZ_USAGE_DAYS; before that nothing is known."""
        _, calls, since, until = _asked(request, SpeedQuery)
        step = samples.step_of(until - since, LIVE_SECONDS if until - since <= LIVE_SPAN else FINEST_SECONDS)
        begins = Func(
            Value(timedelta(seconds=step)),
            F("at"),
            Value(samples.EPOCH),
            function="date_bin",
            output_field=DateTimeField(),
        )
        found = calls.annotate(begins=begins).order_by("begins").values("begins").annotate(**_MEASURED)
        rows = [_rates(row, step) for row in found]
        return Response(
            {
                "step_seconds": step,
                "since": since,
                "until": until,
                "at": [row["begins"] for row in rows],
                "values": {name: [row[name] for row in rows] for name in FIELDS},
            }
        )


class FiguresView(APIView):
    """The same calls, by whom they came from or where they went."""

    @extend_schema(parameters=[FiguresQuery], responses=TrafficSerializer)
    def get(self, request: Request) -> Response:
        """Calls that ended in the span: of all together, of each deployment, key or team, and by how they ended."""
        asked, calls, since, until = _asked(request, FiguresQuery)
        seconds = (until - since).total_seconds()
        columns = BY[asked["by"]]
        grouped = calls.values(*columns).annotate(**_MEASURED, **_COUNTED).order_by("-calls")[:MOST_GROUPS]
        outcomes = calls.values("outcome").annotate(calls=Count("pk")).order_by("-calls", "outcome")
        answer = {
            "since": since,
            "until": until,
            "total": _rates(calls.aggregate(**_MEASURED, **_COUNTED), seconds),
            "groups": [_rates(row, seconds) | {"id": row[columns[0]], "name": row[columns[-1]]} for row in grouped],
            "outcomes": outcomes,
        }
        return Response(TrafficSerializer(answer).data)
