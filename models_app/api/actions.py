"""What can be done, written as data: `{"verb": "move", "replica": 7, "gpu": "1"}`. Plans are made of it.

Each verb takes the fields that its own address takes, and is done by the same functions. Several are done together, or
none of them: `{"verb": "all", "actions": [...]}`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone
from rest_framework import serializers

from models_app.api import intent
from models_app.api.intent import IntentSerializer
from models_app.api.machine.cordon_views import ON_MACHINE, MachineSerializer
from models_app.api.serializers import NamedField
from models_app.api.verb_serializers import (
    DeploySerializer,
    MoveSerializer,
    RollOutSerializer,
    SleepSerializer,
    StartSerializer,
    UntilSerializer,
)
from models_app.api.window_serializers import WindowSerializer
from models_app.errors import PlanOutdated
from models_app.lifecycle import fleet, queues, verbs
from models_app.models import Deployment, Replica, Window
from models_app.policy import consent
from models_app.policy.plans.book import Later
from models_app.policy.plans.what_if import Action
from models_app.policy.windows import ahead, by_hand, reading

Taken = dict[str, Any]


class Nothing(serializers.Serializer[Any]):
    """A verb that needs no field."""


class ActionSerializer(serializers.Serializer[Any]):
    """A verb and what it acts on, beside the fields that the verb itself takes."""

    verb = serializers.CharField(max_length=32, help_text="deploy, edit, start, stop, sleep, wake, move, drain ...")
    deployment = NamedField(queryset=Deployment.objects.all(), required=False)
    replica = serializers.PrimaryKeyRelatedField(
        queryset=Replica.objects.select_related("deployment", "gpu"), required=False
    )
    window = NamedField(queryset=Window.objects.prefetch_related("states"), required=False)
    change = serializers.DictField(required=False, help_text="of a window: fields as /api/windows takes them")

    def validate(self, attrs: Taken) -> Taken:
        """The verb has to be one of those that act on what was named."""
        kinds: dict[str, Iterable[str]] = {"deployment": ON_DEPLOYMENT, "replica": ON_REPLICA, "window": ON_WINDOW}
        named = [kind for kind in kinds if kind in attrs]
        if attrs["verb"] in (CREATE, ALL, ADD_WINDOW, *ON_MACHINE) and not named:
            return attrs
        if len(named) != 1:
            raise serializers.ValidationError(
                {"deployment": "name one deployment, one window, or one replica by its id"}
            )
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


CREATE, ALL, ADD_WINDOW = "create", "all", "add_window"
ON_WINDOW = ("edit", "delete")
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


def prepare(given: Mapping[str, Any], actor: str) -> Action | Later:
    """The action as something that can be done. Raises ValidationError when there is no such thing any more."""
    named = ActionSerializer(data=given)
    named.is_valid(raise_exception=True)
    told = named.validated_data
    fields = {name: value for name, value in given.items() if name not in ("verb", "deployment", "replica")}
    if "replica" in told:
        return lambda: ON_REPLICA[told["verb"]](told["replica"], fields, actor)
    if "window" in told or told["verb"] == ADD_WINDOW:
        return of_window(told.get("window"), None if told["verb"] == "delete" else told.get("change", {}), actor)
    if "deployment" in told:
        return lambda: ON_DEPLOYMENT[told["verb"]](told["deployment"], fields, actor)
    if told["verb"] in ON_MACHINE:
        machine = MachineSerializer(data=fields)
        machine.is_valid(raise_exception=True)
        return lambda: ON_MACHINE[told["verb"]](machine.validated_data, actor)
    if told["verb"] == ALL:
        return _together(fields.get("actions"), actor)
    return lambda: _create(None, fields, actor)


def _together(given: Any, actor: str) -> Action:
    """Each of them in turn."""
    told = isinstance(given, list) and 0 < len(given) <= MOST_ACTIONS
    if not told or not all(isinstance(one, Mapping) and one.get("verb") != ALL for one in given):
        raise serializers.ValidationError({"actions": f"list 1 to {MOST_ACTIONS} actions"})
    prepared: list[Action] = []
    for one in given:
        if isinstance(action := prepare(one, actor), Later):
            raise serializers.ValidationError({"actions": "a change of a window is a plan of its own"})
        prepared.append(action)

    def act() -> None:
        for each in prepared:
            each()

    return act


def of_window(window: Window | None, change: Mapping[str, Any] | None, actor: str) -> Later:
    """A window that is new, is changed, or goes where there is no change; felt while it is open, else when it opens."""
    now = timezone.now()

    def write() -> None:
        if window is None:
            _draft(None, change or {}).save(author=actor)
        elif change is None:
            Window.objects.filter(pk=window.pk).delete()
        else:
            _draft(window, change).save()
        transaction.on_commit(queues.poke_policies)

    def do() -> None:
        if window is not None:
            same = Window.objects.select_for_update().filter(pk=window.pk, seq=window.seq)
            if not same.exists():
                gone = "somebody changed this window just now"
                raise PlanOutdated(gone, moved=[gone])
        write()

    if window is not None and change is None:
        schedule = reading.schedule(window)
    else:
        schedule = _draft(window, change or {}).schedule
    depends_on = {f"window {window.name}": f"its version {window.seq}"} if window is not None else {}
    return Later(lambda: ahead.foresee(ahead.when(schedule, now), write), do, depends_on)


def _draft(window: Window | None, change: Mapping[str, Any]) -> WindowSerializer:
    """As it would be saved. Raises ValidationError, or WindowsOverlap where another window contradicts it."""
    fresh = Window.objects.prefetch_related("states").get(pk=window.pk) if window is not None else None
    draft = WindowSerializer(fresh, data=change, partial=fresh is not None)
    draft.is_valid(raise_exception=True)
    draft.refuse_conflicts(timezone.now())
    return draft
