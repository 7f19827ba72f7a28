"""GET /api/history: what a GPU, a replica or a node did over the last hour, day or month."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gpus import samples
from models_app.node.history import FIELDS

LONGEST = samples.COARSE_KEPT


class HistoryQuery(serializers.Serializer[Any]):
    """Whose history, and of when."""

    subject = serializers.CharField(max_length=128, help_text="gpu:UUID, replica:ID or node:NAME")
    hours = serializers.FloatField(
        required=False, min_value=0.05, max_value=LONGEST.total_seconds() / 3600, help_text="how far back, 1 by default"
    )
    until = serializers.DateTimeField(required=False, help_text="where it ends, now by default")

    def validate_subject(self, subject: str) -> str:
        """Its kind is one of those that are kept."""
        kind, _, name = subject.partition(":")
        if kind not in FIELDS or not name:
            raise serializers.ValidationError(f"write it as {', '.join(f'{kind}:...' for kind in sorted(FIELDS))}")
        return subject


class HistorySerializer(serializers.Serializer[Any]):
    """One value per step and field, aligned with `at`; null is unknown, and a step without any reading is absent."""

    subject = serializers.CharField()
    step_seconds = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    at = serializers.ListField(child=serializers.DateTimeField())
    mean = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))
    greatest = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


class HistoryView(APIView):
    """What was read, in at most 400 steps."""

    @extend_schema(parameters=[HistoryQuery], responses=HistorySerializer)
    def get(self, request: Request) -> Response:
        """Means and greatest values by step: every ten seconds for a day, by the minute for a month."""
        query = HistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        now = timezone.now()
        until: datetime = query.validated_data.get("until") or now
        since = until - timedelta(hours=query.validated_data.get("hours", 1.0))
        subject = query.validated_data["subject"]
        found = samples.series(subject, FIELDS[subject.partition(":")[0]], since, until, now)
        return Response(
            {
                "subject": subject,
                "step_seconds": found.step_seconds,
                "since": since,
                "until": until,
                "at": found.at,
                "mean": found.mean,
                "greatest": found.greatest,
            }
        )
