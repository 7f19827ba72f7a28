"""GET /api/history: what a GPU, a replica, a deployment or a node did over the last hour, day or month."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gpus import samples
from models_app.models import Replica, Transition
from models_app.node.history import FIELDS, RATIOS

LONGEST = samples.COARSE_KEPT
DEPLOYMENT = "deployment"
KINDS = sorted((*FIELDS, DEPLOYMENT))


class SpanQuery(serializers.Serializer[Any]):
    """Of when."""

    hours = serializers.FloatField(
        required=False, min_value=0.05, max_value=LONGEST.total_seconds() / 3600, help_text="how far back, 1 by default"
    )
    until = serializers.DateTimeField(required=False, help_text="where it ends, now by default")


class HistoryQuery(SpanQuery):
    """Whose history, and of when."""

    subject = serializers.CharField(max_length=128, help_text="gpu:UUID, replica:ID, deployment:NAME or node:NAME")

    def validate_subject(self, subject: str) -> str:
        """Its kind is one of those that are kept."""
        kind, _, name = subject.partition(":")
        if kind not in KINDS or not name:
            raise serializers.ValidationError(f"write it as {', '.join(f'{kind}:...' for kind in KINDS)}")
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


def span(request: Request, now: datetime | None = None) -> tuple[datetime, datetime]:
    """From when until when is asked about; it ends now where nothing else is said."""
    query = SpanQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    until: datetime = query.validated_data.get("until") or now or timezone.now()
    return until - timedelta(hours=query.validated_data.get("hours", 1.0)), until


class HistoryView(APIView):
    """What was read, in at most 400 steps."""

    @extend_schema(parameters=[HistoryQuery], responses=HistorySerializer)
    def get(self, request: Request) -> Response:
        """Means and greatest values by step: every ten seconds for a day, by the minute for a month.

        A deployment's are those of its replicas together, of those too that are gone: sums, of ratios the mean.
        """
        query = HistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        now = timezone.now()  # one clock for both, or the last day would begin before what is kept of it
        since, until = span(request, now)
        subject = query.validated_data["subject"]
        kind, _, name = subject.partition(":")
        if kind == DEPLOYMENT:
            replicas = [f"replica:{number}" for number in _replicas(name, since)]
            found = samples.series(replicas, FIELDS["replica"], since, until, now, averaged=RATIOS)
        else:
            found = samples.series(subject, FIELDS[kind], since, until, now)
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


def _replicas(deployment: str, since: datetime) -> list[int]:
    """Those there are, and those of which something was written since."""
    there = Replica.objects.filter(deployment__name=deployment).order_by().values_list("pk", flat=True)
    gone = Transition.objects.filter(deployment_name=deployment, at__gte=since, replica__isnull=False)
    return sorted(there.union(gone.order_by().values_list("replica", flat=True).distinct()))
