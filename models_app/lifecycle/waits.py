"""One that may not wake or load yet: what becomes of it meanwhile, and what it says."""

import time
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app import decisions
from models_app.errors import GPUCordoned, MemoryHeld, NoCapacity
from models_app.lifecycle import queues, verbs
from models_app.lifecycle.observe import Sight
from models_app.lifecycle.transition import WORKER, note, set_goal
from models_app.memory import placement
from models_app.models import Replica, Transition
from models_app.spec import HeldMemory
from models_app.states import Goal, State

TELL_SECONDS = 1.0
ON_REQUEST = "gateway"
"""The actor of what calls that wait bring about."""
WAITS_FOR_TURN = "waits_for_turn"


def for_room(replica: Replica, error: NoCapacity) -> None:
    """Who is asked for waits for those who make room, else sleeps on; a restart is put off, and no failure."""
    if replica.reason == placement.CONSENTED:  # what it waits for is said already
        note(replica, restart_at=timezone.now() + verbs.NO_ROOM_PAUSE)
        return
    asked_for = replica.state == State.SLEEPING or replica.reason == placement.CLAIMED
    if asked_for and not isinstance(error, GPUCordoned) and placement.room_comes(replica):
        return
    later = timezone.now() + verbs.NO_ROOM_PAUSE
    claim = _claim(replica) if asked_for else None
    message = f"{error.message}{_who_stays(claim)}"
    if replica.state == State.STOPPED and replica.replaces is not None:
        abandon(replica, message)
    elif asked_for and replica.state == State.STOPPED and _was_wanted(replica, claim):
        changes: dict[str, Any] = {"message": f"It waits for room: {message}", "restart_at": later}
        set_goal(replica, Goal.READY, reason=error.code, actor=WORKER, **changes)
    elif asked_for and replica.state != State.FAILED:
        set_goal(replica, Goal.SLEEPING, reason=error.code, actor=WORKER, message=message)
    else:
        note(replica, reason=error.code, message=message, restart_at=later)


@transaction.atomic
def abandon(target: Replica, message: str) -> None:
    """A move's target that cannot come to be goes, and its source, which serves on, says why: both or neither.

    The source belongs to another GPU's worker, which may have written since it was read here.
    """
    source = Replica.objects.select_for_update(of=("self",)).filter(replacements=target).first()
    set_goal(target, Goal.STOPPED, reason="move_failed", actor="move", message=message, disposable=True)
    if source is not None:
        note(source, message=f"the move failed: {message}")


def _claim(replica: Replica) -> Transition | None:
    """When and for whom it last claimed its place."""
    return replica.transitions.filter(reason=placement.CLAIMED).first()


def _was_wanted(replica: Replica, claim: Transition | None) -> bool:
    """Whether it is to be ready although no call asks for it: an operator wants it, or it never was."""
    return claim is not None and (claim.actor != ON_REQUEST or replica.ready_at is None)


def _who_stays(claim: Transition | None) -> str:
    """Those who were to make room and did not go after all, with what they say about it."""
    if claim is None or claim.fields.get("verdict") != "evict":
        return ""
    stayed = Replica.objects.filter(pk__in=claim.fields["concerns"], goal=Goal.READY).select_related("deployment")
    names = [f"`{row.deployment.name}` did not go" + (f": {row.message}" if row.message else "") for row in stayed]
    return "".join(f"; {name}" for name in names)


def for_memory(sight: Sight, shortage: MemoryHeld) -> None:
    """It waits and says for what; that it waits is what makes its neighbours give memory back."""
    replica, told_at, now = sight.replica, sight.remembered.told_at, time.monotonic()
    if replica.reason == shortage.code and now - told_at.get(sight.marker, -TELL_SECONDS) < TELL_SECONDS:
        return
    told_at[sight.marker] = now
    waits_for: HeldMemory = shortage.fields  # type: ignore[assignment]
    changes: dict[str, Any] = {"message": shortage.message, "profile": replica.profile | {"waits_for": waits_for}}
    if replica.reason != shortage.code:
        set_goal(replica, Goal(replica.goal), reason=shortage.code, actor=WORKER, fields=shortage.fields, **changes)
    elif replica.message != shortage.message:
        note(replica, **changes)
    queues.poke_node(replica.gpu.node.name)


def for_other_loads(sight: Sight) -> None:
    """It says whom it waits for before it may load."""
    replica, hold = sight.replica, sight.hold
    if hold is not None and (replica.reason, replica.message) != (WAITS_FOR_TURN, hold.message):
        note(replica, reason=WAITS_FOR_TURN, message=hold.message)
        kind, name = decisions.Kind.WAIT, replica.deployment.name
        words = f"{replica}: {hold.message}"
        decisions.keep(decisions.Decided(kind, WAITS_FOR_TURN, words, name, WORKER, replica.pk))
