"""/api/windows, /api/overrides and /api/policies: what follows the clock, and what operators said against it."""

from typing import Any, cast

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.api import actions
from models_app.api.views import actor
from models_app.api.window_serializers import (
    AheadRowSerializer,
    InForceRowSerializer,
    OverrideRowSerializer,
    OverrideSerializer,
    PreviewRowSerializer,
    QuestionSerializer,
    WeekRowSerializer,
    WeekSerializer,
    WindowRowSerializer,
    WindowSerializer,
)
from models_app.lifecycle import queues
from models_app.models import Override, Window
from models_app.policy.plans import book
from models_app.policy.windows import ahead, in_force, overrides, preview, week
from models_app.policy.windows.ahead import Ahead
from models_app.policy.windows.zones import zone


class WindowViewSet(viewsets.GenericViewSet[Window]):
    """Recurring times in which deployments have other settings than their own."""

    queryset = Window.objects.prefetch_related("states__deployment").order_by("name")
    serializer_class = WindowRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(responses=WindowRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every window with its next openings; `?name=` for the one of this name."""
        found = self.get_queryset()
        if name := request.query_params.get("name"):
            found = found.filter(name=name)
        now = timezone.now()
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response([preview.row(window, now, warn=False) for window in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """One window with its next openings, and what there is to say of whether it fits."""
        return Response(preview.row(self.get_object(), timezone.now()))

    @extend_schema(request=WindowSerializer, responses={201: WindowRowSerializer})
    @transaction.atomic
    def create(self, request: Request) -> Response:
        """Save a window. What cannot be read, or contradicts another, is refused; what cannot fit is saved and said."""
        given = WindowSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return self._saved(given, 201, author=actor(request))

    @extend_schema(request=WindowSerializer, responses=WindowRowSerializer)
    @transaction.atomic
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given; `states` replaces all that it asked before."""
        given = WindowSerializer(self.get_object(), data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return self._saved(given, 200)

    def _saved(self, given: WindowSerializer, status: int, **more: Any) -> Response:
        now = timezone.now()
        given.refuse_conflicts(now)
        window = given.save(**more)
        transaction.on_commit(queues.poke_policies)
        return Response(preview.row(window, now), status=status)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget it; what it governed is as without it at once."""
        self.get_object().delete()
        queues.poke_policies()
        return Response(status=204)

    @extend_schema(request=WindowSerializer, responses=PreviewRowSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """The next openings of a window that is not saved, and what there is to say of it."""
        return self._previewed(WindowSerializer(data=request.data))

    @extend_schema(operation_id="windows_preview_change", request=WindowSerializer, responses=PreviewRowSerializer)
    @action(detail=True, methods=["post"], url_path="preview")
    def preview_change(self, request: Request, pk: str) -> Response:
        """The same of a change to one that there is; what is not given is as it was."""
        return self._previewed(WindowSerializer(self.get_object(), data=request.data, partial=True))

    def _previewed(self, given: WindowSerializer) -> Response:
        given.is_valid(raise_exception=True)
        now = timezone.now()
        given.refuse_conflicts(now)
        return Response(preview.of_schedule(given.schedule, now))


class OverrideViewSet(viewsets.GenericViewSet[Override]):
    """What operators said against windows, and until when that holds."""

    queryset = Override.objects.select_related("deployment")
    serializer_class = OverrideRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(responses=OverrideRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """The overrides that hold now, not those that have ended."""
        page = self.paginate_queryset(self.get_queryset().filter(until__gt=timezone.now())) or []
        return self.get_paginated_response([in_force.override_row(one) for one in page])

    @extend_schema(request=OverrideSerializer, responses={201: OverrideRowSerializer})
    def create(self, request: Request) -> Response:
        """Say what acts in place of what windows say, until a time or until their next edge."""
        given = OverrideSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        told = given.validated_data
        values = given.values(told)
        made = overrides.make(told["deployment"], values, actor=actor(request), until=told.get("until"))
        return Response(in_force.override_row(made), status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """End it; windows decide again at once."""
        overrides.end(self.get_object(), actor=actor(request))
        return Response(status=204)


class InstantSerializer(serializers.Serializer[Any]):
    """Which instant is asked about."""

    at = serializers.DateTimeField(required=False, help_text="an instant; else now")


class InForceView(APIView):
    """What is in force now, or at another instant: no clock but that of the question is moved."""

    @extend_schema(parameters=[OpenApiParameter("at", str)], responses=InForceRowSerializer)
    def get(self, request: Request) -> Response:
        """Each deployment's governed settings, who decides them, and what changes next."""
        given = InstantSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        return Response(in_force.at(given.validated_data.get("at") or timezone.now()))


class WeekView(APIView):
    """A week of windows and overrides, ready to be drawn."""

    @extend_schema(
        parameters=[OpenApiParameter("zone", str), OpenApiParameter("day", str)], responses=WeekRowSerializer
    )
    def get(self, request: Request) -> Response:
        """From Monday to Sunday by the clock of `zone`, with `day` in it: else today."""
        given = WeekSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        name, now = given.validated_data["zone"], timezone.now()
        day = given.validated_data.get("day") or now.astimezone(zone(name)).date()
        return Response(week.of(day, name, now))


class WhatIfView(APIView):
    """What windows would do: at another instant, or after a change of one of them. Nothing is done.

    The answer to a change is a plan, which can be applied. Who may only look asks about an instant.
    """

    @extend_schema(parameters=[OpenApiParameter("at", str)], responses=AheadRowSerializer)
    def get(self, request: Request) -> Response:
        """What would act and what would move at an instant, else now, if the fleet stood as it does now."""
        given = InstantSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        return Response(ahead.at(given.validated_data.get("at") or timezone.now()))

    @extend_schema(request=QuestionSerializer, responses=AheadRowSerializer)
    def post(self, request: Request) -> Response:
        """The same of a window that is changed, or of one that is new."""
        given = QuestionSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        window: Window | None = asked.get("window")
        if window is None and "change" not in asked:
            return Response(ahead.at(asked.get("at") or timezone.now()))
        later = actions.of_window(window, asked.get("change"), actor(request))
        if "at" in asked:
            return Response(ahead.at(asked["at"], later.do))
        found = cast("Ahead", later.foresee())
        plan = book.keep(_wish(asked), found, actor=actor(request), depends_on=later.depends_on)
        return Response({**found.row, "plan": plan.pk})


def _wish(asked: dict[str, Any]) -> dict[str, Any]:
    """The question as an action that can be done."""
    if "window" not in asked:
        return {"verb": actions.ADD_WINDOW, "change": asked["change"]}
    verb = {"verb": "edit", "change": asked["change"]} if "change" in asked else {"verb": "delete"}
    return {**verb, "window": asked["window"].name}
