"""The verbs, and the only writer of a replica's state and goal.

A verb changes rows in one transaction and pokes the GPU's queue when it commits; only that queue's worker touches an
engine. A state changes by compare-and-swap alone, with a Transition row and the events in the same transaction.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from gpus.models import GPU
from models_app import placement, queues, rows
from models_app.errors import IllegalTransition, MoveInProgress, ReplicaMoved, SleepDisabled
from models_app.models import Deployment, EngineRuntime, Replica, Transition
from models_app.states import ALLOWED, TRANSIENT, Goal, State
from sardeenz import events


def deadline_seconds(state: State) -> float:
    """How long a transient state may last."""
    return {
        State.PENDING: 4 * settings.START_SECONDS,  # it may wait for other cold starts of its node
        State.STARTING: settings.START_SECONDS,
        State.DRAINING: settings.DRAIN_SECONDS,
        State.WAKING: settings.WAKE_SECONDS,
        State.STOPPING: settings.STOP_SECONDS,
    }[state]


def sleep_began(replica: Replica) -> bool:
    """Whether its drain is over and the engine was told to sleep: the deadline is no longer the drain's."""
    if replica.state != State.DRAINING or replica.deadline_at is None:
        return False
    return replica.deadline_at - replica.state_at != timedelta(seconds=settings.DRAIN_SECONDS)


def begin_sleep(replica: Replica) -> None:
    """The drain is over: from now on counts how long going to sleep may take. Once; asking again changes nothing."""
    if replica.state == State.DRAINING and not sleep_began(replica):
        note(replica, deadline_at=timezone.now() + timedelta(seconds=settings.SLEEP_SECONDS))


def transition(
    replica: Replica,
    to: State,
    *,
    reason: str,
    actor: str,
    message: str = "",
    fields: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Move a replica. Raises IllegalTransition, or ReplicaMoved when somebody changed it since it was read."""
    old = State(replica.state)
    if to not in ALLOWED[old]:
        raise IllegalTransition(f"a {old} replica cannot become {to}", state=old, wanted=to)
    now = timezone.now()
    changes |= {
        "state": to,
        "state_at": now,
        "deadline_at": now + timedelta(seconds=deadline_seconds(to)) if to in TRANSIENT else None,
        "reason": reason,
        "message": message,
    }
    with transaction.atomic():
        held = Replica.objects.filter(
            pk=replica.pk, state=old, generation=replica.generation, goal=replica.goal, seq=replica.seq
        )
        if held.update(**changes, seq=F("seq") + 1) != 1:
            raise ReplicaMoved(f"replica {replica.pk} was changed meanwhile; look again", replica=replica.pk)
        replica.refresh_from_db()
        _record(replica, old, reason, actor, message, fields)


def _record(
    replica: Replica, old: str, reason: str, actor: str, message: str = "", fields: dict[str, Any] | None = None
) -> None:
    """Write what happened and announce it, in the transaction that changed the row."""
    Transition.objects.create(
        replica=replica,
        deployment_name=replica.deployment.name,
        generation=replica.generation,
        old=old,
        new=replica.state,
        goal=replica.goal,
        reason=reason,
        message=message,
        fields=fields or {},
        actor=actor,
    )
    announce(replica, routes=True)


def announce(replica: Replica, *, routes: bool = False) -> None:
    """Tell browsers, and on a change of routes the gateways and the GPU's worker, once the transaction commits."""
    if routes:
        transaction.on_commit(events.routes_changed)
        transaction.on_commit(partial(queues.poke, replica.gpu.uuid))
    transaction.on_commit(partial(_publish, replica.pk))


def _publish(replica_id: int) -> None:
    replica = rows.replicas().filter(pk=replica_id).first()
    if replica is not None:
        event = {"kind": "replica", "id": replica.pk, "seq": replica.seq, "row": rows.replica_row(replica)}
        events.publish(events.LIFECYCLE, event)


def note(replica: Replica, **changes: Any) -> None:
    """Write observed facts (never state, goal or generation) and show them. Raises ReplicaMoved."""
    held = Replica.objects.filter(pk=replica.pk, seq=replica.seq)
    if held.update(**changes, seq=F("seq") + 1) != 1:
        raise ReplicaMoved(f"replica {replica.pk} was changed meanwhile; look again", replica=replica.pk)
    for name, value in changes.items():
        setattr(replica, name, value)
    replica.seq += 1
    announce(replica)


def set_goal(
    replica: Replica,
    goal: Goal,
    *,
    reason: str,
    actor: str,
    message: str = "",
    fields: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Change where a replica is headed; its worker does the rest. Raises ReplicaMoved."""
    held = Replica.objects.filter(pk=replica.pk, seq=replica.seq)
    if held.update(goal=goal, reason=reason, message=message, **changes, seq=F("seq") + 1) != 1:
        raise ReplicaMoved(f"replica {replica.pk} was changed meanwhile; look again", replica=replica.pk)
    replica.refresh_from_db()
    _record(replica, replica.state, reason, actor, message, fields)


def _locked(replica: Replica) -> Replica:
    """The row as it is now, ours until the transaction ends. Raises ReplicaMoved when it is gone."""
    found = Replica.objects.select_for_update(of=("self",)).select_related("deployment", "gpu").filter(pk=replica.pk)
    row = found.first()
    if row is None:
        raise ReplicaMoved(f"replica {replica.pk} is gone", replica=replica.pk)
    return row


@transaction.atomic
def deploy(deployment: Deployment, *, actor: str, gpu: GPU | None = None) -> list[Replica]:
    """Bring the deployment to its number of replicas, all headed for ready; too many of them are stopped.

    Raises NoCapacity when a new one does not fit; nothing is changed then.
    """
    deployment = (
        Deployment.objects.select_for_update(of=("self",)).select_related("model", "runtime").get(pk=deployment.pk)
    )
    placed = list(kept(deployment))
    for replica in placed[: deployment.replicas]:
        if replica.goal == Goal.STOPPED:
            start(replica, actor=actor)
    for replica in placed[deployment.replicas :]:
        _head_for_stop(_locked(replica), reason="scaled_down", actor=actor, disposable=True)
    new = [_place(deployment, actor=actor, gpu=gpu) for _ in range(deployment.replicas - len(placed))]
    return placed[: deployment.replicas] + new


def kept(deployment: Deployment) -> QuerySet[Replica]:
    """The replicas that count: neither on their way out nor the target of a move."""
    own = Q(replaces=None) | Q(replaces__disposable=True)
    return deployment.placed.filter(own, disposable=False).select_related("gpu", "deployment").order_by("id")


def _place(
    deployment: Deployment,
    *,
    actor: str,
    gpu: GPU | None = None,
    replaces: Replica | None = None,
) -> Replica:
    """Choose GPUs, promise the bytes, and make the row. A move keeps the launch specification of its source."""
    wanted = placement.need(deployment) if replaces is None else placement.need_again(replaces, deployment)
    chosen = placement.choose(deployment, wanted, gpu=gpu)
    spec = replaces.spec if replaces is not None else _specification(deployment, wanted)
    now = timezone.now()
    replica = Replica.objects.create(
        deployment=deployment,
        gpu=chosen[0],
        goal=Goal.SLEEPING if replaces is not None and replaces.goal == Goal.SLEEPING else Goal.READY,
        sleep_level=replaces.sleep_level if replaces is not None else 1,
        replaces=replaces,
        spec=spec | {"gpu_uuids": [candidate.uuid for candidate in chosen]},
        address=chosen[0].node.address,
        deadline_at=now + timedelta(seconds=deadline_seconds(State.PENDING)),
        state_at=now,
        reason="placed",
    )
    placement.reserve(replica, chosen, wanted)
    _record(replica, "", "move" if replaces is not None else "deploy", actor)
    return replica


def _specification(deployment: Deployment, wanted: placement.Need) -> dict[str, Any]:
    """All that decides how the engine is launched, frozen so that restarts and moves change nothing."""
    runtime: EngineRuntime = deployment.runtime
    return {
        "model_source": deployment.model.source,
        "revision": deployment.model.revision,
        "served_name": deployment.served_name,
        "deployment_name": deployment.name,
        "runtime_id": runtime.pk,
        "kind": runtime.kind,
        "executable": runtime.executable,
        "version": runtime.version,
        "kvcached": runtime.kvcached,
        "extra_args": list(deployment.extra_args),
        "environment": {**runtime.environment, **deployment.environment},
        "max_model_len": deployment.max_model_len,
        "tensor_parallel": deployment.tensor_parallel,
        "sleep_enabled": deployment.sleep_enabled,
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
        "kv_cap_bytes": deployment.kv_cap_bytes,
    }


@transaction.atomic
def start(replica: Replica, *, actor: str) -> Replica:
    """Head for ready from wherever it is. A stopped replica takes the deployment's present settings.

    Raises NoCapacity when a stopped one finds no room; one whose engine still ends is placed once that is gone.
    """
    replica = _locked(replica)
    if replica.goal == Goal.READY and replica.state not in (State.STOPPED, State.FAILED):
        return replica
    fresh: dict[str, Any] = {"restarts": 0, "restart_at": timezone.now(), "disposable": False, "restarting": False}
    if replica.state != State.STOPPED or replica.port is not None:  # its engine is not gone yet: its worker goes on
        set_goal(replica, Goal.READY, reason="start", actor=actor, **fresh)
        return replica
    deployment = Deployment.objects.select_related("model", "runtime").get(pk=replica.deployment_id)
    wanted = placement.need(deployment)
    replica.reservations.update(awake_bytes=wanted.awake_bytes, asleep_bytes=wanted.asleep_bytes)
    placement.hold_awake(replica)
    spec = _specification(deployment, wanted) | {"gpu_uuids": replica.spec.get("gpu_uuids", [])}
    fresh |= {"spec": spec, "goal": Goal.READY, "generation": replica.generation + 1}
    transition(replica, State.PENDING, reason="start", actor=actor, **fresh)
    return replica


@transaction.atomic
def stop(replica: Replica, *, actor: str) -> Replica:
    """Unroute, drain, end the engine. Stopping twice is stopping once; a move under way ends with its source."""
    replica = _locked(replica)
    for target in replica.replacements.exclude(goal=Goal.STOPPED):
        _head_for_stop(_locked(target), reason="source_stopped", actor=actor, disposable=True)
    return _head_for_stop(replica, reason="stop", actor=actor, disposable=replica.replaces_id is not None)


def _head_for_stop(replica: Replica, *, reason: str, actor: str, disposable: bool, message: str = "") -> Replica:
    """For good: a restart under way ends as a stop."""
    disposable = disposable or replica.disposable
    if replica.goal != Goal.STOPPED or replica.restarting or disposable != replica.disposable:
        changes: dict[str, Any] = {"message": message, "disposable": disposable, "restarting": False}
        set_goal(replica, Goal.STOPPED, reason=reason, actor=actor, **changes)
    return replica


@transaction.atomic
def sleep(replica: Replica, *, actor: str, level: int = 1) -> Replica:
    """Drain, then weights to host RAM (level 1) or dropped (level 2). Raises SleepDisabled, HostMemoryShort."""
    replica = _locked(replica)
    if not replica.spec.get("sleep_enabled"):
        raise SleepDisabled(
            f"{replica} was started without sleep mode: let the deployment sleep, and restart it", replica=replica.pk
        )
    if replica.goal == Goal.SLEEPING and replica.sleep_level == level:
        return replica
    if replica.state not in (State.READY, State.DRAINING, State.WAKING) or replica.goal == Goal.STOPPED:
        raise IllegalTransition(f"a {replica.state} replica cannot sleep", state=replica.state, wanted="sleeping")
    _refuse_mid_move(replica)
    placement.check_host_memory(replica, level=level)
    set_goal(replica, Goal.SLEEPING, reason="sleep", actor=actor, sleep_level=level)
    return replica


@transaction.atomic
def wake(replica: Replica, *, actor: str) -> Replica:
    """Head for ready again. Raises NoCapacity when its GPU has no room now; IllegalTransition unless it sleeps."""
    replica = _locked(replica)
    if replica.goal == Goal.READY and replica.state not in (State.STOPPED, State.FAILED):
        return replica
    if replica.goal != Goal.SLEEPING:
        raise IllegalTransition(f"a {replica.state} replica cannot wake", state=replica.state, wanted="ready")
    if replica.state in (State.SLEEPING, State.STOPPED):
        placement.check_room(replica)
    head_for_ready(replica, actor=actor)
    return replica


def head_for_ready(replica: Replica, *, actor: str, **changes: Any) -> None:
    """Wake as soon as there is room, which the caller has seen to under the GPUs' locks; a move's target as well."""
    set_goal(replica, Goal.READY, reason=placement.CLAIMED, actor=actor, **changes)
    for target in replica.replacements.filter(goal=Goal.SLEEPING):
        set_goal(_locked(target), Goal.READY, reason=placement.CLAIMED, actor=actor)


@transaction.atomic
def restart(replica: Replica, *, actor: str) -> Replica:
    """Stop, then start with the deployment's present settings. Its requests are held meanwhile."""
    replica = _locked(replica)
    if replica.state in (State.STOPPED, State.FAILED):
        return start(replica, actor=actor)
    _refuse_mid_move(replica)
    if not replica.restarting:
        set_goal(replica, Goal.STOPPED, reason="restart", actor=actor, restarting=True)
    return replica


@transaction.atomic
def move(replica: Replica, gpu: GPU, *, actor: str) -> Replica:
    """Blue-green: start a copy on `gpu`, and when every gateway knows it, drain and stop the source.

    Returns the target. Raises NoCapacity when both copies do not fit; the source is untouched then.
    """
    replica = _locked(replica)
    if replica.state not in (State.READY, State.SLEEPING) or replica.goal == Goal.STOPPED:
        raise IllegalTransition(f"a {replica.state} replica cannot move", state=replica.state, wanted="move")
    _refuse_mid_move(replica)
    if gpu.pk == replica.gpu_id:
        raise IllegalTransition(
            f"{replica} is on GPU {gpu.index} of {gpu.node} already", state=replica.state, wanted="move"
        )
    deployment = Deployment.objects.select_related("model", "runtime").get(pk=replica.deployment_id)
    return _place(deployment, actor=actor, gpu=gpu, replaces=replica)


def _refuse_mid_move(replica: Replica) -> None:
    if replica.replaces_id is not None or replica.replacements.exists():
        raise MoveInProgress(f"{replica} is one side of an unfinished move; cancel it first", replica=replica.pk)


@transaction.atomic
def cancel(replica: Replica, *, actor: str) -> Replica:
    """Undo what is under way: a load is stopped, a move keeps its source, a drain ends, a wake is not waited for."""
    replica = _locked(replica)
    for target in replica.replacements.exclude(goal=Goal.STOPPED):
        _head_for_stop(_locked(target), reason="cancelled", actor=actor, disposable=True)
        return replica
    if replica.replaces_id is not None or replica.state in (State.PENDING, State.STARTING):
        return _head_for_stop(replica, reason="cancelled", actor=actor, disposable=replica.replaces_id is not None)
    waits = replica.state == State.SLEEPING and replica.goal == Goal.READY
    if waits or replica.state in (State.DRAINING, State.WAKING):
        goal = Goal.READY if replica.state == State.DRAINING else Goal.SLEEPING
        set_goal(replica, goal, reason="cancelled", actor=actor, restarting=False)
        return replica
    raise IllegalTransition(f"nothing of a {replica.state} replica can be cancelled", state=replica.state)


@transaction.atomic
def delete(deployment: Deployment, *, actor: str) -> list[Replica]:
    """Stop every replica and forget them; the deployment's row goes with the last engine."""
    placed = list(deployment.placed.select_related("gpu", "deployment"))
    if not placed:
        deployment.delete()
        return []
    Deployment.objects.filter(pk=deployment.pk).update(deleting=True, seq=F("seq") + 1)
    return [_head_for_stop(_locked(row), reason="deleted", actor=actor, disposable=True) for row in placed]


def forget(replica: Replica) -> None:
    """Remove the row of a stopped, disposable replica, and a deployment that waited for it."""
    deployment, event = replica.deployment, {"kind": "replica", "id": replica.pk, "seq": replica.seq + 1, "row": None}
    with transaction.atomic():
        Replica.objects.filter(pk=replica.pk, state=State.STOPPED, goal=Goal.STOPPED, disposable=True).delete()
        transaction.on_commit(partial(events.publish, events.LIFECYCLE, event))
        gone_too = Deployment.objects.filter(pk=deployment.pk, deleting=True).exists()
        if gone_too and not deployment.placed.exists():
            gone = {"kind": "deployment", "id": deployment.pk, "seq": deployment.seq + 1, "row": None}
            deployment.delete()
            transaction.on_commit(partial(events.publish, events.LIFECYCLE, gone))
