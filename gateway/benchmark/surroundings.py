"""Where a benchmark measured: the machine, the engines and their flags, and what all on those GPUs held meanwhile."""

from pathlib import Path
from typing import Any

from django.conf import settings

from gpus.errors import TelemetryUnavailable
from gpus.models import GPU
from models_app.models import Replica
from models_app.node import frame
from models_app.node.frame import NodeFrame

DRIVER = Path("/proc/driver/nvidia/version")
_FLAGS = ("model_source", "revision", "kind", "version", "kvcached", "extra_args", "max_model_len", "tensor_parallel")
_MORE_FLAGS = ("kv_cap_bytes", "kv_floor_bytes", "sleep_enabled")


def environment(names: list[str], gpus: list[str]) -> dict[str, Any]:
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


def _replica(row: Replica) -> dict[str, Any]:
    spec: dict[str, Any] = dict(row.spec)
    return {
        "deployment": row.deployment.name,
        "replica": row.pk,
        "generation": row.generation,
        "state": str(row.state),
        "gpus": row.gpu_uuids,
        **{name: spec.get(name) for name in (*_FLAGS, *_MORE_FLAGS)},
    }


def moment(gpus: set[str], elapsed: float) -> dict[str, Any] | None:
    """What these GPUs and the engines on them hold now; None where no node tells."""
    try:
        frames = frame.latest()
    except TelemetryUnavailable:
        return None
    seen: dict[str, Any] = {"at_seconds": round(elapsed, 1), "gpus": {}, "replicas": {}}
    for each in frames:
        _add(seen, each, gpus)
    return seen


def _add(seen: dict[str, Any], node: NodeFrame, gpus: set[str]) -> None:
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
