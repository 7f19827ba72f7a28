"""What can be done, written as data: `{"verb": "move", "replica": 7, "gpu": "1"}`. Plans are made of it.

Each verb takes the fields that its own address takes, and is done by the same functions. Several are done together, or
none of them: `{"verb": "all", "actions": [...]}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rest_framework import serializers

from models_app.api import intent
from models_app.api.intent import IntentSerializer
from models_app.api.serializers import NamedField
from models_app.api.verb_serializers import (
    DeploySerializer,
    MoveSerializer,
    RollOutSerializer,
    SleepSerializer,
    StartSerializer,
    UntilSerializer,
)
from models_app.lifecycle import fleet, verbs
from models_app.models import Deployment, Replica
from models_app.policy import consent
from models_app.policy.plans.what_if import Action
from models_app.policy.windows import by_hand

Taken = dict[str, Any]


class Nothing(serializers.Serializer[Any]):
    """A verb that needs no field."""


class ActionSerializer(serializers.Serializer[Any]):
    """A verb and what it acts on, beside the fields that the verb itself takes."""

    verb = serializers.CharField(max_length=32, help_text="deploy, edit, start, stop, sleep, wake, move, delete ...")
    deployment = NamedField(queryset=Deployment.objects.all(), required=False)
    replica = serializers.PrimaryKeyRelatedField(
        queryset=Replica.objects.select_related("deployment", "gpu"), required=False
    )

    def validate(self, attrs: Taken) -> Taken:
        """The verb has to be one of those that act on what was named."""
        kinds = {"deployment": ON_DEPLOYMENT, "replica": ON_REPLICA}
        named = [kind for kind in kinds if kind in attrs]
        if attrs["verb"] in (CREATE, ALL) and not named:
            return attrs
        if len(named) != 1:
            raise serializers.ValidationError({"deployment": "name one deployment, or one replica by its id"})
        known = kinds[named[0]]
        if attrs["verb"] not in known:
            raise serializers.ValidationError({"verb": f"a {named[0]} takes one of {', '.join(sorted(known))}"})
        return attrs


def _create(_: None, given: Mapping[str, Any], actor: str) -> None:
    draft = IntentSerializer(data=given)
    draft.is_valid(raise_exception=True)
    intent.write(draft, actor=actor)


def _edit(deployment: Deployment, given: Mapping[str, Any], actor: str) -> None:
    verbs.refuse_deleting(verbs.lock_deployment(deployment.pk))
    draft = IntentSerializer(deployment, data=given, partial=True)
    draft.is_valid(raise_exception=True)
    intent.write(draft, actor=actor)


def _taking(takes: type[serializers.Serializer[Any]], verb: Callable[..., object]) -> Callable[..., object]:
    def act(subject: Any, given: Mapping[str, Any], actor: str) -> object:
        fields = takes(data=given)
        fields.is_valid(raise_exception=True)
        return verb(subject, actor=actor, **fields.validated_data)

    return act


CREATE, ALL = "create", "all"
MOST_ACTIONS = 100
ON_DEPLOYMENT: dict[str, Callable[..., object]] = {
    "edit": _edit,
    "deploy": _taking(DeploySerializer, by_hand.deploy),
    "start": _taking(StartSerializer, by_hand.start_all),
    "stop": _taking(UntilSerializer, by_hand.stop_all),
    "roll_out": _taking(RollOutSerializer, consent.roll_out),
    "sleep": _taking(SleepSerializer, by_hand.sleep_all),
    "wake": _taking(StartSerializer, by_hand.wake_all),
    "delete": _taking(Nothing, fleet.delete),
}
ON_REPLICA: dict[str, Callable[..., object]] = {
    "start": _taking(StartSerializer, by_hand.start),
    "stop": _taking(UntilSerializer, by_hand.stop),
    "restart": _taking(Nothing, verbs.restart),
    "sleep": _taking(SleepSerializer, by_hand.sleep),
    "wake": _taking(StartSerializer, by_hand.wake),
    "move": _taking(MoveSerializer, consent.move),
    "cancel": _taking(Nothing, verbs.cancel),
}


def prepare(given: Mapping[str, Any], actor: str) -> Action:
    """The action as something that can be done. Raises ValidationError when there is no such thing any more."""
    named = ActionSerializer(data=given)
    named.is_valid(raise_exception=True)
    told = named.validated_data
    fields = {name: value for name, value in given.items() if name not in ("verb", "deployment", "replica")}
    if "replica" in told:
        return lambda: ON_REPLICA[told["verb"]](told["replica"], fields, actor)
    if "deployment" in told:
        return lambda: ON_DEPLOYMENT[told["verb"]](told["deployment"], fields, actor)
    if told["verb"] == ALL:
        return _together(fields.get("actions"), actor)
    return lambda: _create(None, fields, actor)


def _together(given: Any, actor: str) -> Action:
    """Each of them in turn."""
    told = isinstance(given, list) and 0 < len(given) <= MOST_ACTIONS
    if not told or not all(isinstance(one, Mapping) and one.get("verb") != ALL for one in given):
        raise serializers.ValidationError({"actions": f"list 1 to {MOST_ACTIONS} actions"})
    prepared = [prepare(one, actor) for one in given]

    def act() -> None:
        for one in prepared:
            one()

    return act
