"""One that may not wake or load yet: what becomes of it meanwhile, and what it says."""

import time
from typing import Any

from django.utils import timezone

from models_app.errors import MemoryHeld, NoCapacity
from models_app.lifecycle import queues, verbs
from models_app.lifecycle.observe import Sight
from models_app.lifecycle.transition import WORKER, note, set_goal
from models_app.memory import placement
from models_app.models import Replica
from models_app.spec import HeldMemory
from models_app.states import Goal, State

TELL_SECONDS = 1.0
WAITS_FOR_TURN = "waits_for_turn"


def for_room(replica: Replica, error: NoCapacity) -> None:
    """Who is asked for waits for those who make room, else sleeps on; a restart is put off, and no failure."""
    asked_for = replica.state == State.SLEEPING or replica.reason == placement.CLAIMED
    if asked_for and placement.room_comes(replica):
        return
    if asked_for and replica.state != State.FAILED:
        set_goal(replica, Goal.SLEEPING, reason=error.code, actor=WORKER, message=error.message)
    else:
        later = timezone.now() + verbs.NO_ROOM_PAUSE
        note(replica, reason=error.code, message=error.message, restart_at=later)


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
