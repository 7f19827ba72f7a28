"""What one replica should do now. Pure: the whole lifecycle on one page, tested over every combination.

Observation comes before intention: what the engine is decides first, what somebody wants of it second.
"""

from dataclasses import dataclass
from enum import Enum

from models_app.states import LIVE, Goal, State


class Effect(Enum):
    """What to do to the engine, after the transition that claims it."""

    SPAWN = "spawn"
    SLEEP = "sleep"
    WAKE = "wake"
    TERMINATE = "terminate"
    KILL = "kill"
    RELEASE = "release"  # the engine is gone: give back memory, port, segment and sockets
    RETIRE = "retire"  # its replacement serves everywhere: head for stopped
    GIVE_UP = "give_up"  # the sleep did not come about: head for ready again
    ABANDON = "abandon"  # a move's target failed: head for stopped, the source goes on


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of a replica's engine; None is unknown, never no."""

    alive: bool = False  # its server process runs
    healthy: bool | None = None
    asleep: bool | None = None
    canary: bool | None = None  # the engine's one-token answer is the expected one
    quiet: bool | None = None  # every gateway let go of it and the engine itself is idle
    freed: bool | None = None  # the memory it was to give back is seen to be free
    overdue: bool = False  # the state's deadline has passed
    may_start: bool = False  # no other cold start runs on the node
    superseded: bool = False  # its replacement is known to every gateway
    holds: bool = False  # memory, port or segment are still reserved for it
    restart_due: bool = False  # it may start: a failed one's back-off is over and its limit not reached
    replaces: bool = False  # it is the target of a move whose source still serves
    terminated: bool = False  # this worker has sent its TERM already
    sleep_began: bool = False  # the drain is over and the engine was told to sleep
    orphaned: bool = False  # its server process is gone, others of its processes live on
    deepens: bool = False  # it sleeps at level 1 and is to sleep at level 2
    rests: bool = False  # where it is to sleep, its engine ends
    dead: str = ""  # the evidence that it serves nobody although its server process runs

    @property
    def remains(self) -> bool:
        """Whether any process of the engine runs."""
        return self.alive or self.orphaned


@dataclass(frozen=True, slots=True)
class Step:
    """A transition, an effect, both, or neither; `reason` is the stable code written to the Transition row."""

    to: State | None = None
    effect: Effect | None = None
    reason: str = ""


WAIT = Step()


def next_step(state: State, goal: Goal, seen: Seen) -> Step:
    """The one thing to do next; WAIT when the world has to move first."""
    if state in LIVE and not seen.alive:
        left = seen.orphaned
        return Step(State.FAILED, Effect.KILL if left else None, "server_gone" if left else "engine_exited")
    if state in LIVE and seen.dead:
        return Step(State.FAILED, Effect.KILL, seen.dead)
    return _STEPS[state](goal, seen)


def _pending(goal: Goal, seen: Seen) -> Step:
    if goal == Goal.STOPPED:
        return Step(State.STOPPING, None, "cancelled")
    if seen.overdue:
        return Step(State.FAILED, None, "start_timeout")
    return Step(State.STARTING, Effect.SPAWN, "placed") if seen.may_start else WAIT


def _starting(goal: Goal, seen: Seen) -> Step:
    if goal == Goal.STOPPED:
        return Step(State.STOPPING, Effect.TERMINATE, "cancelled")
    if seen.healthy and seen.canary:
        return Step(State.READY, None, "loaded")
    return Step(State.FAILED, Effect.KILL, "start_timeout") if seen.overdue else WAIT


def _ready(goal: Goal, seen: Seen) -> Step:
    if seen.asleep:
        return Step(State.DRAINING, None, "found_asleep")
    if seen.superseded and goal != Goal.STOPPED:
        return Step(None, Effect.RETIRE, "moved")
    if goal != Goal.READY:
        return Step(State.DRAINING, None, "drain")
    return WAIT


def _draining(goal: Goal, seen: Seen) -> Step:
    if seen.asleep:
        if seen.freed is False and not seen.overdue:
            return WAIT
        return Step(State.SLEEPING, None, "memory_not_freed" if seen.freed is False else "asleep")
    if goal == Goal.READY:
        return Step(State.READY, None, "drain_cancelled")
    if goal == Goal.STOPPED or (seen.rests and seen.quiet):
        done = seen.quiet or seen.overdue
        return Step(State.STOPPING, Effect.TERMINATE, "drained" if seen.quiet else "drain_timeout") if done else WAIT
    if seen.overdue:
        return Step(State.READY, Effect.GIVE_UP, "sleep_timeout" if seen.sleep_began else "drain_timeout")
    return Step(None, Effect.SLEEP, "drained") if seen.quiet else WAIT


def _sleeping(goal: Goal, seen: Seen) -> Step:
    if goal == Goal.STOPPED:
        return Step(State.STOPPING, Effect.TERMINATE, "stop")
    if seen.superseded:
        return Step(None, Effect.RETIRE, "moved")
    if goal == Goal.READY:
        return Step(State.WAKING, Effect.WAKE, "wake")
    if seen.asleep is False:
        return Step(None, Effect.SLEEP, "found_awake")
    if seen.rests:
        return Step(State.STOPPING, Effect.TERMINATE, "demoted_to_stopped")
    return Step(State.WAKING, Effect.WAKE, "demoted_to_level_2") if seen.deepens else WAIT


def _waking(goal: Goal, seen: Seen) -> Step:
    if goal == Goal.STOPPED:
        return Step(State.STOPPING, Effect.TERMINATE, "cancelled")
    if seen.asleep is False and seen.canary is False:
        return Step(State.FAILED, Effect.KILL, "canary_mismatch")
    if seen.asleep is False and seen.canary:
        return Step(State.READY, None, "awake")
    if seen.overdue:
        return Step(State.FAILED, Effect.KILL, "wake_timeout")
    return Step(None, Effect.WAKE, "wake") if seen.asleep else WAIT


def _stopping(goal: Goal, seen: Seen) -> Step:
    if not seen.remains:
        done = seen.freed is not False or seen.overdue
        return Step(State.STOPPED, Effect.RELEASE, "stopped") if done else WAIT
    if seen.overdue or seen.orphaned:
        return Step(None, Effect.KILL, "stop_timeout")
    return WAIT if seen.terminated else Step(None, Effect.TERMINATE, "stop")


def _failed(goal: Goal, seen: Seen) -> Step:
    if seen.remains:
        return Step(None, Effect.KILL, "failed")
    if seen.holds:
        return Step(None, Effect.RELEASE, "failed") if seen.freed is not False or seen.overdue else WAIT
    if goal == Goal.STOPPED:
        return Step(State.STOPPING, None, "stop")
    if seen.replaces:
        return Step(None, Effect.ABANDON, "move_failed")
    if seen.superseded:
        return Step(None, Effect.RETIRE, "moved")
    if not seen.restart_due:
        return WAIT
    return Step(State.PENDING, None, "restart") if goal == Goal.READY else Step(State.STOPPING, None, "rests")


def _stopped(goal: Goal, seen: Seen) -> Step:
    if seen.remains:
        return Step(None, Effect.KILL, "stopped")
    if seen.holds:
        return Step(None, Effect.RELEASE, "stopped")
    if seen.superseded and goal != Goal.STOPPED:
        return Step(None, Effect.RETIRE, "moved")
    return Step(State.PENDING, None, "start") if goal == Goal.READY and seen.restart_due else WAIT


_STEPS = {
    State.PENDING: _pending,
    State.STARTING: _starting,
    State.READY: _ready,
    State.DRAINING: _draining,
    State.SLEEPING: _sleeping,
    State.WAKING: _waking,
    State.STOPPING: _stopping,
    State.FAILED: _failed,
    State.STOPPED: _stopped,
}
