"""The settings that an engine is launched with: as its deployment says them now, and which of them it was not given."""

from collections.abc import Mapping
from typing import Any

from models_app import compatibility
from models_app.models import Deployment, EngineRuntime, Replica
from models_app.spec import LaunchSpecification
from models_app.states import State
from sardeenz.labels import label

_PART_OF = {
    "model_source": "model",
    "revision": "model",
    "deployment_name": "name",
    "runtime_id": "runtime",
    "kind": "runtime",
    "executable": "runtime",
    "version": "runtime",
    "kvcached": "runtime",
}
"""What people change when they change one of these."""


def settings(deployment: Deployment) -> LaunchSpecification:
    """All that a deployment, its model and its runtime decide; its bytes may have to be worked out."""
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
        "sleep_enabled": compatibility.may_sleep(deployment),
        "kv_cap_bytes": deployment.launch_cap_bytes,
    }


def outdated(replica: Replica) -> list[str]:
    """What people call the settings that its deployment has changed since; none of a stopped one, it starts with them.

    Reads the deployment with its model and runtime.
    """
    if replica.state == State.STOPPED:
        return []
    spec: Mapping[str, Any] = replica.spec
    deployment = replica.deployment
    now: dict[str, Any] = {**settings(deployment)}
    said = {name: getattr(deployment, name) for name in ("weights_bytes", "overhead_bytes")}
    said |= {"kv_floor_bytes": deployment.in_force.kv_floor_bytes}
    now |= {name: size for name, size in said.items() if size}  # else it was, and is, worked out
    changed = [name for name, value in now.items() if spec.get(name, value) != value]
    return list(dict.fromkeys(label(_PART_OF.get(name, name)) for name in changed))
