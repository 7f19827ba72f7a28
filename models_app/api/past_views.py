"""/api/decisions and /api/timeline: what happened and was decided, of everybody, and who was on which GPU when."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.api.serializers import RowSerializer
from models_app.policy import audit, why_words
from models_app.policy.audit import Asked
from models_app.policy.gpu_lanes import Timeline, between
from models_app.policy.why import Entry

LONGEST_HOURS = 31 * 24
FURTHEST = 20_000


class DecisionsQuerySerializer(serializers.Serializer[Any]):
    """What is looked for."""

    kind = serializers.CharField(required=False, help_text=f"some of {', '.join(audit.KINDS)}, with commas between")
    actor = serializers.CharField(required=False, max_length=200, help_text="a part of who acted")
    deployment = serializers.CharField(required=False, max_length=63, help_text="its name")
    gpu = serializers.CharField(required=False, max_length=128, help_text="its UUID")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=200)
    offset = serializers.IntegerField(default=0, min_value=0, max_value=FURTHEST)

    def validate_kind(self, text: str) -> tuple[str, ...]:
        """Each is one that there is."""
        kinds = tuple(word.strip() for word in text.split(","))
        if unknown := sorted(set(kinds) - set(audit.KINDS)):
            raise serializers.ValidationError(f"{', '.join(unknown)} is none of {', '.join(audit.KINDS)}")
        return kinds


class DecidedSerializer(serializers.Serializer[Any]):
    """One thing that happened or was decided, with what it was made of."""

    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(audit.KINDS)
    code = serializers.CharField()
    sentence = serializers.CharField()
    actor = serializers.CharField()
    by = serializers.SerializerMethodField(help_text="the actor in words")
    deployment_name = serializers.CharField()
    replica = serializers.IntegerField(source="replica_id", allow_null=True)
    times = serializers.IntegerField(help_text="how often the same was decided within a minute of the time before")
    inputs = serializers.DictField()

    def get_by(self, entry: Entry) -> str:
        """A person or a key by name, a rule, a window or an override in words."""
        return why_words.who(entry.actor)


class DecisionsSerializer(serializers.Serializer[Any]):
    """One page, the newest first."""

    count = serializers.IntegerField()
    results = DecidedSerializer(many=True)


class DecisionsView(APIView):
    """The audit: who or what did or decided what, and from which inputs."""

    @extend_schema(parameters=[DecisionsQuerySerializer], responses=DecisionsSerializer)
    def get(self, request: Request) -> Response:
        """History and decisions of everybody, kept for SARDEENZ_HISTORY_DAYS; limits of KV memory for a day."""
        query = DecisionsQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = dict(query.validated_data)
        offset, limit = asked.pop("offset"), asked.pop("limit")
        kinds = asked.pop("kind", audit.KINDS)
        count, found = audit.entries(Asked(kinds=kinds, **asked), offset, limit)
        return Response(DecisionsSerializer({"count": count, "results": found}).data)


class TimelineQuerySerializer(serializers.Serializer[Any]):
    """Of when."""

    hours = serializers.FloatField(default=24.0, min_value=0.05, max_value=LONGEST_HOURS)
    until = serializers.DateTimeField(required=False, help_text="where it ends, now by default")


class TimelineSerializer(RowSerializer):
    """Who was on which GPU when."""

    row = Timeline


class TimelineView(APIView):
    """Which model held which GPU when, and each eviction with its cost."""

    @extend_schema(parameters=[TimelineQuerySerializer], responses=TimelineSerializer)
    def get(self, request: Request) -> Response:
        """Lanes for each GPU, and who gave its place to whom, the newest first."""
        query = TimelineQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        until = query.validated_data.get("until") or timezone.now()
        return Response(between(until - timedelta(hours=query.validated_data["hours"]), until))
