"""Step by step down for deployments that nobody asked for in a while: asleep, asleep at level 2, no engine at all.

The time counts from the end of the last request. It is the deployment's own setting, and what a window or an operator
says of the level goes before it: one that is kept awake stays awake, and pinned ones stay as they are.
"""

import logging
import time
from collections.abc import Iterator

from redis import RedisError

from models_app.errors import HostMemoryShort
from models_app.in_force import Level
from models_app.lifecycle import verbs
from models_app.models import Deployment, Replica
from models_app.policy import descent
from models_app.policy.scene import Traffic, read_traffic
from models_app.states import Goal, State
from models_app.traffic import activity
from sardeenz.errors import SardeenzError

ACTOR = "rule:idle"
ASLEEP, DEEPER, ENGINELESS = range(1, 4)
_SETTINGS = ("idle_sleep_seconds", "idle_level_2_seconds", "idle_stop_seconds")

_GOVERNED = (Level.ASLEEP_1, Level.ASLEEP_2, Level.STOPPED)
"""Windows that say where it rests see to that themselves."""

logger = logging.getLogger(__name__)


def step_down(now: float | None = None) -> None:
    """Have every replica whose idle time is over take its next step; `now` is a Unix time."""
    rows = list(_candidates())
    if not rows:
        return
    traffic = read_traffic()
    if traffic.reports is None and any(row.state == State.READY for row in rows) and not _redis_answers():
        return
    for row in rows:
        idle = _idle_seconds(row, traffic, time.time() if now is None else now)
        if not _in_use(row, traffic) and (step := due(row, idle)):
            _take(row, step, idle)


def _candidates() -> Iterator[Replica]:
    """Those that rest or serve, of deployments with idle times."""
    here = Replica.objects.filter(state__in=[State.READY, State.SLEEPING], replaces=None, replacements=None)
    for row in here.exclude(goal=Goal.STOPPED).select_related("deployment", "gpu"):
        settled = row.goal == (Goal.READY if row.state == State.READY else Goal.SLEEPING)
        timed = any(getattr(row.deployment, name) is not None for name in _SETTINGS)
        if settled and timed and not row.rehearses and not row.deployment.in_force.stays:
            yield row


def due(row: Replica, idle_seconds: float) -> int:
    """The step that its idle time asks for and that it has not taken; 0 where none does."""
    own: Deployment = row.deployment
    times = [getattr(own, name) for name in _SETTINGS]
    over = [step for step, after in enumerate(times, 1) if after is not None and idle_seconds >= after]
    reached = max(over, default=0)
    at = 0 if row.state == State.READY else row.sleep_level
    if at == 0 and idle_seconds < (own.min_resident_seconds or 0.0):
        return 0
    if reached <= at or own.in_force.level in _GOVERNED:
        return 0
    return DEEPER if reached == ENGINELESS and at == 0 else reached


def _take(row: Replica, step: int, idle_seconds: float) -> None:
    why = f"nobody asked for it in {idle_seconds:.0f} s"
    try:
        if row.state == State.READY:
            _sleep(row, step, idle_seconds)
        elif step == ENGINELESS:
            descent.rest(row, why, actor=ACTOR)
        elif row.reason != descent.DEEPENS:
            descent.deepen(row, why, actor=ACTOR)
    except SardeenzError as error:
        logger.info("no step down: replica=%s code=%s", row.pk, error.code)


def _sleep(row: Replica, level: int, idle_seconds: float) -> None:
    times = {name: getattr(row.deployment, name) for name in _SETTINGS}
    allowed = max(after for after in times.values() if after is not None and after <= idle_seconds)
    message = f"nobody asked for it for {idle_seconds:.0f} s; its deployment lets it be idle for {allowed:.0f} s"
    inputs = {"idle_seconds": idle_seconds, **times}
    try:
        verbs.sleep(row, actor=ACTOR, level=level, message=message, fields=inputs)
    except HostMemoryShort:
        verbs.sleep(row, actor=ACTOR, level=2, message=message, fields=inputs)


def _in_use(row: Replica, traffic: Traffic) -> bool:
    return row.deployment_id in traffic.waiting or bool(activity.in_flight(row.marker, traffic.reports or ()))


def _idle_seconds(row: Replica, traffic: Traffic, now: float) -> float:
    """Since the last use, or since it became ready: the clock never runs while it loads."""
    ready_at = row.ready_at.timestamp() if row.ready_at is not None else None
    marks = [mark for mark in (traffic.used.get(row.deployment_id), ready_at) if mark is not None]
    return now - max(marks) if marks else 0.0


def _redis_answers() -> bool:
    """Whether there is merely no gateway, so that nothing is in flight, or nothing can be known."""
    try:
        return activity.read_reports() == []
    except (RedisError, OSError) as error:
        logger.warning("idle times unknown: error=%s", error)
        return False
