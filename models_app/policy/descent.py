"""From one level of sleep to a deeper one, or to no engine: for sleepers that nobody asked for in a long time.

vLLM cannot go deeper while it sleeps, so a sleeper wakes for a moment, unrouted; one whose GPU has no room for that
keeps its level.
"""

from django.db import transaction

from gpus.models import GPU
from models_app.compatibility import unsafe
from models_app.lifecycle import verbs
from models_app.memory import host_rows, placement
from models_app.models import Replica
from models_app.states import Goal, State

DEEPENS = host_rows.DEEPENS


def has_room(row: Replica) -> bool:
    """Whether it can wake for the moment that a sleep at level 2 needs."""
    reservations = list(row.reservations.select_related("gpu"))
    free = placement.free_bytes(GPU.objects.filter(pk__in=[one.gpu_id for one in reservations]), besides=row)
    return all(one.awake_bytes - one.held_bytes <= free[one.gpu_id] for one in reservations)


def deepen(row: Replica, why: str, *, actor: str) -> bool:
    """Have a sleeper at level 1 sleep on at level 2; whether its GPU has the room."""
    with transaction.atomic():
        verbs.lock(row)
        placement.lock([row])
        if row.state != State.SLEEPING or row.sleep_level != 1 or unsafe(row, 2) or not has_room(row):
            return False
        verbs.set_goal(
            row, Goal.SLEEPING, reason=DEEPENS, actor=actor, message=f"{why}: it sleeps on at level 2", sleep_level=2
        )
        return True


def rest(row: Replica, why: str, *, actor: str) -> bool:
    """Have a sleeper's engine end; it loads at its next request. Whether it was asleep."""
    if row.state != State.SLEEPING:
        return False
    verbs.set_goal(
        row, Goal.SLEEPING, reason=host_rows.RESTS, actor=actor, message=f"{why}: it loads at its next request"
    )
    return True
