"""What an engine is launched with, as a deployment says it now."""

from models_app.launch_settings import settings
from models_app.memory.placement import Need
from models_app.models import Deployment
from models_app.spec import LaunchSpecification


def specification(deployment: Deployment, wanted: Need) -> LaunchSpecification:
    """All that decides how the engine is launched, frozen so that restarts and moves change nothing."""
    return settings(deployment) | {
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
    }
