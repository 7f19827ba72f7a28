"""What an engine is launched with, as a deployment says it now, and the names under which its start is found."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpus import processes
from gpus.installation import fingerprint, installation_id
from models_app.engines import logs
from models_app.launch_settings import settings
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
    return settings(deployment) | {
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
