"""Rows for tests: plain functions, keyword arguments, a sensible value for whatever is not said."""

from datetime import timedelta
from itertools import count
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from gateway.access import keys
from gateway.models import Alias, AliasTarget, ApiKey, Team
from gpus.models import GPU, Node
from models_app.models import Deployment, EngineRuntime, Model, Replica, Reservation
from models_app.states import AWAKE, TRANSIENT, Goal, State

GIB = 1024**3
_serial = count(1)


def user(name: str = "", **fields: Any) -> User:
    """A person who may sign in with the password "pw"."""
    return User.objects.create_user(name or f"user-{next(_serial)}", password="pw", **fields)


def node(**fields: Any) -> Node:
    """This test's own node, made once."""
    name = fields.pop("name", settings.NODE)
    defaults = {"simulated": True, "memory_bytes": 256 * GIB, "sleep_budget_bytes": 128 * GIB}
    return Node.objects.get_or_create(name=name, defaults=defaults | fields)[0]


def gpu(**fields: Any) -> GPU:
    """A simulated 80 GiB GPU; the first of a node has index 0."""
    home = fields.pop("node", None) or node()
    index = fields.pop("index", home.gpus.count())
    given = {
        "uuid": f"GPU-sim-{home.name}-{index}",
        "name": "Simulated 80 GiB",
        "memory_bytes": 80 * GIB,
        "headroom_bytes": 1 * GIB,
        "compute_capability": "9.0",
        "simulated": True,
    }
    return GPU.objects.create(node=home, index=index, **(given | fields))


def model(**fields: Any) -> Model:
    """A model nobody has to download."""
    name = fields.pop("name", None) or f"model-{next(_serial)}"
    return Model.objects.create(name=name, **({"source": f"sample/{name}"} | fields))


def runtime(**fields: Any) -> EngineRuntime:
    """The simulator, made once, or another one by name."""
    name = fields.pop("name", "simulator")
    defaults = {"kind": EngineRuntime.Kind.SIMULATOR, "executable": "", "version": "0.30.0"}
    return EngineRuntime.objects.get_or_create(name=name, defaults=defaults | fields)[0]


def deployment(**fields: Any) -> Deployment:
    """A 16 GiB model on the simulator."""
    name = fields.pop("name", None) or f"deployment-{next(_serial)}"
    given = {
        "served_name": name,
        "weights_bytes": 16 * GIB,
        "overhead_bytes": 1 * GIB,
        "kv_floor_bytes": 1 * GIB,
        "kv_cap_bytes": 32 * GIB,
    }
    fields.setdefault("model", None)
    home = fields.pop("model") or model(name=f"{name}-weights")
    engine = fields.pop("runtime", None) or runtime()
    return Deployment.objects.create(name=name, model=home, runtime=engine, **(given | fields))


def spec(of: Deployment, *gpus: GPU, **changes: Any) -> dict[str, Any]:
    """What lifecycle freezes in a replica."""
    engine = of.runtime
    return {
        "model_source": of.model.source,
        "revision": of.model.revision,
        "served_name": of.served_name,
        "deployment_name": of.name,
        "runtime_id": engine.pk,
        "kind": str(engine.kind),
        "executable": engine.executable,
        "version": engine.version,
        "kvcached": engine.kvcached,
        "extra_args": list(of.extra_args),
        "environment": {**engine.environment, **of.environment},
        "max_model_len": of.max_model_len,
        "tensor_parallel": of.tensor_parallel,
        "sleep_enabled": of.sleep_enabled,
        "kv_floor_bytes": of.kv_floor_bytes,
        "kv_cap_bytes": of.kv_cap_bytes,
        "weights_bytes": of.weights_bytes,
        "overhead_bytes": of.overhead_bytes,
        "gpu_uuids": [gpu.uuid for gpu in gpus],
    } | changes


def replica(state: State = State.READY, **fields: Any) -> Replica:
    """A placed copy in `state` with its reservation; no process stands behind it."""
    of = fields.pop("deployment", None) or deployment()
    home = fields.pop("gpu", None) or GPU.objects.first() or gpu()
    serial = next(_serial)
    given: dict[str, Any] = {
        "goal": {State.SLEEPING: Goal.SLEEPING, State.STOPPED: Goal.STOPPED}.get(state, Goal.READY),
        "deadline_at": timezone.now() + timedelta(minutes=30) if state in TRANSIENT else None,
        "state_at": timezone.now(),
        "spec": spec(of, home),
        "address": home.node.address,
        "port": None if state == State.STOPPED else 10000 + serial,
        "ipc_name": f"srdz_test_{serial}",
    }
    made = Replica.objects.create(deployment=of, gpu=home, state=state, **(given | fields))
    awake, asleep = _needs(of)
    held = 0 if state == State.STOPPED else awake if state in AWAKE else asleep
    Reservation.objects.create(replica=made, gpu=home, awake_bytes=awake, asleep_bytes=asleep, held_bytes=held)
    return made


def _needs(of: Deployment) -> tuple[int, int]:
    overhead = of.overhead_bytes or 0
    return (of.weights_bytes or 0) + overhead + (of.kv_floor_bytes or 0), overhead


def api_key(*scopes: str, **fields: Any) -> tuple[ApiKey, str]:
    """A key for `scopes`, inference unless told, and its plain text."""
    return keys.create(fields.pop("name", "test"), scopes or ("inference",), **fields)


def team(name: str = "", **fields: Any) -> Team:
    """A team without limits."""
    return Team.objects.create(name=name or f"team-{next(_serial)}", **fields)


def alias(name: str, *targets: tuple[Deployment, int]) -> Alias:
    """Another name for deployments, each with its weight, in fallback order."""
    made = Alias.objects.create(name=name)
    for place, (target, weight) in enumerate(targets):
        AliasTarget.objects.create(alias=made, deployment=target, weight=weight, place=place)
    return made
