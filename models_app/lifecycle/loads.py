"""The loads of a node as rows and the host tell them, for `load_order`."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from gpus import devices, processes
from gpus.models import GPU, Node
from models_app.engines import command
from models_app.errors import MemoryHeld
from models_app.lifecycle import load_order
from models_app.lifecycle.load_order import Candidate, Hold, Load, Scene
from models_app.memory import host_rows
from models_app.models import Replica
from models_app.states import Goal, State

GIB = 2**30
RECOVERY_SECONDS = 5.0
"""One that served and starts again so soon is waited for like one that could start now."""
_GIVES_WAY = Q(state=State.SLEEPING, goal=Goal.SLEEPING, replaces=None)
_ENGINE_BYTES = 4 * GIB  # of host RAM: a vLLM's processes, before weights
_SHARD_BYTES = 5 * GIB  # the largest file of weights that is commonly written


def hold(replica: Replica) -> Hold | None:
    """What a pending replica has to wait for before it may load; None when it may now."""
    shared = set(replica.gpu_uuids)
    names = [f"GPU {index}" for index in GPU.objects.filter(uuid__in=shared).values_list("index", flat=True)]
    return load_order.hold(_scene(replica.gpu.node), _candidate(replica), " and ".join(names) or "its GPU")


def _scene(node: Node) -> Scene:
    now, ram = timezone.now(), host_rows.ledger(node.name)
    soon = now + timedelta(seconds=RECOVERY_SECONDS)
    recovers = Q(state=State.FAILED, goal=Goal.READY, ready_at__isnull=False, restart_at__lte=soon)
    here = Replica.objects.filter(gpu__node=node).select_related("deployment")
    waiting = here.filter(recovers | Q(state=State.PENDING) & ~Q(goal=Goal.STOPPED))
    return Scene(
        now=now.timestamp(),
        patience_seconds=settings.TURN_SECONDS,
        host_free_bytes=min(processes.host_memory().available_bytes, devices.host_memory().available_bytes),
        loads=tuple(_load(row) for row in here.filter(state=State.STARTING)),
        candidates=tuple(_candidate(row) for row in waiting),
        sleepers_bytes=sum(
            host_rows.held(row, ram) or 0 for row in here.filter(_GIVES_WAY) if not row.deployment.in_force.stays
        ),
    )


def _load(row: Replica) -> Load:
    since, progressed_at = row.state_at, row.progress_at or row.state_at
    uuids = frozenset(row.gpu_uuids)
    return Load(row.pk, row.deployment.name, uuids, host_bytes(row), since.timestamp(), progressed_at.timestamp())


def _candidate(row: Replica) -> Candidate:
    return Candidate(
        id=row.pk,
        name=row.deployment.name,
        uuids=frozenset(row.gpu_uuids),
        host_bytes=host_bytes(row),
        since=row.state_at.timestamp(),
        serves=row.goal == Goal.READY,
        served=row.ready_at is not None,
        restarts=row.restarts,
        held=row.reason == MemoryHeld.code,
    )


def host_bytes(row: Replica) -> int:
    """Host RAM that its load needs: weights are read file by file, and what is read once may be forgotten."""
    match row.spec.get("kind"):
        case command.CUDA:
            return _ENGINE_BYTES + min(row.weights_bytes, _SHARD_BYTES) * max(len(row.gpu_uuids), 1)
        case command.CPU:
            return _ENGINE_BYTES + row.weights_bytes
    return GIB // 8  # the simulator holds no weights
