"""/api/plans: what an action would do, answered without doing it; and done if nothing has moved since."""

from typing import Any, TypedDict

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import actions
from models_app.api.actions import ActionSerializer
from models_app.api.serializers import RowSerializer
from models_app.api.views import actor
from models_app.errors import PlanOutdated
from models_app.models import Plan
from models_app.policy.plans import book
from models_app.policy.plans.book import Later
from models_app.policy.plans.outcome import Outcome
from models_app.policy.plans.what_if import Action


class PlanRow(TypedDict):
    """An action and what it would do."""

    id: int
    action: dict[str, Any]
    outcome: Outcome
    actor: str
    made_at: str
    expires_at: str
    applied_at: str | None
    applied_by: str


class PlanRowSerializer(RowSerializer):
    """A plan; `plan_row` makes the row."""

    row = PlanRow


class NewPlanSerializer(serializers.Serializer[Any]):
    """The body names the action; beside its verb it has the fields that the verb's own address takes."""

    action = ActionSerializer()


class PlanViewSet(viewsets.GenericViewSet[Plan]):
    """What would happen, asked before anybody commits to it."""

    queryset = Plan.objects.all()
    serializer_class = PlanRowSerializer
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(responses=PlanRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every plan of late; the newest come first."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([plan_row(plan) for plan in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """The answer is one plan as it was made."""
        return Response(plan_row(self.get_object()))

    @extend_schema(request=NewPlanSerializer, responses={201: PlanRowSerializer})
    def create(self, request: Request) -> Response:
        """Answer what an action would do: nothing is changed, no engine hears of it. It can be applied for an hour."""
        given = NewPlanSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wish = request.data["action"]
        plan = book.make(wish, actions.prepare(wish, actor(request)), actor=actor(request))
        return Response(plan_row(plan), status=201)

    @extend_schema(request=None, responses={202: PlanRowSerializer})
    @action(detail=True, methods=["post"])
    def apply(self, request: Request, pk: str) -> Response:
        """Do what the plan says, once, if it is still what would happen; `plan_outdated` says what moved if not."""

        def prepare(wish: dict[str, Any]) -> Action | Later:
            try:
                return actions.prepare(wish, actor(request))
            except serializers.ValidationError as error:
                raise PlanOutdated(
                    "what this plan acts on is gone", moved=["what this plan acts on is gone"]
                ) from error

        return Response(plan_row(book.apply(int(pk), prepare, actor=actor(request))), status=202)


def plan_row(plan: Plan) -> PlanRow:
    return {
        "id": plan.pk,
        "action": plan.action,
        "outcome": plan.outcome,
        "actor": plan.actor,
        "made_at": plan.made_at.isoformat(),
        "expires_at": plan.expires_at.isoformat(),
        "applied_at": plan.applied_at.isoformat() if plan.applied_at else None,
        "applied_by": plan.applied_by,
    }
