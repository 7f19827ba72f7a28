"""How a replica goes to sleep and wakes: drained, told, seen to have let go; its bytes reserved again, woken, compared.

Every step claims first and acts then. Whatever is lost in between is seen by the next look.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction as database

from models_app import compatibility
from models_app.engines.diagnose import OUT_OF_MEMORY, diagnose
from models_app.errors import EngineRefused, EngineTimeout, HostMemoryShort, MemoryHeld, NoCapacity
from models_app.lifecycle import ending, kv_limits, starting, waits
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.observe import Sight
from models_app.lifecycle.transition import (
    WORKER,
    begin_sleep,
    lock,
    note,
    set_goal,
    sleep_began,
    tell_pages,
    transition,
)
from models_app.memory import host_rows, placement, reclaim
from models_app.models import Replica
from models_app.spec import Profile
from models_app.states import Goal, State
from sardeenz import events

VERB_SECONDS = 10.0
AT_ONCE_SECONDS = 0.05
"""An engine that wakes so fast is asked whether it did before pages hear of it."""
LEVEL_2_UNSAFE = "level_2_unsafe"
GIVE_WAY_TIME = timedelta(seconds=10)
"""So long one that drained waits for other sleepers to give host RAM back."""
_STAYS_AWAKE = {
    "drain_timeout": "requests were still running when the drain's time was over; it stays awake",
    "sleep_timeout": "the engine did not fall asleep in time (SARDEENZ_SLEEP_SECONDS); it stays awake",
}

_teller = ThreadPoolExecutor(1, "wake")
"""A worker takes one step at a time, and so tells one engine at a time."""

logger = logging.getLogger(__name__)


def drain(sight: Sight, step: Step) -> bool:
    """Out of the route table; what runs may finish."""
    transition(sight.replica, State.DRAINING, reason=step.reason, actor=WORKER)
    return True


def sleep(sight: Sight, step: Step) -> bool:
    """Send the drained engine to sleep. The prefix cache goes with it; a slow engine goes on after we hang up.

    An engine that refuses to sleep stays awake and says why. One that level 2 is known to break ends instead.
    """
    replica = sight.replica
    if not _admitted(replica, sight.around.now):
        return False
    problem = compatibility.unsafe(replica, 2) if replica.sleep_level == 2 else None
    if problem is not None:
        message = f"its engine ends instead of sleeping at level 2: {problem.words}; it loads at its next request"
        transition(replica, State.STOPPING, reason=LEVEL_2_UNSAFE, actor=WORKER, message=message)
        return ending.terminate(sight, step)
    if replica.sleep_level != 1:  # at level 1 it counts since it was admitted
        begin_sleep(replica)
    try:
        sight.engine.sleep(replica.sleep_level, mode="wait", timeout_seconds=VERB_SECONDS)
    except EngineTimeout:
        logger.info("sleep goes on: replica=%s", replica.pk)
    except EngineRefused as error:
        _give_up(replica, f"the engine refused to sleep: {error.message}")
    return True


def _admitted(replica: Replica, now: datetime) -> bool:
    """Whether the host has the RAM for it; it waits a little for those who give way, and goes to level 2 then."""
    if replica.sleep_level != 1 or replica.state != State.DRAINING or sleep_began(replica):
        return True
    try:
        with database.atomic():  # from now on it counts: two that are admitted at once would both find room
            lock(replica)
            placement.check_host_memory(replica, level=1, begun=True)
            begin_sleep(replica)
    except HostMemoryShort as short:
        if replica.rehearses:
            _give_up(replica, short.message)
            return False
        if now - replica.state_at < GIVE_WAY_TIME:
            return False
        message = f"it sleeps at level 2: {short.message}"
        changes: dict[str, Any] = {"message": message, "fields": short.fields, "sleep_level": 2}
        set_goal(replica, Goal.SLEEPING, reason=short.code, actor=WORKER, **changes)
    return True


def asleep(sight: Sight, step: Step) -> bool:
    """It counts with what it is seen to hold, and how long it took is kept."""
    with database.atomic():
        placement.hold_asleep(sight.replica, sight.own_bytes)
        profile = _with_sleep(sight.replica, sight.around.now)
        transition(sight.replica, State.SLEEPING, reason=step.reason, actor=WORKER, profile=profile)
    if sight.replica.rehearses and sight.replica.goal == Goal.SLEEPING:
        _end_rehearsal(sight.replica)
    return True


def _end_rehearsal(replica: Replica) -> None:
    """It wakes again, unless somebody else was given its place meanwhile."""
    try:
        with database.atomic():
            lock(replica)
            placement.check_room(replica)
            set_goal(replica, Goal.READY, reason=placement.CLAIMED, actor=WORKER, message="it wakes from its rehearsal")
    except NoCapacity:
        note(replica, profile=replica.profile | {"rehearsal": "done"})


def _with_sleep(replica: Replica, now: datetime) -> Profile:
    """Its profile with the seconds since the engine was told; those of an engine's first sleep at level 1 apart."""
    if not sleep_began(replica) or replica.deadline_at is None:
        return replica.profile
    seconds = (now - replica.deadline_at).total_seconds() + settings.SLEEP_SECONDS
    if replica.sleep_level >= 2:
        return replica.profile | {"deep_sleep_seconds": seconds}
    if replica.profile.get("first_sleep_of") != replica.generation:
        return replica.profile | {"first_sleep_seconds": seconds, "first_sleep_of": replica.generation}
    return replica.profile | {"sleep_seconds": seconds}


def stay_awake(sight: Sight, step: Step) -> bool:
    """Back to its requests: they asked for it, ran longer than the drain may last, or it did not fall asleep."""
    replica, called = sight.replica, step.effect is not Effect.GIVE_UP
    profile = {**replica.profile}
    if replica.rehearses and called:  # somebody wanted it: another time
        profile.pop("rehearsal")
    profile.pop("gives_way", None)
    transition(replica, State.READY, reason=step.reason, actor=WORKER, profile=profile)
    if step.effect is Effect.GIVE_UP:
        _give_up(sight.replica, _STAYS_AWAKE[step.reason])
    return True


def _give_up(replica: Replica, message: str) -> None:
    changes: dict[str, Any] = {"message": message}
    if replica.rehearses:
        changes = {"message": f"its rehearsal failed: {message}", "profile": replica.profile | {"rehearsal": "failed"}}
    set_goal(replica, Goal.READY, reason="sleep_given_up", actor=WORKER, **changes)


def wake(sight: Sight, step: Step) -> bool:
    """Reserve its bytes and claim the wake, unless that is done already, and wake the engine.

    False while there is no room, or a neighbour's memory is in the way.
    """
    replica, told = sight.replica, list[Future[None]]()
    try:
        if step.to is not None:
            with database.atomic():
                lock(replica)
                placement.hold_awake(replica)
                kv_limits.require(replica, sight.around)
                database.on_commit(lambda: told.append(_tell(sight)))  # callers wait for the engine, not for pages
                transition(replica, State.WAKING, reason=step.reason, actor=WORKER)
    except NoCapacity as error:
        return _wait_for_room(sight, step, error)
    _hear(sight, told[0] if told else _tell(sight))
    return True


def _tell(sight: Sight) -> Future[None]:
    """Have the engine wake, in a thread: meanwhile pages and gateways hear of it.

    At level 2 its weights are read again first, and hanging up would lose the steps after that.
    """
    level, engine = sight.replica.sleep_level, sight.engine
    patience = VERB_SECONDS if level < 2 else settings.WAKE_SECONDS
    return _teller.submit(engine.wake, level, timeout_seconds=patience)


def _wait_for_room(sight: Sight, step: Step, error: NoCapacity) -> bool:
    """It waits for memory or for room; one that was to wake only to sleep at level 2 ends instead."""
    replica = sight.replica
    if step.reason == host_rows.DEEPENS:
        message = f"{replica.message}; its GPU has no room for the wake that this takes, so its engine ends instead"
        set_goal(replica, Goal.SLEEPING, reason=host_rows.RESTS, actor=WORKER, message=message)
        return True
    if isinstance(error, MemoryHeld):
        waits.for_memory(sight, error)
    else:
        waits.for_room(replica, error)
    return False


def _hear(sight: Sight, told: Future[None]) -> None:
    """What the engine answered; while it takes its time, pages and gateways hear that it wakes."""
    try:
        wait([told], AT_ONCE_SECONDS)
        if not told.done():
            tell_pages()
            events.routes_changed()
        told.result()
    except EngineTimeout:
        logger.info("wake goes on: replica=%s", sight.replica.pk)
    except EngineRefused as error:
        _refused_to_wake(sight, error)


def _refused_to_wake(sight: Sight, error: EngineRefused) -> None:
    """An engine that fails to wake may have leaked memory: it starts afresh, unless a neighbour was the cause."""
    replica, diagnosis = sight.replica, diagnose([error.message], None)
    holders = kv_limits.over_floor(replica, sight.around) if diagnosis.code in OUT_OF_MEMORY else []
    if not holders:
        ending.failed(sight, diagnosis, "wake_refused")
        return
    message = f"it could not wake for want of memory: {reclaim.holders(holders)}"
    with database.atomic():
        placement.hold_asleep(replica, sight.own_bytes)
        transition(replica, State.SLEEPING, reason=MemoryHeld.code, actor=WORKER, message=message)


def awake(sight: Sight, step: Step) -> bool:
    """The wake is over: it serves again, and what the wake took is learned, to the look that found it awake."""
    replica, changes = sight.replica, starting.came_up(sight)
    took = "deep_wake_seconds" if replica.sleep_level >= 2 else "wake_seconds"
    changes["profile"] |= {took: max((sight.around.now - replica.state_at).total_seconds(), 0.0)}
    if replica.rehearses:
        changes["profile"] |= {"rehearsal": "done"}
    transition(replica, State.READY, reason=step.reason, actor=WORKER, **changes)
    return True
