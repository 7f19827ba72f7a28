"""/api/usage/speed and /api/usage/figures: how fast calls of the last hour, day or month were answered, and how they
ended, step by step and group by group."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.api.quantiles import narrowed
from gateway.metering import spread_read
from gateway.metering.spread import Spread, add, counts, quantiles
from gateway.metering.spread_read import Sought
from gateway.models import ApiKey, Team
from gpus import samples
from models_app.api.history import SpanQuery, span
from models_app.api.serializers import NamedField

FINEST_SECONDS = 60
LIVE_SECONDS = 10
LIVE_SPAN = timedelta(minutes=15)
"""A span of at most so long is shown in finer steps: whoever asks for it watches."""
MOST_GROUPS = 100
BY = ("model", "key", "team")
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

    by = serializers.ChoiceField(BY, default="model")


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


_TAKEN = {
    f"{name}_p{part}_seconds": (name, part / 100)
    for name, part in (("ttft", 50), ("ttft", 95), ("gap", 50), ("gap", 95), ("queue", 95), ("wake", 95))
}
_MEASURES = ("outcome", "tokens", "ttft", "gap", "queue", "wake")


def _figures(spread: Spread, seconds: float) -> dict[str, Any]:
    """What some calls come to, counted and by the second."""
    counted = counts(spread)
    rates = {f"{name}_per_second": counted[name] / seconds for name in ("calls", "failed", "tokens")}
    return counted | rates | quantiles(spread, _TAKEN)


def _sought(request: Request, query_type: type[SpeedQuery], now: datetime) -> tuple[dict[str, Any], Sought]:
    """What is asked for, and its calls by the instants at which they ended."""
    query = query_type(data=request.query_params)
    query.is_valid(raise_exception=True)
    asked = query.validated_data
    since, until = span(request, now)
    return asked, Sought(spread_read.aligned(since, until, now), until, _MEASURES, narrowed=narrowed(asked))


class SpeedView(APIView):
    """By the instants at which calls ended."""

    @extend_schema(parameters=[SpeedQuery], responses=SpeedSerializer)
    def get(self, request: Request) -> Response:
        """Calls, tokens, and times until the first content, in at most 400 steps. Single calls are kept for
        SARDEENZ_USAGE_DAYS; before that nothing is known. Steps of more than an hour's span are at least five minutes
        long, and hours where the span began more than two days ago. Times are told to within 2 %."""
        now = timezone.now()
        _, sought = _sought(request, SpeedQuery, now)
        length = sought.until - sought.since
        least = LIVE_SECONDS if length <= LIVE_SPAN else FINEST_SECONDS
        step = samples.step_of(length, max(least, spread_read.finest(sought.since, sought.until, now)))
        found = spread_read.read(replace(sought, step_seconds=step), now)
        rows = {group[0]: _figures(spread, step) for group, spread in sorted(found.items())}
        rows = {begins: row for begins, row in rows.items() if row["calls"]}
        return Response(
            {
                "step_seconds": step,
                "since": sought.since,
                "until": sought.until,
                "at": list(rows),
                "values": {name: [row[name] for row in rows.values()] for name in FIELDS},
            }
        )


class FiguresView(APIView):
    """The same calls, by whom they came from or where they went."""

    @extend_schema(parameters=[FiguresQuery], responses=TrafficSerializer)
    def get(self, request: Request) -> Response:
        """Calls that ended in the span: of all together, of each deployment, key or team, and by how they ended.

        A span of more than an hour begins with a step of five minutes or an hour. Times are told to within 2 %.
        """
        now = timezone.now()
        asked, sought = _sought(request, FiguresQuery, now)
        seconds = (sought.until - sought.since).total_seconds()
        groups = spread_read.read(replace(sought, by=(asked["by"],)), now)
        total: Spread = {}
        for spread in groups.values():
            add(total, spread)
        busiest = sorted(groups.items(), key=lambda group: -group[1]["outcome"].total())[:MOST_GROUPS]
        names = _names(asked["by"], [found for (_, found), _ in busiest])
        outcomes = sorted(total.get("outcome", {}).items(), key=lambda one: (-one[1], one[0]))
        answer = {
            "since": sought.since,
            "until": sought.until,
            "total": _figures(total, seconds),
            "groups": [
                _figures(spread, seconds) | {"id": found, "name": names.get(found)} for (_, found), spread in busiest
            ],
            "outcomes": [{"outcome": outcome, "calls": number} for outcome, number in outcomes],
        }
        return Response(TrafficSerializer(answer).data)


def _names(by: str, ids: list[Any]) -> dict[Any, str]:
    """What groups are called; a model's id is its name."""
    if by == "model":
        return {served_name: served_name for served_name in ids}
    rows = ApiKey.objects if by == "key" else Team.objects
    return dict(rows.filter(pk__in=[found for found in ids if found is not None]).values_list("pk", "name"))
