"""An operator's word against what windows say: it holds until their next edge, or until a time of the operator's own.

Where no window governs what is changed there is nothing to override, and none is made.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app import snapshot
from models_app.in_force import BY_HAND, Governed
from models_app.lifecycle import queues, verbs
from models_app.models import Deployment, Override, Replica, Transition, Window, counted
from models_app.policy.windows import calendar, reading
from models_app.policy.windows.sentences import value
from sardeenz.errors import InvalidSpec
from sardeenz.labels import label

REASON, ENDED = "override", "override_ended"
WITHOUT_EDGE = timedelta(days=1)
"""So long an override holds where its window never closes."""


@transaction.atomic
def by_verb(
    deployment_id: int, level: str, *, actor: str, replica: Replica | None = None, until: datetime | None = None
) -> None:
    """After a verb that changes what a window says of the level: what the operator did stays.

    A verb on one of several replicas says nothing of the others, so no level is brought about while that holds.
    """
    deployment = verbs.lock_deployment(deployment_id)
    if "level" not in deployment.governed.get("fields", {}):
        return
    if replica is not None and deployment.placed.filter(counted()).count() > 1:
        level = BY_HAND
    make(deployment, {"level": level}, actor=actor, until=until)


def governed(deployment: Deployment, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of these values that windows or overrides decide now."""
    return {name: given for name, given in values.items() if name in deployment.governed.get("fields", {})}


@transaction.atomic
def make(deployment: Deployment, values: Mapping[str, Any], *, actor: str, until: datetime | None = None) -> Override:
    """Let these values act in place of what windows say. Raises InvalidSpec for a time that is past."""
    now = timezone.now()
    if until is not None and until <= now:
        raise InvalidSpec("name a time that is yet to come, or none for the window's next edge", field="until")
    holds_until = until or next_edge(deployment.governed, values, now)
    _give_way(deployment, values)
    made = Override.objects.create(deployment=deployment, values={**values}, until=holds_until, actor=actor)
    words = "; ".join(f"{label(name)}: {value(name, given)}" for name, given in values.items())
    _tell(deployment, REASON, f"{words}, until {holds_until:%Y-%m-%d %H:%M:%S} UTC", values, actor)
    return made


def _give_way(deployment: Deployment, values: Mapping[str, Any]) -> None:
    """Earlier overrides no longer say what the new one says."""
    for earlier in Override.objects.select_for_update().filter(deployment=deployment):
        rest = {name: given for name, given in earlier.values.items() if name not in values}
        if not rest:
            earlier.delete()
        elif rest != earlier.values:
            earlier.values = rest
            earlier.save(update_fields=["values"])


@transaction.atomic
def end(override: Override, *, actor: str) -> None:
    """Windows decide again at once."""
    deployment = override.deployment
    names = ", ".join(label(name) for name in override.values)
    override.delete()
    _tell(deployment, ENDED, f"windows decide again: {names}", {}, actor)


def next_edge(now_governed: Governed, names: Mapping[str, Any], now: datetime) -> datetime:
    """When the windows that govern these settings next open or close."""
    sources = [source for name, source in now_governed.get("fields", {}).items() if name in names]
    windows = Window.objects.in_bulk([source["id"] for source in sources if source["by"] == "window"])
    standing = [calendar.standing(reading.recurrence(window), now) for window in windows.values()]
    held = [source["id"] for source in sources if source["by"] == "override"]
    edges = [one.edge for one in standing if one.edge is not None]
    edges += Override.objects.filter(pk__in=held, until__gt=now).values_list("until", flat=True)
    return min(edges, default=now + WITHOUT_EDGE)


def _tell(deployment: Deployment, reason: str, words: str, values: Mapping[str, Any], actor: str) -> None:
    Transition.objects.create(
        deployment_name=deployment.name,
        generation=0,
        reason=reason,
        message=words,
        fields={"values": {**values}},
        actor=actor,
    )
    snapshot.publish_deployment(deployment.pk, deployment.seq)
    transaction.on_commit(queues.poke_policies)
