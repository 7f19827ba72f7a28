"""GET /api/usage/speed: how fast calls were answered over the last hour, day or month, and how long they waited."""

from datetime import timedelta
from typing import Any

from django.db.models import Aggregate, Count, DateTimeField, F, FloatField, Func, Q, Sum, Value
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.models import UsageRecord
from gpus import samples
from models_app.api.history import SpanQuery, span

FINEST_SECONDS = 60
FIELDS = (
    "calls_per_second",
    "failed_per_second",
    "tokens_per_second",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "queue_p95_seconds",
    "wake_p95_seconds",
)


class SpeedQuery(SpanQuery):
    """Of which calls, and of when."""

    model = serializers.CharField(max_length=200, help_text="a served name")


class SpeedSerializer(serializers.Serializer[Any]):
    """One value per step and field, aligned with `at`; a step without any call is absent, null is unknown."""

    model = serializers.CharField()
    step_seconds = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    at = serializers.ListField(child=serializers.DateTimeField())
    values = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


class _Percentile(Aggregate):
    """One value below which so much of them lies; null without any."""

    template = "percentile_cont(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


class SpeedView(APIView):
    """By the instants at which calls ended."""

    @extend_schema(parameters=[SpeedQuery], responses=SpeedSerializer)
    def get(self, request: Request) -> Response:
        """Calls, tokens, and times until the first content, in at most 400 steps. Single calls are kept for
        SARDEENZ_USAGE_DAYS; before that nothing is known."""
        query = SpeedQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        model = query.validated_data["model"]
        since, until = span(request)
        step = samples.step_of(until - since, FINEST_SECONDS)
        begins = Func(
            Value(timedelta(seconds=step)),
            F("at"),
            Value(samples.EPOCH),
            function="date_bin",
            output_field=DateTimeField(),
        )
        rows = list(
            UsageRecord.objects.filter(served_name=model, at__gte=since, at__lt=until)
            .annotate(begins=begins)
            .order_by("begins")
            .values("begins")
            .annotate(
                calls=Count("pk"),
                failed=Count("pk", filter=~Q(outcome__in=("ok", "cancelled"))),
                tokens=Sum("completion_tokens", default=0),
                ttft_p50_seconds=_Percentile("ttft_seconds", part=0.5),
                ttft_p95_seconds=_Percentile("ttft_seconds", part=0.95),
                queue_p95_seconds=_Percentile("queue_seconds", part=0.95),
                wake_p95_seconds=_Percentile("wake_seconds", part=0.95),
            )
        )
        for row in rows:
            for name in ("calls", "failed", "tokens"):
                row[f"{name}_per_second"] = row[name] / step
        return Response(
            {
                "model": model,
                "step_seconds": step,
                "since": since,
                "until": until,
                "at": [row["begins"] for row in rows],
                "values": {name: [row[name] for row in rows] for name in FIELDS},
            }
        )
