"""A GPU is emptied before maintenance: those who are there move away, one by one as other GPUs take them.

A drain is no record of its own: it is a cordoned GPU with `drain` set, and whoever is there still. The verb begins all
that has room now, and each tick what has found some since. What no other GPU takes serves on and says why; only where
that was asked for, it stops and waits for room elsewhere.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from gpus import cordon
from gpus.models import GPU, Drain
from models_app import decisions, rows
from models_app.errors import DeploymentDeleting, NeverFits, NoCapacity, ReplicaMoved
from models_app.lifecycle import verbs
from models_app.memory import host_rows, placement
from models_app.models import Deployment, Replica, Reservation, Transition
from models_app.states import Goal, State
from sardeenz import events
from sardeenz.errors import InvalidSpec, SardeenzError

DRAIN = "drain"
"""The reason on one that is moved away, or ended, because its GPU is emptied."""
STAYS = "drain_waits"
"""The reason on one that no other GPU takes."""
AGAIN_TIME = timedelta(minutes=5)
"""One whose move failed or was cancelled is moved again so much later."""

_WORDS = {
    "cordon": "{gpu} is cordoned ({why}) and takes nothing new",
    "drain": "{gpu} is cordoned ({why}) and emptied: replicas move away",
    "drained": "{gpu} is empty; it stays cordoned ({why})",
    "uncordon": "{gpu} takes new replicas again",
}
_SETTLED = ((State.READY, Goal.READY), (State.SLEEPING, Goal.SLEEPING))
_LOADS = (State.PENDING, State.STARTING)


@transaction.atomic
def drain(gpus: Iterable[GPU], *, actor: str, message: str = "", stop: bool = False) -> None:
    """Cordon these GPUs, and begin to move away whatever is there; with `stop` end what no other GPU takes."""
    gpus = list(gpus)
    there = Reservation.objects.filter(gpu__in=gpus).values("replica")
    _lock(Deployment.objects.filter(placed__in=there))
    _lock(Replica.objects.filter(pk__in=there))
    cordon.cordon(gpus, by=actor, message=message, drain=Drain.STOP if stop else Drain.MOVE)
    for gpu in _drained().filter(pk__in=[gpu.pk for gpu in gpus]):
        for replica in _there(gpu):
            _send_away(replica, gpu, actor)


def settle() -> None:
    """Go on with every drain; the control worker calls this at every tick."""
    for gpu in _drained():
        tried = Transition.objects.filter(reason=DRAIN, at__gte=timezone.now() - AGAIN_TIME)
        for replica in _there(gpu).exclude(pk__in=tried.values("replica")):
            with suppress(ReplicaMoved, DeploymentDeleting), transaction.atomic():
                _send_away(replica, gpu, gpu.cordoned_by)
        if not Reservation.objects.filter(gpu=gpu, held_bytes__gt=0).exists():
            cordon.end_drain(gpu, by=gpu.cordoned_by)
    stayed = Replica.objects.filter(reason=STAYS).exclude(reservations__gpu__in=_drained())
    for replica in stayed.select_related("deployment", "gpu"):
        with suppress(ReplicaMoved):
            verbs.set_goal(replica, Goal(replica.goal), reason="drain_over", actor="drain")


def _lock(rows_of: "QuerySet[Any]") -> None:
    """In the order of all verbs: deployments, replicas, GPUs; each by number."""
    list(rows_of.select_for_update(of=("self",)).order_by("pk").values_list("pk"))


def _drained() -> "QuerySet[GPU]":
    return GPU.objects.exclude(drain="").select_related("node").order_by("uuid")


def tell(sender: type[GPU], gpu: GPU, by: str, code: str, **_: object) -> None:
    """Keep in the history who cordoned a GPU and why, and show it to open pages."""
    name = f"GPU {gpu.index} of {gpu.node.name}"
    words = _WORDS[code].format(gpu=name, why=gpu.cordon_message)
    if code == "drain" and gpu.drain == Drain.STOP:
        words += ", or stop where no other GPU takes them"
    inputs = {"gpu": gpu.uuid, "message": gpu.cordon_message, "drain": gpu.drain}
    decisions.keep(decisions.Decided(decisions.Kind.CORDON, code, words, "", by, inputs=inputs))
    transaction.on_commit(partial(_publish, gpu.pk))


def _publish(number: int) -> None:
    for gpu in rows.gpus().filter(pk=number):
        events.publish(events.LIFECYCLE, {"kind": "gpu", "id": gpu.pk, "seq": gpu.seq, "row": rows.gpu_row(gpu)})


def _there(gpu: GPU) -> "QuerySet[Replica]":
    """Who is there with an engine, or on the way to one, and is no part of a move; the highest priority first."""
    there = Replica.objects.filter(reservations__gpu=gpu, disposable=False).exclude(goal=Goal.STOPPED)
    moving = Q(replaces__isnull=False) | Q(replacements__isnull=False)
    there = there.exclude(state=State.STOPPED, port=None).exclude(moving)
    return there.select_related("deployment", "gpu").order_by("-deployment__priority", "pk")


def _send_away(replica: Replica, gpu: GPU, actor: str) -> None:
    """One that serves or sleeps moves, one that has not served yet comes to be elsewhere; in between it waits."""
    standing = State(replica.state), Goal(replica.goal)
    fresh = replica.state in _LOADS or (replica.state == State.FAILED and replica.restart_at is not None)
    if not fresh and (standing not in _SETTLED or replica.reason in (host_rows.RESTS, placement.CONSENTED)):
        return
    why = f"GPU {gpu.index} of {gpu.node.name} is emptied ({gpu.cordon_message})"
    try:
        with transaction.atomic():
            if fresh:
                deployment = verbs.lock_deployment(replica.deployment_id)
                verbs.in_its_stead(deployment, replica, actor)
            else:
                verbs.move(replica, None, actor=actor)
                replica.refresh_from_db()
                verbs.set_goal(replica, Goal(replica.goal), reason=DRAIN, actor=actor, message=f"it moves away: {why}")
    except (NoCapacity, NeverFits, InvalidSpec) as error:
        _without_place(replica, gpu, why, error, actor)


def _without_place(replica: Replica, gpu: GPU, why: str, error: SardeenzError, actor: str) -> None:
    """No other GPU takes it: it stays and says so, or where that was asked for ends."""
    nowhere = f"{why}, and no other GPU takes it: {error.message}"
    if gpu.drain != Drain.STOP:
        _stay(replica, nowhere, actor)
    elif replica.state == State.SLEEPING:
        message = f"{nowhere}; it loads at its next request"
        verbs.set_goal(replica, Goal.SLEEPING, reason=host_rows.RESTS, actor=actor, message=message)
    else:
        message = f"{nowhere}; it stops, and its deployment waits for room"
        verbs.set_goal(replica, Goal.STOPPED, reason=DRAIN, actor=actor, message=message, disposable=True)


def _stay(replica: Replica, message: str, actor: str) -> None:
    """One entry in the history; afterwards the row alone says how it stands."""
    if replica.reason != STAYS and (replica.state, replica.goal) in _SETTLED:
        verbs.set_goal(replica, Goal(replica.goal), reason=STAYS, actor=actor, message=message)
    elif replica.reason == STAYS and replica.message != message:
        verbs.note(replica, message=message)
