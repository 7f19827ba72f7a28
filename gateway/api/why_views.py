"""/api/why: why a deployment or a replica is where it is, and where a call's time went."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.api.usage_serializers import UsageSerializer
from gateway.errors import NothingKnown
from gateway.metering import call_why
from gateway.models import UsageRecord
from models_app.policy import why, why_words
from models_app.policy.why import Entry, Subject

KINDS = ("deployment", "replica", "call")


class WhyQuerySerializer(serializers.Serializer[Any]):
    """Of what the reasons are asked."""

    of = serializers.CharField(
        max_length=200, help_text="a deployment's name, a replica as name/7 or 7, or a call's x-request-id"
    )
    kind = serializers.ChoiceField(KINDS, required=False, help_text="which of these `of` is; else the first that is")
    limit = serializers.IntegerField(default=50, min_value=1, max_value=1000, help_text="entries at most")
    inputs = serializers.BooleanField(default=False, help_text="with everything that each decision was made of")


class WhyPartSerializer(serializers.Serializer[Any]):
    """One stretch of a call's time."""

    what = serializers.CharField(help_text="model, seat, asked, engine or end")
    seconds = serializers.FloatField()
    sentence = serializers.CharField()


class WhyEntrySerializer(serializers.Serializer[Any]):
    """One thing that happened or was decided."""

    at = serializers.DateTimeField()
    kind = serializers.CharField(help_text="history, placement, eviction, limit, wait or refusal")
    code = serializers.CharField()
    sentence = serializers.CharField()
    actor = serializers.CharField()
    by = serializers.CharField(help_text="the actor in words")
    deployment_name = serializers.CharField()
    replica = serializers.IntegerField(allow_null=True)
    times = serializers.IntegerField(help_text="how often the same was decided within a minute of the time before")
    inputs = serializers.DictField(allow_null=True, help_text="null unless asked for")


class WhySerializer(serializers.Serializer[Any]):
    """The answer in a sentence, then what it was made of, the newest first."""

    kind = serializers.ChoiceField(KINDS)
    name = serializers.CharField()
    sentence = serializers.CharField()
    parts = WhyPartSerializer(many=True)
    call = UsageSerializer(allow_null=True)
    entries = WhyEntrySerializer(many=True)


class WhyView(APIView):
    """Why a deployment or replica is as it is, or where the time of a call went."""

    @extend_schema(parameters=[WhyQuerySerializer], responses=WhySerializer)
    def get(self, request: Request) -> Response:
        """Why this deployment or replica is where it is, or where this call's time went; the newest entries first."""
        query = WhyQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        found = _subject(asked["of"], asked.get("kind"))
        answer = _of_call(found) if isinstance(found, UsageRecord) else _of_subject(found, asked["limit"])
        shown = [_entry(one, inputs=asked["inputs"]) for one in answer.pop("entries")[: asked["limit"]]]
        return Response(WhySerializer(answer | {"entries": shown}).data)


def _subject(of: str, kind: str | None) -> Subject | UsageRecord:
    """What is meant; replicas come before deployments, and those before calls. Raises NothingKnown."""
    number = of.rpartition("/")[2]
    if kind in (None, "replica") and number.isascii() and number.isdigit() and len(number) < 19:
        replica = why.replica(int(number))
        if replica is not None and of in (number, replica.name):
            return replica
    deployment = why.deployment(of) if kind in (None, "deployment") else None
    call = call_why.find(of) if kind in (None, "call") and deployment is None else None
    found = deployment or call
    if found is None:
        raise NothingKnown(_nothing(of, kind), of=of)
    return found


def _nothing(of: str, kind: str | None) -> str:
    ended = "a call can be asked about a few seconds after it has ended, by the x-request-id of its answer"
    if kind in (None, "call"):
        return f"nothing is known of a {' or '.join(KINDS) if kind is None else kind} `{of}`: {ended}"
    return f"nothing is known of a {kind} `{of}`"


def _of_call(record: UsageRecord) -> dict[str, Any]:
    told = call_why.explain(record)
    parts = [{"what": one.what, "seconds": one.seconds, "sentence": one.sentence} for one in told.parts]
    about = {"kind": "call", "name": record.request_id, "sentence": told.sentence}
    return about | {"parts": parts, "call": record, "entries": told.entries}


def _of_subject(subject: Subject, limit: int) -> dict[str, Any]:
    kind = "deployment" if subject.replica_id is None else "replica"
    about = {"kind": kind, "name": subject.name, "sentence": f"{why.now(subject)}."}
    return about | {"parts": [], "call": None, "entries": why.timeline(subject, limit)}


def _entry(one: Entry, *, inputs: bool) -> dict[str, Any]:
    return {
        "at": one.at,
        "kind": one.kind,
        "code": one.code,
        "sentence": one.sentence,
        "actor": one.actor,
        "by": why_words.who(one.actor),
        "deployment_name": one.deployment_name,
        "replica": one.replica_id,
        "times": one.times,
        "inputs": one.inputs if inputs else None,
    }
