"""Which verbs are worth asking for of a replica. A hint for people: `lifecycle` decides. Pure, on one row."""

from typing import Literal

from models_app.models import Replica
from models_app.states import Goal, State

Verb = Literal["start", "stop", "restart", "sleep", "wake", "move", "cancel"]


def verbs(replica: Replica) -> dict[Verb, str | None]:
    """For each verb, None when it is worth asking for, else why not."""
    state, goal = State(replica.state), Goal(replica.goal)
    moving = replica.replaces_id is not None or bool(replica.replacements.all())
    held_by_move = "it is one side of an unfinished move; cancel it first" if moving and not replica.down else None
    undoable = moving or state in (State.PENDING, State.STARTING, State.DRAINING, State.WAKING)
    return {
        "start": None if replica.down or goal is Goal.STOPPED else f"it is {state.value}",
        "stop": "it is stopped or on its way" if goal is Goal.STOPPED else None,
        "restart": held_by_move or ("it is stopped; start it" if state is State.STOPPED else None),
        "sleep": held_by_move or _why_not_sleep(replica, state, goal),
        "wake": None if goal is Goal.SLEEPING and state is not State.FAILED else f"it is {state.value}, not asleep",
        "move": held_by_move or _why_not_move(state, goal),
        "cancel": None if undoable else "nothing is under way",
    }


def _why_not_sleep(replica: Replica, state: State, goal: Goal) -> str | None:
    if not replica.sleep_enabled:
        return "it was started without sleep mode"
    if goal is Goal.SLEEPING:
        return "it sleeps or is on its way"
    if goal is Goal.STOPPED or state not in (State.READY, State.DRAINING, State.WAKING):
        return f"it is {state.value}; only a ready replica can sleep"
    return None


def _why_not_move(state: State, goal: Goal) -> str | None:
    if goal is Goal.STOPPED or state not in (State.READY, State.SLEEPING):
        return f"it is {state.value}; only a ready or sleeping replica can move"
    return None
