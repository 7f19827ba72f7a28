"""What an engine is launched with, as a deployment says it now, and the names under which its start is found."""

from pathlib import Path

from gpus.installation import installation_id
from models_app.engines import logs
from models_app.launch_settings import settings
from models_app.memory.placement import Need
from models_app.models import Deployment, Replica
from models_app.spec import LaunchSpecification


def specification(deployment: Deployment, wanted: Need) -> LaunchSpecification:
    """All that decides how the engine is launched, frozen so that restarts and moves change nothing."""
    return settings(deployment) | {
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
    }


def log_path(replica: Replica) -> Path:
    """Where this start of the replica writes."""
    return logs.path(replica.pk, replica.generation, replica.deployment_name)


def segment_prefix() -> str:
    """What the names of this installation's segments begin with."""
    return f"srdz_{installation_id()[:8]}_"
