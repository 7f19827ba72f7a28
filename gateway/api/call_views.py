"""/api/calls: the calls in flight at all gateways, asked of them at that moment, and the end of one."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema
from redis import RedisError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.errors import CallsUnavailable, CallUnknown
from gateway.in_flight import channel
from gateway.in_flight.messages import STATES, Answer, Question, RunningCall
from gateway.models import ApiKey, Team
from models_app.api.serializers import NamedField
from models_app.api.views import actor
from models_app.models import Deployment
from models_app.traffic import activity

MOST = 1000


class CallsQuerySerializer(serializers.Serializer[Any]):
    """Which of the calls in flight."""

    deployment = NamedField(queryset=Deployment.objects.all(), required=False, help_text="a deployment's id or name")
    key = serializers.IntegerField(required=False, min_value=1, help_text="a key's id")
    team = NamedField(queryset=Team.objects.all(), required=False, help_text="a team's id or name")
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MOST, help_text="calls at most")


class RunningCallSerializer(serializers.Serializer[Any]):
    """One call that has not ended."""

    request_id = serializers.CharField()
    asked_name = serializers.CharField(help_text="what the caller asked for: maybe an alias")
    deployment = serializers.IntegerField(allow_null=True, help_text="null until its route is known")
    deployment_name = serializers.CharField(allow_null=True)
    key = serializers.IntegerField()
    key_name = serializers.CharField(allow_null=True, help_text="null when the key was deleted")
    team = serializers.IntegerField(allow_null=True)
    team_name = serializers.CharField(allow_null=True)
    path = serializers.CharField()
    stream = serializers.BooleanField()
    state = serializers.ChoiceField(
        STATES,
        help_text="routing: its route is looked up; waking: it waits for a ready replica; queued: for a seat there; "
        "asked: an engine has it; streaming: its answer is on the way",
    )
    began_at = serializers.DateTimeField()
    since = serializers.DateTimeField(help_text="when the state began")
    pieces = serializers.IntegerField(help_text="pieces of content sent so far; most engines send a token in each")
    replica = serializers.IntegerField(allow_null=True)


class RunningCallsSerializer(serializers.Serializer[Any]):
    """What the gateways answered."""

    count = serializers.IntegerField(help_text="calls in flight, those beyond `limit` too")
    states = serializers.DictField(child=serializers.IntegerField(), help_text="how many are in which state")
    gateways = serializers.IntegerField(help_text="gateway processes that answered")
    silent = serializers.ListField(
        child=serializers.CharField(),
        help_text="gateway processes that run and gave no answer: their calls are missing",
    )
    calls = RunningCallSerializer(many=True)


class CancelledSerializer(serializers.Serializer[Any]):
    """What was ended."""

    request_id = serializers.CharField()
    cancelled = serializers.IntegerField(help_text="calls of this id: several where a client gave it to several")


class CallsView(APIView):
    """Nothing is kept of calls in flight for this: gateways are asked whenever somebody looks."""

    @extend_schema(parameters=[CallsQuerySerializer], responses=RunningCallsSerializer)
    def get(self, request: Request) -> Response:
        """The newest first."""
        query = CallsQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        rows = {name: asked[name].pk for name in ("deployment", "team") if name in asked}
        answers, silent = _ask(limit=asked["limit"], key=asked.get("key"), **rows)
        calls = sorted((call for each in answers for call in each.calls), key=lambda call: call.began_at, reverse=True)
        states = sum((Counter(each.states) for each in answers), Counter[str]())
        return Response(
            {
                "count": states.total(),
                "states": {state: states[state] for state in STATES},
                "gateways": len(answers),
                "silent": silent,
                "calls": RunningCallSerializer(_named(calls[: asked["limit"]]), many=True).data,
            }
        )


class CancelCallView(APIView):
    """The end of a call that its caller still waits for."""

    @extend_schema(
        request=None, parameters=[OpenApiParameter("request_id", str, "path")], responses=CancelledSerializer
    )
    def post(self, request: Request, request_id: str) -> Response:
        """End it, wherever it is. Its client gets the error `cancelled_by_operator`, and its engine stops."""
        answers, silent = _ask(cancel=request_id, actor=actor(request))
        cancelled = sum(each.cancelled for each in answers)
        if not cancelled and silent:
            raise CallsUnavailable(
                f"no gateway that answers has the call `{request_id}`, and {len(silent)} did not answer", silent=silent
            )
        if not cancelled:
            raise CallUnknown(f"no call of the request id `{request_id}` is in flight; it may have ended just now")
        return Response({"request_id": request_id, "cancelled": cancelled})


def _ask(**question: Any) -> tuple[list[Answer], list[str]]:
    """Every gateway's answer, and those that run and gave none. Raises CallsUnavailable."""
    try:
        answers = channel.ask(Question("", **question))
        known = {report.gateway_id for report in activity.read_reports()}
    except (RedisError, OSError) as error:
        raise CallsUnavailable("gateways are asked over Redis, which does not answer") from error
    return answers, sorted(known - {each.gateway_id for each in answers})


def _named(calls: Iterable[RunningCall]) -> list[dict[str, Any]]:
    """As they are shown; names are those of today."""
    rows = [msgspec.structs.asdict(call) for call in calls]
    key_names = dict(ApiKey.objects.filter(pk__in={row["key"] for row in rows}).values_list("pk", "name"))
    team_names = dict(Team.objects.filter(pk__in={row["team"] for row in rows} - {None}).values_list("pk", "name"))
    deployments = {row["deployment"] for row in rows} - {None}
    deployment_names = dict(Deployment.objects.filter(pk__in=deployments).values_list("pk", "name"))
    return [
        row
        | {
            "deployment_name": deployment_names.get(row["deployment"]),
            "key_name": key_names.get(row["key"]),
            "team_name": team_names.get(row["team"]),
            "began_at": datetime.fromtimestamp(row["began_at"], UTC),
            "since": datetime.fromtimestamp(row["since"], UTC),
        }
        for row in rows
    ]
