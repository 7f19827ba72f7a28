"""What an engine is launched with, as a deployment says it now."""

from typing import Any

from models_app.models import Deployment, EngineRuntime
from models_app.placement import Need


def specification(deployment: Deployment, wanted: Need) -> dict[str, Any]:
    """All that decides how the engine is launched, frozen so that restarts and moves change nothing."""
    runtime: EngineRuntime = deployment.runtime
    return {
        "model_source": deployment.model.source,
        "revision": deployment.model.revision,
        "served_name": deployment.served_name,
        "deployment_name": deployment.name,
        "runtime_id": runtime.pk,
        "kind": runtime.kind,
        "executable": runtime.executable,
        "version": runtime.version,
        "kvcached": runtime.kvcached,
        "extra_args": list(deployment.extra_args),
        "environment": {**runtime.environment, **deployment.environment},
        "max_model_len": deployment.max_model_len,
        "tensor_parallel": deployment.tensor_parallel,
        "sleep_enabled": deployment.sleep_enabled,
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
        "kv_cap_bytes": deployment.kv_cap_bytes,
    }
