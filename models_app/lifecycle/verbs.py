"""The verbs, and the writes they are made of.

A verb changes rows in one transaction and pokes the GPU's queue when it commits; only that queue's worker touches an
engine. Locks: the deployment first, then its replicas by number, then GPUs by uuid, then their node. Who decides about
GPUs locks those first, and rows afterwards without waiting for them.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from gpus.models import GPU
from models_app import compatibility, decisions
from models_app.errors import (
    DeploymentDeleting,
    IllegalTransition,
    MoveInProgress,
    NoCapacity,
    ReplicaLeaving,
    SleepDisabled,
)
from models_app.launch_settings import outdated
from models_app.lifecycle import launch
from models_app.lifecycle.placing import Placing, place
from models_app.lifecycle.transition import (
    deadline_seconds,
    lock,
    lock_deployment,
    locked,
    note,
    set_goal,
    sleep_began,
    transition,
)
from models_app.memory import cordoned, host_rows, placement, profiles
from models_app.models import Deployment, Replica, counted
from models_app.states import Goal, State
from sardeenz.errors import SardeenzError

__all__ = (
    "deadline_seconds",
    "lock",
    "lock_deployment",
    "note",
    "set_goal",
    "sleep_began",
    "transition",
)

NO_ROOM_PAUSE = timedelta(seconds=5)
"""What finds no room looks again so much later."""


def refuse_deleting(deployment: Deployment) -> None:
    """Raise DeploymentDeleting while it only waits for its last engine: nothing else is to be asked of it."""
    if deployment.deleting:
        why = "it goes with its last engine, and then its name is free"
        raise DeploymentDeleting(f"{deployment} is being deleted: {why}", deployment=deployment.pk)


def _refuse_leaving(replica: Replica) -> None:
    refuse_deleting(replica.deployment)
    if replica.disposable:
        why = f"it goes once its engine has ended; deploy {replica.deployment} for another"
        raise ReplicaLeaving(f"{replica} does not come back: {why}", replica=replica.pk)


def want(deployment: Deployment, goal: Goal) -> None:
    """Write down whether its replicas are to be kept placed."""
    if deployment.goal != goal:
        say(deployment, "", "", goal=goal)


def say(deployment: Deployment, reason: str, message: str, **changes: Any) -> None:
    """Write down why replicas are missing, a code and words; nothing when none is. Pages hear of it with the tick."""
    changes |= {"reason": reason, "message": message}
    if any(getattr(deployment, name) != value for name, value in changes.items()):
        Deployment.objects.filter(pk=deployment.pk).update(**changes, seq=F("seq") + 1)
        deployment.refresh_from_db(fields=[*changes, "seq"])


def say_unplaced(deployment: Deployment, error: SardeenzError, message: str, *, actor: str) -> None:
    """The same, and the decision is kept with the arithmetic wherever it is another one than before."""
    if (deployment.reason, deployment.message) != (error.code, message):
        kind, name = decisions.Kind.PLACEMENT, deployment.name
        words = f"{name}: {message}"
        decisions.keep(decisions.Decided(kind, error.code, words, name, actor, inputs=error.fields))
    say(deployment, error.code, message)


@transaction.atomic
def deploy(deployment: Deployment, *, actor: str, gpu: GPU | None = None, placing: Placing = place) -> list[Replica]:
    """Want it, and bring it to its number of replicas, all headed for ready; too many of them are stopped.

    What finds no room waits for it, and the deployment says so. Raises NeverFits where no room would be enough,
    NoCapacity where a named `gpu` has none now, and KnownProblem; nothing is changed then.
    """
    deployment = lock_deployment(deployment.pk)
    refuse_deleting(deployment)
    compatibility.check_deployment(deployment)
    want(deployment, Goal.READY)
    for replica in kept(deployment)[: deployment.in_force.replicas]:
        if replica.goal == Goal.STOPPED or replica.state == State.FAILED:
            start(replica, actor=actor)
    return bring_to_number(deployment, actor=actor, gpu=gpu, placing=placing)


def bring_to_number(
    deployment: Deployment, *, actor: str, gpu: GPU | None = None, placing: Placing = place
) -> list[Replica]:
    """Place what is missing of a locked deployment, and stop what is too much. Raises as `deploy` does."""
    placed, number = kept(deployment), deployment.in_force.replicas
    for replica in placed[number:]:
        _head_for_stop(locked(replica), reason="scaled_down", actor=actor, disposable=True)
    staying = placed[:number]
    missing = number - len(staying)
    try:
        for _ in range(missing):
            with transaction.atomic():
                staying.append(placing(deployment, actor=actor, gpu=gpu))
    except NoCapacity as error:
        if gpu is not None:
            raise
        who = "It waits" if number == 1 else f"{number - len(staying)} of {number} replicas wait"
        say_unplaced(deployment, error, f"{who} for room: {error.message}", actor=actor)
        return staying
    say(deployment, "", "")
    return [_elsewhere(deployment, replica, actor) if _may_go_elsewhere(replica) else replica for replica in staying]


def _may_go_elsewhere(replica: Replica) -> bool:
    return replica.state == State.STOPPED and not replica.gives_way and placement.waits_for_room(replica)


def _elsewhere(deployment: Deployment, replica: Replica, actor: str) -> Replica:
    """Another replica in its stead where there is room, for one without an engine whose own GPU has none."""
    try:
        return in_its_stead(deployment, replica, actor)
    except NoCapacity:
        return replica


@transaction.atomic
def in_its_stead(deployment: Deployment, replica: Replica, actor: str, placing: Placing = place) -> Replica:
    """Another replica, and this one goes. Raises NoCapacity and NeverFits; nothing is changed then."""
    _head_for_stop(locked(replica), reason="placed_elsewhere", actor=actor, disposable=True)
    return placing(deployment, actor=actor)


def kept(deployment: Deployment) -> list[Replica]:
    """The replicas that count, those that serve or shall serve first."""
    replicas = deployment.placed.filter(counted()).select_related("gpu", "deployment").order_by("id")
    return sorted(replicas, key=lambda row: row.goal == Goal.STOPPED or row.state == State.FAILED)


@transaction.atomic
def start(replica: Replica, *, actor: str) -> Replica:
    """Head for ready from wherever it is. A stopped or failed replica takes the deployment's present settings.

    One that finds no room, or whose engine still ends, is headed for ready and waits: its worker tries again.
    """
    deployment = lock_deployment(replica.deployment_id)
    replica = locked(replica)
    _refuse_leaving(replica)
    want(deployment, Goal.READY)
    if replica.headed_for_ready:
        return replica
    fresh: dict[str, Any] = {"restarts": 0, "restart_at": timezone.now(), "restarting": False}
    failed, gone = replica.state == State.FAILED, replica.port is None
    if not failed and (replica.state != State.STOPPED or not gone):  # its engine is not gone yet: its worker goes on
        set_goal(replica, Goal.READY, reason="start", actor=actor, **fresh)
        return replica
    uuids = replica.gpu_uuids
    if len(uuids) != deployment.tensor_parallel or cordoned.kept_off(replica):
        return _place_anew(deployment, replica, actor)
    wanted = placement.need(deployment)
    replica.reservations.update(awake_bytes=wanted.awake_bytes, asleep_bytes=wanted.asleep_bytes)
    spec = launch.specification(deployment, wanted) | {"gpu_uuids": uuids}
    if failed:
        set_goal(replica, Goal.READY, reason="start", actor=actor, spec=spec, **fresh)
        return replica
    try:
        placement.hold_awake(replica)
    except NoCapacity as error:
        put_off(replica, error, actor=actor)
        return replica
    fresh["profile"] = profiles.renewed(replica, spec, deployment.model.facts)
    fresh |= {"spec": spec, "goal": Goal.READY, "generation": replica.generation + 1}
    transition(replica, State.PENDING, reason="start", actor=actor, **fresh)
    return replica


def _place_anew(deployment: Deployment, replica: Replica, actor: str) -> Replica:
    """Another replica in its stead, for it is to have another number of GPUs now. It waits where there is no room."""
    if replica.port is not None:  # what is left of its engine goes first
        set_goal(replica, Goal.STOPPED, reason="restart", actor=actor, restarting=True)
        return replica
    try:
        return in_its_stead(deployment, replica, actor)
    except NoCapacity as error:
        put_off(replica, error, actor=actor)
        return replica


def put_off(replica: Replica, error: NoCapacity, *, actor: str) -> None:
    """It waits for room without an engine, and without a claim to it. One entry in the history per wait."""
    message, later = f"It waits for room: {error.message}", timezone.now() + NO_ROOM_PAUSE
    changes: dict[str, Any] = {"message": message, "restart_at": later}
    if replica.goal == Goal.READY and replica.reason == placement.CONSENTED:
        note(replica, restart_at=later)  # what it waits for is said already
    elif replica.goal == Goal.READY and replica.reason == error.code:
        note(replica, **changes)
    else:
        set_goal(replica, Goal.READY, reason=error.code, actor=actor, restarting=False, **changes)


@transaction.atomic
def stop(replica: Replica, *, actor: str) -> Replica:
    """Unroute, drain, end the engine. Stopping twice is stopping once; a move under way ends with its source."""
    replica = locked(replica)
    for target in replica.replacements.exclude(goal=Goal.STOPPED):
        _head_for_stop(locked(target), reason="source_stopped", actor=actor, disposable=True)
    return _head_for_stop(replica, reason="stop", actor=actor, disposable=_is_target(replica))


def _is_target(replica: Replica) -> bool:
    """Whether a move is under way to it; once its source goes, it is a replica like any other."""
    return replica.replaces is not None and not replica.replaces.disposable


def _head_for_stop(replica: Replica, *, reason: str, actor: str, disposable: bool, message: str = "") -> Replica:
    """For good: a restart under way ends as a stop."""
    disposable = disposable or replica.disposable
    if replica.goal != Goal.STOPPED or replica.restarting or disposable != replica.disposable:
        changes: dict[str, Any] = {"message": message, "disposable": disposable, "restarting": False}
        set_goal(replica, Goal.STOPPED, reason=reason, actor=actor, **changes)
    return replica


@transaction.atomic
def sleep(replica: Replica, *, actor: str, level: int = 1, **why: Any) -> Replica:
    """Drain, then weights to host RAM (level 1) or dropped (level 2).

    `why` is the message and the fields of the history, for who has more to say than that it was asked for.
    Raises SleepDisabled, KnownProblem, HostMemoryShort.
    """
    replica = locked(replica)
    _refuse_leaving(replica)
    if not replica.sleep_enabled:
        raise SleepDisabled(
            f"{replica} was started without sleep mode: let the deployment sleep, and restart it", replica=replica.pk
        )
    if problem := compatibility.unsafe(replica, level):
        raise compatibility.refusal(problem)
    if replica.goal == Goal.SLEEPING and replica.sleep_level == level:
        if replica.rehearses:  # then it is no rehearsal any more
            note(replica, profile=replica.profile | {"rehearsal": "done"})
        return replica
    if replica.state not in (State.READY, State.DRAINING, State.WAKING) or replica.goal == Goal.STOPPED:
        raise IllegalTransition(f"a {replica.state} replica cannot sleep", state=replica.state, wanted="sleeping")
    _refuse_mid_move(replica)
    placement.check_host_budget(replica, level=level)
    set_goal(replica, Goal.SLEEPING, reason="sleep", actor=actor, sleep_level=level, **why)
    return replica


@transaction.atomic
def wake(replica: Replica, *, actor: str) -> Replica:
    """Head for ready again. Raises NoCapacity when its GPU has no room now; IllegalTransition unless it sleeps."""
    replica = locked(replica)
    _refuse_leaving(replica)
    if replica.headed_for_ready:
        return replica
    if replica.goal != Goal.SLEEPING:
        raise IllegalTransition(f"a {replica.state} replica cannot wake", state=replica.state, wanted="ready")
    if replica.state in (State.SLEEPING, State.STOPPED):
        placement.check_room(replica)
    else:
        placement.lock([replica])
    head_for_ready(replica, actor=actor)
    return replica


def head_for_ready(replica: Replica, *, actor: str, **changes: Any) -> None:
    """Wake as soon as there is room, which the caller has seen to under the GPUs' locks; a copy of it as well."""
    set_goal(replica, Goal.READY, reason=placement.CLAIMED, actor=actor, **changes)
    for target in replica.replacements.filter(goal=Goal.SLEEPING):
        _turn(locked(target, wait=False), actor)


def _turn(target: Replica, actor: str) -> None:
    """A copy becomes ready with its source; where its GPUs have no room for it awake, the move ends."""
    if placement.room_comes(target):
        set_goal(target, Goal.READY, reason=placement.CLAIMED, actor=actor)
        return
    message = "the one that it replaces wakes, and there is no room here for both of them awake"
    _head_for_stop(target, reason="move_failed", actor=actor, disposable=True, message=message)


@transaction.atomic
def restart(replica: Replica, *, actor: str) -> Replica:
    """Stop, then start with the deployment's present settings. Its requests are held meanwhile. Raises NeverFits."""
    deployment = lock_deployment(replica.deployment_id)
    replica = locked(replica)
    _refuse_leaving(replica)
    if replica.down:
        return start(replica, actor=actor)
    _refuse_mid_move(replica)
    with suppress(NoCapacity):  # it will wait for room; what has none anywhere must not stop
        placement.choose(deployment, placement.need(deployment))
    if not replica.restarting:
        set_goal(replica, Goal.STOPPED, reason="restart", actor=actor, restarting=True)
    return replica


@transaction.atomic
def move(replica: Replica, gpu: GPU | None, *, actor: str, placing: Placing = place) -> Replica:
    """Blue-green: start a copy on `gpu`, and when every gateway knows it, drain and stop the source.

    Without a `gpu` it goes to the one with the most room; that is another one where its own is cordoned.
    Returns the target. Raises NoCapacity when both copies do not fit; the source is untouched then.
    """
    deployment = lock_deployment(replica.deployment_id)
    replica = locked(replica)
    _refuse_leaving(replica)
    if replica.state not in (State.READY, State.SLEEPING) or replica.goal == Goal.STOPPED:
        raise IllegalTransition(f"a {replica.state} replica cannot move", state=replica.state, wanted="move")
    _refuse_mid_move(replica)
    if gpu is not None and gpu.pk == replica.gpu_id:
        raise IllegalTransition(
            f"{replica} is on GPU {gpu.index} of {gpu.node} already", state=replica.state, wanted="move"
        )
    target = placing(deployment, actor=actor, gpu=gpu, replaces=replica)
    note(replica)  # its page and its verbs change with it
    return target


@transaction.atomic
def renew(replica: Replica, *, actor: str, placing: Placing = place) -> Replica:
    """Replace it by a copy with the present settings. A sleeper without room for both loads anew at its next call."""
    deployment = lock_deployment(replica.deployment_id)
    replica = locked(replica)
    _refuse_leaving(replica)
    replica.deployment = deployment
    if replica.down or not outdated(replica):
        return replica
    _refuse_mid_move(replica)
    if (replica.state, replica.goal) not in ((State.READY, Goal.READY), (State.SLEEPING, Goal.SLEEPING)):
        return restart(replica, actor=actor)
    try:
        with transaction.atomic():
            target = placing(deployment, actor=actor, replaces=replica, anew=True)
    except NoCapacity:
        if replica.state != State.SLEEPING:
            raise
        message = "it loads anew at its next request"
        set_goal(replica, Goal.SLEEPING, reason=host_rows.RESTS, actor=actor, message=message)
        return replica
    note(replica)
    return target


def _refuse_mid_move(replica: Replica) -> None:
    if replica.replaces_id is not None or replica.replacements.exists():
        raise MoveInProgress(f"{replica} is one side of an unfinished move; cancel it first", replica=replica.pk)


@transaction.atomic
def cancel(replica: Replica, *, actor: str) -> Replica:
    """Undo what is under way: a load is stopped, a move keeps its source, a drain ends, a wake is not waited for."""
    replica = locked(replica)
    _refuse_leaving(replica)
    for target in replica.replacements.exclude(goal=Goal.STOPPED):
        _head_for_stop(locked(target), reason="cancelled", actor=actor, disposable=True)
        return replica
    if _is_target(replica) or replica.state in (State.PENDING, State.STARTING):
        return _head_for_stop(replica, reason="cancelled", actor=actor, disposable=_is_target(replica))
    waits = replica.state == State.SLEEPING and (replica.goal == Goal.READY or replica.reason == placement.CONSENTED)
    if waits or replica.state in (State.DRAINING, State.WAKING):
        goal = Goal.READY if replica.state == State.DRAINING else Goal.SLEEPING
        set_goal(replica, goal, reason="cancelled", actor=actor, restarting=False)
        return replica
    raise IllegalTransition(f"nothing of a {replica.state} replica can be cancelled", state=replica.state)


@transaction.atomic
def delete(deployment: Deployment, *, actor: str) -> list[Replica]:
    """Stop every replica and forget them; the deployment's row goes with the last engine."""
    deployment = lock_deployment(deployment.pk)
    placed = list(deployment.placed.select_related("gpu", "deployment"))
    if not placed:
        deployment.delete()
        return []
    say(deployment, "", "", deleting=True)
    return [_head_for_stop(locked(row), reason="deleted", actor=actor, disposable=True) for row in placed]
