"""What an engine is launched with, as a deployment says it now, and the names under which its start is found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from django.conf import settings

from gpus import devices, processes
from gpus.installation import engine_key, fingerprint, installation_id
from gpus.models import GPU
from models_app import launch_settings
from models_app.engines import command, logs
from models_app.memory.placement import Need
from models_app.models import Deployment, Replica
from models_app.spec import LaunchSpecification

LAUNCH: Final = "SARDEENZ_LAUNCH"
"""The variable by which an engine tells what it was launched with, should its row ever be lost."""
_PLACED: Final = frozenset({"gpu_uuids", "weights_bytes", "overhead_bytes", "kv_floor_bytes", "runtime_id"})
"""What is another one for each replica, or was worked out for it, and not said by its deployment."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What an engine was launched with, as its environment tells: a fingerprint, for settings may hold secrets."""

    settings: str
    gpu_uuids: tuple[str, ...]


def specification(deployment: Deployment, wanted: Need) -> LaunchSpecification:
    """All that decides how the engine is launched, frozen so that restarts and moves change nothing."""
    return launch_settings.settings(deployment) | {
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
    }


def told(spec: LaunchSpecification) -> str:
    """The value of LAUNCH for one engine."""
    return f"{settings_of(spec)} {','.join(spec['gpu_uuids'])}"


def settings_of(spec: LaunchSpecification) -> str:
    """A fingerprint of all that its deployment decided; the same of two launches with the same settings."""
    decided = {name: value for name, value in spec.items() if name not in _PLACED}
    return fingerprint(json.dumps(decided, sort_keys=True))


def launched(pid: int) -> Launched | None:
    """What this engine was launched with; None where it does not tell."""
    of, _, uuids = (processes.variable(pid, LAUNCH) or "").partition(" ")
    return Launched(of, tuple(uuids.split(","))) if of and uuids else None


def log_path(replica: Replica) -> Path:
    """Where this start of the replica writes."""
    return logs.path(replica.pk, replica.generation, replica.deployment_name)


def segment_name(marker: str) -> str:
    """The name of an engine's KV memory, by its marker."""
    return f"{segment_prefix()}{marker.replace(':', '_')}"


def segment_prefix() -> str:
    """What the names of this installation's segments begin with."""
    return f"srdz_{installation_id()[:8]}_"


def engine(replica: Replica, inherited: Mapping[str, str]) -> command.Launch:
    """The command line and environment of its engine, as its specification says; `inherited` is our own environment."""
    spec = replica.spec
    built = command.build(
        command.LaunchSpec(
            kind=spec["kind"],
            executable=spec["executable"],
            version=spec["version"],
            kvcached=spec["kvcached"],
            model_source=spec["model_source"],
            revision=spec["revision"],
            served_name=spec["served_name"],
            deployment_name=spec["deployment_name"],
            extra_args=spec["extra_args"],
            environment=spec["environment"],
            max_model_len=spec["max_model_len"],
            tensor_parallel=spec["tensor_parallel"],
            sleep_enabled=spec["sleep_enabled"],
            kv_cap_bytes=spec["kv_cap_bytes"],
            weights_bytes=spec["weights_bytes"],
            overhead_bytes=spec["overhead_bytes"],
            gpu_uuids=spec["gpu_uuids"],
            gpu_indices=_indices(spec["gpu_uuids"]),
            host=replica.address,
            port=int(replica.port or 0),
            api_key=engine_key(replica.pk, replica.generation),
            ipc_name=replica.ipc_name,
            marker=processes.marker_of(installation_id(), replica.pk, replica.generation),
            simulated_dir=str(settings.SIMULATED_DIR),
            segment_dir=str(settings.SEGMENT_DIR),
            simulated_gpus=devices.simulation(settings.GPUS) or "",
            node=replica.gpu.node.name,
            inherited=inherited,
        )
    )
    return replace(built, environment=built.environment | {LAUNCH: told(spec)})


def _indices(uuids: list[str]) -> list[int]:
    """The driver's numbers of the GPUs, for the versions of vLLM that cannot read UUIDs."""
    numbers = dict(GPU.objects.filter(uuid__in=uuids).values_list("uuid", "index"))
    return [numbers[uuid] for uuid in uuids if uuid in numbers]
