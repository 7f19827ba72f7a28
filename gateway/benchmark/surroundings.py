"""Where a benchmark measured: the machine, the engines and their flags, and what all on those GPUs held meanwhile."""

from pathlib import Path
from typing import Any, TypedDict, cast

from django.conf import settings

from gpus.errors import TelemetryUnavailable
from gpus.models import GPU
from models_app.models import Replica
from models_app.node import frame
from models_app.node.frame import NodeFrame

DRIVER = Path("/proc/driver/nvidia/version")
_ENGINE = ("model_source", "revision", "kind", "version", "kvcached", "extra_args", "max_model_len", "tensor_parallel")
_FLAGS = (*_ENGINE, "kv_cap_bytes", "kv_floor_bytes", "sleep_enabled")


class GpuMoment(TypedDict):
    """What a GPU held and did at one instant."""

    memory_used_bytes: int | None
    utilization_ratio: float | None
    power_watts: float | None


class ReplicaMoment(TypedDict):
    """What an engine held and did at one instant."""

    memory_bytes: int | None
    kv_limit_bytes: int | None
    running: int | None
    waiting: int | None


class Moment(TypedDict):
    """GPUs by UUID and replicas by id at one instant."""

    at_seconds: float
    gpus: dict[str, GpuMoment]
    replicas: dict[str, ReplicaMoment]


class MeasuredGpu(TypedDict):
    """A GPU on which something was measured."""

    uuid: str
    node: str
    index: int
    name: str
    memory_bytes: int
    simulated: bool


class MeasuredReplica(TypedDict):
    """A replica there, with its engine and flags."""

    deployment: str
    replica: int
    generation: int
    state: str
    gpus: list[str]
    model_source: str | None
    revision: str | None
    kind: str | None
    version: str | None
    kvcached: Any
    extra_args: Any
    max_model_len: int | None
    tensor_parallel: int | None
    kv_cap_bytes: int | None
    kv_floor_bytes: int | None
    sleep_enabled: bool | None


class Environment(TypedDict, total=False):
    """Where it was measured; empty until a benchmark has begun."""

    gpus: list[MeasuredGpu]
    driver: str | None
    node: str
    replicas: list[MeasuredReplica]
    neighbours: list[MeasuredReplica]


def environment(names: list[str], gpus: list[str]) -> Environment:
    """As it is now. Neighbours are replicas on the same GPUs that are not asked for anything."""
    rows = [
        row
        for row in Replica.objects.select_related("deployment", "gpu")
        if row.deployment.name in names or set(row.gpu_uuids or [row.gpu.uuid]) & set(gpus)
    ]
    devices = GPU.objects.select_related("node").filter(uuid__in=gpus)
    return {
        "gpus": [
            {
                "uuid": gpu.uuid,
                "node": gpu.node.name,
                "index": gpu.index,
                "name": gpu.name,
                "memory_bytes": gpu.memory_bytes,
                "simulated": gpu.simulated,
            }
            for gpu in devices
        ],
        "driver": driver(),
        "node": settings.NODE,
        "replicas": [_replica(row) for row in rows if row.deployment.name in names],
        "neighbours": [_replica(row) for row in rows if row.deployment.name not in names],
    }


def driver() -> str | None:
    """The NVIDIA driver of this node; None where there is none."""
    try:
        return DRIVER.read_text().splitlines()[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return None


def _replica(row: Replica) -> MeasuredReplica:
    known = {
        "deployment": row.deployment.name,
        "replica": row.pk,
        "generation": row.generation,
        "state": str(row.state),
        "gpus": row.gpu_uuids,
    }
    return cast(MeasuredReplica, known | {name: row.spec.get(name) for name in _FLAGS})


def moment(gpus: set[str], elapsed: float) -> Moment | None:
    """What these GPUs and the engines on them hold now; None where no node tells."""
    try:
        frames = frame.latest()
    except TelemetryUnavailable:
        return None
    seen = Moment(at_seconds=round(elapsed, 1), gpus={}, replicas={})
    for each in frames:
        _add(seen, each, gpus)
    return seen


def _add(seen: Moment, node: NodeFrame, gpus: set[str]) -> None:
    for gpu in node["gpus"]:
        if gpu["uuid"] in gpus:
            seen["gpus"][gpu["uuid"]] = {
                "memory_used_bytes": gpu["memory_used_bytes"],
                "utilization_ratio": gpu["utilization_ratio"],
                "power_watts": gpu["power_watts"],
            }
    for engine in node["engines"]:
        held = {uuid: size for uuid, size in engine["memory_bytes"].items() if uuid in gpus}
        if held:
            known = [size for size in held.values() if size is not None]
            seen["replicas"][str(engine["replica_id"])] = {
                "memory_bytes": sum(known) if len(known) == len(held) else None,
                "kv_limit_bytes": engine["kv_limit_bytes"],
                "running": engine["running"],
                "waiting": engine["waiting"],
            }
