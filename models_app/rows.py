"""The rows of nodes, GPUs, deployments and replicas as the API, the websocket's first frame and every event show them.

One shape per thing, made here only. Building a row issues no query when the relations it reads were fetched with the
querysets below; `snapshot` and the views use these, `lifecycle` may pass any instance.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from django.db.models import Count, QuerySet, Sum

from gpus.cordon import Cordon, cordon_row
from gpus.models import GPU, Node
from models_app import compatibility
from models_app.compatibility import KnownProblemRow
from models_app.in_force import Source
from models_app.launch_settings import outdated
from models_app.models import Deployment, Replica, Reservation, Transition, counted
from models_app.states import Goal, State
from models_app.verb_hints import Verb, verbs

HIDDEN = "(hidden)"
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|KEY", re.IGNORECASE)
WaitReason = Literal["wake", "load", "room", "engine", "queue"]


class NodeRow(TypedDict):
    """A node is a host with GPUs; null stands for RAM of unknown size and for a node not seen yet."""

    id: int
    seq: int
    name: str
    address: str
    simulated: bool
    driver_version: str
    memory_bytes: int | None
    sleep_budget_bytes: int
    seen_at: str | None


class GPURow(TypedDict):
    """A device and what is promised of it."""

    id: int
    seq: int
    uuid: str
    node: int
    index: int
    name: str
    memory_bytes: int
    headroom_bytes: int
    reserved_bytes: int
    compute_capability: str
    parent_uuid: str
    simulated: bool
    enabled: bool
    cordon: Cordon | None
    present: bool


class WaitingRow(TypedDict):
    """Calls that wait for one deployment, at all gateways together; `since` is that of the oldest."""

    count: int
    since: str
    expected_at: str | None
    reason: WaitReason
    message: str


class DeploymentRow(TypedDict):
    """The intent, with how many replicas are placed for it."""

    id: int
    seq: int
    name: str
    served_name: str
    model: int
    model_name: str
    runtime: int
    runtime_name: str
    runtime_kind: str
    extra_args: list[str]
    environment: dict[str, str]
    max_model_len: int | None
    tensor_parallel: int
    sleep_enabled: bool
    idle_sleep_seconds: float | None
    idle_level_2_seconds: float | None
    idle_stop_seconds: float | None
    min_resident_seconds: float | None
    labels: dict[str, str]
    in_force: dict[str, Source]
    changes_at: str | None
    replicas: int
    placed: int
    priority: int
    pinned: bool
    max_concurrency: int | None
    queue_limit: int
    queue_seconds: float | None
    prefix_affinity: bool
    capture_until: str | None
    weights_bytes: int | None
    overhead_bytes: int | None
    kv_floor_bytes: int | None
    kv_cap_bytes: int | None
    kv_weight: int
    goal: Goal
    reason: str
    message: str
    deleting: bool
    created_at: str
    waiting: WaitingRow | None
    ignore_known_problems: bool
    known_problems: list[KnownProblemRow]


class ReservationRow(TypedDict):
    """Bytes of one GPU counted against a replica."""

    gpu: int
    held_bytes: int
    awake_bytes: int
    asleep_bytes: int


class ReplicaRow(TypedDict):
    """One placed copy and where it stands."""

    id: int
    seq: int
    deployment: int
    deployment_name: str
    served_name: str
    gpu: int
    gpu_uuids: list[str]
    state: State
    goal: Goal
    sleep_level: int
    generation: int
    marker: str
    reason: str
    message: str
    phase: str
    progress_ratio: float | None
    replaces: int | None
    port: int | None
    ipc_name: str
    restarts: int
    restart_at: str | None
    deadline_at: str | None
    created_at: str
    state_at: str
    ready_at: str | None
    weights_bytes: int | None
    overhead_bytes: int | None
    kv_floor_bytes: int | None
    kv_cap_bytes: int | None
    profile: dict[str, Any]
    sleep_enabled: bool
    reservations: list[ReservationRow]
    verbs: dict[Verb, str | None]
    restarting: bool
    outdated: list[str]
    disposable: bool


class LaunchRow(TypedDict):
    """What starts a replica's engine: the command, and the variables beside those of the host; secrets are hidden."""

    argv: list[str]
    environment: dict[str, str]


class TransitionRow(TypedDict):
    """What happened to a replica, when, why and by whom."""

    id: int
    replica: int | None
    deployment_name: str
    generation: int
    old: str
    new: str
    goal: str
    reason: str
    message: str
    fields: dict[str, Any]
    actor: str
    at: str


def nodes() -> QuerySet[Node]:
    return Node.objects.order_by("name")


def gpus() -> QuerySet[GPU]:
    """GPUs with what is held of each."""
    reserved = Sum("reservations__held_bytes", default=0)
    return GPU.objects.annotate(reserved_bytes=reserved).order_by("node__name", "index", "uuid")


def deployments() -> QuerySet[Deployment]:
    """Deployments with their model, runtime and number of placed replicas."""
    return (
        Deployment.objects.select_related("model", "runtime")
        .annotate(n_placed=Count("placed", filter=counted("placed__")))
        .order_by("name")
    )


def replicas() -> QuerySet[Replica]:
    """Replicas with their deployment, its model and runtime, and reservations."""
    rows = Replica.objects.select_related("deployment__model", "deployment__runtime")
    return rows.prefetch_related("reservations", "replacements").order_by("id")


def node_row(node: Node) -> NodeRow:
    return {
        "id": node.pk,
        "seq": node.seq,
        "name": node.name,
        "address": node.address,
        "simulated": node.simulated,
        "driver_version": node.driver_version,
        "memory_bytes": node.memory_bytes or None,
        "sleep_budget_bytes": node.sleep_budget_bytes,
        "seen_at": _instant(node.seen_at),
    }


def gpu_row(gpu: GPU) -> GPURow:
    """One device; the sum of its reservations is read when `gpus()` did not bring it."""
    reserved: int | None = getattr(gpu, "reserved_bytes", None)
    if reserved is None:
        reserved = Reservation.objects.filter(gpu=gpu).aggregate(held=Sum("held_bytes", default=0))["held"]
    return {
        "id": gpu.pk,
        "seq": gpu.seq,
        "uuid": gpu.uuid,
        "node": gpu.node_id,
        "index": gpu.index,
        "name": gpu.name,
        "memory_bytes": gpu.memory_bytes,
        "headroom_bytes": gpu.headroom_bytes,
        "reserved_bytes": int(reserved or 0),
        "compute_capability": gpu.compute_capability,
        "parent_uuid": gpu.parent_uuid,
        "simulated": gpu.simulated,
        "enabled": gpu.enabled,
        "cordon": cordon_row(gpu),
        "present": gpu.present,
    }


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables as everybody signed in may see them: what looks like a secret is hidden."""
    return {name: HIDDEN if looks_secret(name) else value for name, value in environment.items()}


def looks_secret(variable: str) -> bool:
    """Whether a variable's value is shown to nobody, by its name."""
    return _SECRET.search(variable) is not None


def deployment_row(deployment: Deployment, waiting: Mapping[int, WaitingRow]) -> DeploymentRow:
    """One intent and who waits for it; the number of placed replicas is read when `deployments()` did not bring it."""
    placed: int | None = getattr(deployment, "n_placed", None)
    return {
        "id": deployment.pk,
        "seq": deployment.seq,
        "name": deployment.name,
        "served_name": deployment.served_name,
        "model": deployment.model_id,
        "model_name": deployment.model.name,
        "runtime": deployment.runtime_id,
        "runtime_name": deployment.runtime.name,
        "runtime_kind": deployment.runtime.kind,
        "extra_args": deployment.extra_args,
        "environment": shown(deployment.environment),
        "max_model_len": deployment.max_model_len,
        "tensor_parallel": deployment.tensor_parallel,
        "sleep_enabled": deployment.sleep_enabled,
        "idle_sleep_seconds": deployment.idle_sleep_seconds,
        "idle_level_2_seconds": deployment.idle_level_2_seconds,
        "idle_stop_seconds": deployment.idle_stop_seconds,
        "min_resident_seconds": deployment.min_resident_seconds,
        "labels": deployment.labels,
        "in_force": deployment.governed.get("fields", {}),
        "changes_at": deployment.governed.get("changes_at"),
        "replicas": deployment.replicas,
        "placed": deployment.placed.filter(counted()).count() if placed is None else placed,
        "priority": deployment.priority,
        "pinned": deployment.pinned,
        "max_concurrency": deployment.max_concurrency,
        "queue_limit": deployment.queue_limit,
        "queue_seconds": deployment.queue_seconds,
        "prefix_affinity": deployment.prefix_affinity,
        "capture_until": _instant(deployment.capture_until),
        "weights_bytes": deployment.weights_bytes,
        "overhead_bytes": deployment.overhead_bytes,
        "kv_floor_bytes": deployment.kv_floor_bytes,
        "kv_cap_bytes": deployment.kv_cap_bytes,
        "kv_weight": deployment.kv_weight,
        "goal": Goal(deployment.goal),
        "reason": deployment.reason,
        "message": deployment.message,
        "deleting": deployment.deleting,
        "created_at": deployment.created_at.isoformat(),
        "waiting": waiting.get(deployment.pk),
        "ignore_known_problems": deployment.ignore_known_problems,
        "known_problems": compatibility.shown(deployment),
    }


def replica_row(replica: Replica) -> ReplicaRow:
    """One placed copy. Bytes come from its frozen spec, for a later edit of the deployment has not reached it."""
    spec, profile = replica.spec, replica.profile
    return {
        "id": replica.pk,
        "seq": replica.seq,
        "deployment": replica.deployment_id,
        "deployment_name": replica.deployment_name,
        "served_name": spec.get("served_name") or replica.deployment.served_name,
        "gpu": replica.gpu_id,
        "gpu_uuids": replica.gpu_uuids,
        "state": State(replica.state),
        "goal": Goal(replica.goal),
        "sleep_level": replica.sleep_level,
        "generation": replica.generation,
        "marker": replica.marker,
        "reason": replica.reason,
        "message": replica.message,
        "phase": replica.phase,
        "progress_ratio": replica.progress_ratio,
        "replaces": replica.replaces_id,
        "port": replica.port,
        "ipc_name": replica.ipc_name,
        "restarts": replica.restarts,
        "restart_at": _instant(replica.restart_at),
        "deadline_at": _instant(replica.deadline_at),
        "created_at": replica.created_at.isoformat(),
        "state_at": replica.state_at.isoformat(),
        "ready_at": _instant(replica.ready_at),
        "weights_bytes": measured("weights_bytes", profile, spec),
        "overhead_bytes": measured("overhead_bytes", profile, spec),
        "kv_floor_bytes": spec.get("kv_floor_bytes"),
        "kv_cap_bytes": spec.get("kv_cap_bytes"),
        "profile": {**profile},
        "sleep_enabled": replica.sleep_enabled,
        "reservations": [_reservation_row(reservation) for reservation in _by_gpu(replica.reservations.all())],
        "verbs": verbs(replica),
        "restarting": replica.restarting,
        "outdated": outdated(replica),
        "disposable": replica.disposable,
    }


def measured(name: str, profile: Mapping[str, Any], spec: Mapping[str, Any]) -> int | None:
    """What was seen, which may be nothing at all, else what was expected."""
    seen: int | None = profile.get(name)
    expected: int | None = spec.get(name)
    return expected if seen is None else seen


def transition_row(transition: Transition) -> TransitionRow:
    """One entry of the history."""
    return {
        "id": transition.pk,
        "replica": transition.replica_id,
        "deployment_name": transition.deployment_name,
        "generation": transition.generation,
        "old": transition.old,
        "new": transition.new,
        "goal": transition.goal,
        "reason": transition.reason,
        "message": transition.message,
        "fields": transition.fields,
        "actor": transition.actor,
        "at": transition.at.isoformat(),
    }


def _by_gpu(reservations: Iterable[Reservation]) -> list[Reservation]:
    return sorted(reservations, key=lambda reservation: reservation.gpu_id)


def _reservation_row(reservation: Reservation) -> ReservationRow:
    return {
        "gpu": reservation.gpu_id,
        "held_bytes": reservation.held_bytes,
        "awake_bytes": reservation.awake_bytes,
        "asleep_bytes": reservation.asleep_bytes,
    }


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
