"""/api/models, /api/runtimes, /api/replicas, /api/transitions and /api/snapshot."""

from typing import Any

from django.db import models
from django.db.models import ProtectedError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from models_app import rows, snapshot
from models_app.api.refusals import KeepsRefusals
from models_app.api.serializers import (
    LaunchSerializer,
    ModelSerializer,
    ReplicaRowSerializer,
    RuntimeSerializer,
    SnapshotSerializer,
    TransitionRowSerializer,
)
from models_app.api.verb_serializers import (
    LogQuerySerializer,
    LogSerializer,
    MoveSerializer,
    SleepSerializer,
    StartSerializer,
    UntilSerializer,
)
from models_app.catalogue import sources
from models_app.engines import logs
from models_app.errors import InUse
from models_app.lifecycle import launch, verbs
from models_app.models import EngineRuntime, Model, Replica, Transition
from models_app.policy import consent
from models_app.policy.windows import by_hand
from sardeenz.errors import InvalidSpec


class CatalogueViewSet(viewsets.ModelViewSet[Any]):
    """Rows that deployments point at: they can be changed, and removed once nobody uses them."""

    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def perform_destroy(self, instance: models.Model) -> None:
        """Refuse while a deployment uses it."""
        try:
            instance.delete()
        except ProtectedError as error:
            users = ", ".join(sorted(map(str, error.protected_objects)))
            raise InUse(f"{instance} is used by {users}; delete that first") from error


class ModelViewSet(CatalogueViewSet):
    """Weights at a pinned revision, and what their files tell."""

    queryset = Model.objects.all()
    serializer_class = ModelSerializer

    @extend_schema(responses={200: {"type": "array", "items": {"type": "string"}}}, filters=False)
    @action(detail=False, pagination_class=None)
    def folders(self, request: Request) -> Response:
        """Folders of the models directory that hold a model; each can be a model's source."""
        return Response(sources.folders())


class RuntimeViewSet(CatalogueViewSet):
    """Which executable and environment run an engine."""

    queryset = EngineRuntime.objects.all()
    serializer_class = RuntimeSerializer


class ReplicaViewSet(KeepsRefusals):
    """Placed copies. Verbs answer 202 with the row; the change shows in later rows."""

    queryset = Replica.objects.order_by("id")
    serializer_class = ReplicaRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(responses=ReplicaRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every replica; `?deployment=<id>` for those of one deployment."""
        found = rows.replicas()
        if (deployment := _number(request, "deployment")) is not None:
            found = found.filter(deployment=deployment)
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response([rows.replica_row(replica) for replica in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """The answer is one replica as it is now."""
        return Response(self._row())

    def _row(self) -> rows.ReplicaRow:
        """As it is after whatever was just done."""
        self.queryset = rows.replicas()
        return rows.replica_row(self.get_object())

    def _accepted(self) -> Response:
        return Response(self._row(), status=202)

    @extend_schema(request=StartSerializer, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """The replica heads for ready: a stopped or failed replica is started, a sleeping one is woken."""
        by_hand.start(self.get_object(), actor=actor(request), **told(request, StartSerializer))
        return self._accepted()

    @extend_schema(request=UntilSerializer, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Drain, then end the engine."""
        by_hand.stop(self.get_object(), actor=actor(request), **told(request, UntilSerializer))
        return self._accepted()

    @extend_schema(request=None, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, pk: str) -> Response:
        """Stop, then start with the deployment's present settings."""
        verbs.restart(self.get_object(), actor=actor(request))
        return self._accepted()

    @extend_schema(request=SleepSerializer, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def sleep(self, request: Request, pk: str) -> Response:
        """Drain, then free the GPU's memory."""
        by_hand.sleep(self.get_object(), actor=actor(request), **told(request, SleepSerializer))
        return self._accepted()

    @extend_schema(request=StartSerializer, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def wake(self, request: Request, pk: str) -> Response:
        """Head for ready from sleep."""
        by_hand.wake(self.get_object(), actor=actor(request), **told(request, StartSerializer))
        return self._accepted()

    @extend_schema(request=None, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Undo what is under way."""
        verbs.cancel(self.get_object(), actor=actor(request))
        return self._accepted()

    @extend_schema(request=MoveSerializer, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def move(self, request: Request, pk: str) -> Response:
        """Start a copy on another GPU, then let go of this one. Answers with the copy."""
        given = MoveSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        target = consent.move(self.get_object(), actor=actor(request), **given.validated_data)
        return Response(rows.replica_row(target), status=202)

    @extend_schema(responses=LaunchSerializer)
    @action(detail=True)
    def launch(self, request: Request, pk: str) -> Response:
        """The command that starts its engine, and the variables that Sardeenz sets; secrets are hidden."""
        self.queryset = Replica.objects.select_related("gpu__node")
        engine = launch.engine(self.get_object(), inherited={})
        return Response(rows.LaunchRow(argv=engine.argv, environment=rows.shown(engine.environment)))

    @extend_schema(parameters=[LogQuerySerializer], responses=LogSerializer)
    @action(detail=True)
    def logs(self, request: Request, pk: str) -> Response:
        """The end of the engine's log, of the latest start unless told."""
        given = LogQuerySerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        replica = self.get_object()
        generation = given.validated_data.get("generation", replica.generation)
        log = logs.path(replica.pk, generation, replica.deployment_name)
        lines = logs.tail(log)[-given.validated_data["lines"] :]
        return Response({"replica": replica.pk, "generation": generation, "lines": lines})


class TransitionViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Transition]):
    """Transitions tell what happened to replicas, when, why and by whom; the newest come first."""

    queryset = Transition.objects.all()
    serializer_class = TransitionRowSerializer

    @extend_schema(
        parameters=[OpenApiParameter("replica", int), OpenApiParameter("deployment", str, description="its name")]
    )
    def list(self, request: Request) -> Response:
        """Every transition; `?replica=<id>` or `?deployment=<name>` for fewer."""
        found = self.get_queryset()
        if (replica := _number(request, "replica")) is not None:
            found = found.filter(replica=replica)
        if name := request.query_params.get("deployment"):
            found = found.filter(deployment_name=name)
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response([rows.transition_row(transition) for transition in page])


class SnapshotView(APIView):
    """Everything a page begins with; /ws/lifecycle sends the same, and then changes."""

    @extend_schema(responses=SnapshotSerializer)
    def get(self, request: Request) -> Response:
        """Nodes, GPUs, deployments and replicas."""
        return Response(snapshot.take())


def actor(request: Request) -> str:
    """Who acts, as history shows it: a user's name or `key:<prefix>`."""
    return request.user.get_username()


def told(request: Request, takes: type[Serializer[Any]]) -> dict[str, Any]:
    """The fields that a verb takes beside what it acts on."""
    given = takes(data=request.data)
    given.is_valid(raise_exception=True)
    fields: dict[str, Any] = given.validated_data
    return fields


def _number(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InvalidSpec(f"{name}: give a number", field=name)
    return int(value)
