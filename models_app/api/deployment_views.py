"""/api/deployments: the intent, and the verbs over all replicas of one."""

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import rows
from models_app.api import intent
from models_app.api.history import SpanQuery, span
from models_app.api.intent import IntentSerializer
from models_app.api.refusals import KeepsRefusals
from models_app.api.serializers import DeploymentRowSerializer, LanesSerializer
from models_app.api.verb_serializers import (
    DeploySerializer,
    RollOutSerializer,
    SleepSerializer,
    StartSerializer,
    UntilSerializer,
)
from models_app.api.views import actor, told
from models_app.lifecycle import fleet, verbs
from models_app.models import Deployment
from models_app.policy import consent, lanes
from models_app.policy.windows import by_hand
from models_app.traffic import waiting


class DeploymentViewSet(KeepsRefusals):
    """The intent to serve a model. Verbs answer 202 with the row; the change shows in later rows."""

    queryset = Deployment.objects.order_by("name")
    serializer_class = DeploymentRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(responses=DeploymentRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every deployment; `?name=` for the one of this name."""
        found = rows.deployments()
        if name := request.query_params.get("name"):
            found = found.filter(name=name)
        page = self.paginate_queryset(found) or []
        waits = waiting.by_deployment()
        return self.get_paginated_response([rows.deployment_row(deployment, waits) for deployment in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """The answer is one deployment as it is now, with the calls that wait for this deployment."""
        return self._row()

    @extend_schema(request=IntentSerializer, responses={201: DeploymentRowSerializer})
    @transaction.atomic
    def create(self, request: Request) -> Response:
        """Write down the intent. Nothing is placed before `deploy`, here as a field or later as a verb, or `start`;
        when placing at once is refused, neither the deployment nor its new model is left behind."""
        given = IntentSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return self._written(given, 201)

    @extend_schema(request=IntentSerializer, responses=DeploymentRowSerializer)
    @transaction.atomic
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change the intent: another number of replicas at once, the rest at each replica's next start."""
        self.queryset = Deployment.objects.select_for_update(of=("self",)).select_related("model", "runtime")
        deployment = self.get_object()
        verbs.refuse_deleting(deployment)
        given = IntentSerializer(deployment, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return self._written(given, 200)

    @extend_schema(parameters=[SpanQuery], responses=LanesSerializer, filters=False)
    @action(detail=True, pagination_class=None)
    def lanes(self, request: Request, pk: str) -> Response:
        """How each of its replicas stood over time, those too that are gone, and what was edited."""
        since, until = span(request)
        return Response(lanes.of_deployment(self.get_object().name, since, until))

    def _written(self, given: IntentSerializer, status: int) -> Response:
        written = intent.write(given, actor=actor(self.request))
        return Response(rows.deployment_row(written, waiting.by_deployment()), status=status)

    @extend_schema(responses={202: DeploymentRowSerializer, 204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Stop every replica; the deployment goes with its last engine. 204 when it is gone already."""
        deployment = self.get_object()
        fleet.delete(deployment, actor=actor(request))
        gone = not Deployment.objects.filter(pk=pk).exists()
        return Response(status=204) if gone else self._row(202)

    def _row(self, status: int = 200) -> Response:
        self.queryset = rows.deployments()
        return Response(rows.deployment_row(self.get_object(), waiting.by_deployment()), status=status)

    @extend_schema(request=DeploySerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def deploy(self, request: Request, pk: str) -> Response:
        """Bring the deployment to its number of replicas and keep it there, on `gpu` if one is given.

        Stopped and failed replicas start. What finds no room waits for it, and the row's `message` says so; where a
        `gpu` is given it is refused, as is what could never fit. With `evict` others make room.
        """
        given = DeploySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        by_hand.deploy(self.get_object(), actor=actor(request), **given.validated_data)
        return self._acted()

    @extend_schema(request=StartSerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """As deploy, and replicas that sleep are woken."""
        by_hand.start_all(self.get_object(), actor=actor(request), **told(request, StartSerializer))
        return self._acted()

    @extend_schema(request=RollOutSerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def roll_out(self, request: Request, pk: str) -> Response:
        """Give running replicas the present settings, each by a copy beside it that replaces it once it serves.

        Where both do not fit it is refused; with `two_phase` the one makes room for the other, and calls are held.
        """
        consent.roll_out(self.get_object(), actor=actor(request), **told(request, RollOutSerializer))
        return self._acted()

    @extend_schema(request=UntilSerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop every replica and place none; the intent stays."""
        by_hand.stop_all(self.get_object(), actor=actor(request), **told(request, UntilSerializer))
        return self._acted()

    @extend_schema(request=SleepSerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def sleep(self, request: Request, pk: str) -> Response:
        """Put every ready replica to sleep."""
        by_hand.sleep_all(self.get_object(), actor=actor(request), **told(request, SleepSerializer))
        return self._acted()

    @extend_schema(request=StartSerializer, responses={202: DeploymentRowSerializer})
    @action(detail=True, methods=["post"])
    def wake(self, request: Request, pk: str) -> Response:
        """Wake every replica that sleeps."""
        by_hand.wake_all(self.get_object(), actor=actor(request), **told(request, StartSerializer))
        return self._acted()

    def _acted(self) -> Response:
        return self._row(202)
