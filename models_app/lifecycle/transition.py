"""The only writer of a replica's state and goal, and of what happened to it.

A state changes by compare-and-swap alone, with a Transition row and the events in the same transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from models_app import rows
from models_app.errors import DeploymentDeleting, IllegalTransition, ReplicaMoved
from models_app.lifecycle import queues
from models_app.models import Deployment, Replica, Transition
from models_app.states import ALLOWED, TRANSIENT, Goal, State
from sardeenz import events

WORKER = "worker"
"""The actor of what a GPU's worker does by itself."""

_untold: ContextVar[dict[int, None] | None] = ContextVar("untold", default=None)


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
        as_read = Replica.objects.filter(
            pk=replica.pk, state=old, generation=replica.generation, goal=replica.goal, seq=replica.seq
        )
        if as_read.update(**changes, seq=F("seq") + 1) != 1:
            raise _moved(replica)
        _take_over(replica, changes)
        record(replica, old, reason, actor, message, fields)


def record(
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
        gpus=replica.gpu_uuids or [replica.gpu.uuid],
        actor=actor,
    )
    wakes = replica.state == State.WAKING
    claims = replica.state == State.SLEEPING and replica.goal == Goal.READY
    # Gateways hear of a wake once it is over, or lasts: to read their tables twice would only make it last longer.
    announce(replica, worker=not wakes, gateways=not wakes and not claims)


def announce(replica: Replica, *, worker: bool = False, gateways: bool = False) -> None:
    """Tell browsers, and where it concerns them the GPU's worker and the gateways, once the transaction commits."""
    if worker:
        transaction.on_commit(partial(queues.poke, replica.gpu.uuid))
    if gateways:
        transaction.on_commit(events.routes_changed)
    transaction.on_commit(partial(_tell_pages_of, replica.pk))


@contextmanager
def pages_last() -> Iterator[None]:
    """Within this browsers hear of changed replicas at its end, of each once: calls wait, and pages can."""
    token = _untold.set({})
    try:
        yield
    finally:
        tell_pages()
        _untold.reset(token)


def tell_pages() -> None:
    """Browsers hear now of what was put off, as the rows stand by now."""
    untold = _untold.get() or {}
    while untold:
        _publish(untold.popitem()[0])


def _tell_pages_of(replica_id: int) -> None:
    untold = _untold.get()
    if untold is None:
        _publish(replica_id)
    else:
        untold[replica_id] = None


def _publish(replica_id: int) -> None:
    replica = rows.replicas().filter(pk=replica_id).first()
    if replica is not None:
        event = {"kind": "replica", "id": replica.pk, "seq": replica.seq, "row": rows.replica_row(replica)}
        events.publish(events.LIFECYCLE, event)


def lock(replica: Replica) -> None:
    """Its row is ours until the transaction ends; GPUs and nodes are locked after it. Raises ReplicaMoved."""
    as_read = Replica.objects.select_for_update().filter(pk=replica.pk, seq=replica.seq)
    if not as_read.values_list("pk", flat=True):
        raise _moved(replica)


def locked(replica: Replica, *, wait: bool = True) -> Replica:
    """The row as it is now, ours until the transaction ends. Raises ReplicaMoved when it is gone, or not to be had."""
    replicas = Replica.objects.select_for_update(of=("self",), skip_locked=not wait).filter(pk=replica.pk)
    row = replicas.select_related("deployment", "gpu").first()
    if row is None:
        raise ReplicaMoved(f"replica {replica.pk} is gone", replica=replica.pk) if wait else _moved(replica)
    return row


def lock_deployment(deployment_id: int) -> Deployment:
    """The row as it is now and those of its replicas, ours until the transaction ends; GPUs are locked after them.

    All its replicas at once: a verb over several would lock the second one after the GPU of the first.
    """
    deployments = Deployment.objects.select_for_update(of=("self",)).select_related("model", "runtime")
    row = deployments.filter(pk=deployment_id).first()
    if row is None:
        raise DeploymentDeleting("the deployment is gone", deployment=deployment_id)
    list(row.placed.select_for_update(of=("self",)).order_by("pk").values_list("pk"))
    return row


def note(replica: Replica, **changes: Any) -> None:
    """Write observed facts (never state, goal or generation) and show them. Raises ReplicaMoved."""
    as_read = Replica.objects.filter(pk=replica.pk, seq=replica.seq)
    if as_read.update(**changes, seq=F("seq") + 1) != 1:
        raise _moved(replica)
    _take_over(replica, changes)
    announce(replica)


def _moved(replica: Replica) -> ReplicaMoved:
    return ReplicaMoved(f"replica {replica.pk} was changed meanwhile; look again", replica=replica.pk)


def _take_over(replica: Replica, changes: dict[str, Any]) -> None:
    """What was written, in the instance too: the compare-and-swap proved that the rest of the row is as it was read."""
    for name, value in changes.items():
        setattr(replica, name, value)
    replica.seq += 1


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
    changes |= {"goal": goal, "reason": reason, "message": message}
    as_read = Replica.objects.filter(pk=replica.pk, seq=replica.seq)
    if as_read.update(**changes, seq=F("seq") + 1) != 1:
        raise _moved(replica)
    _take_over(replica, changes)
    record(replica, replica.state, reason, actor, message, fields)
