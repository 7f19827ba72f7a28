"""What loads, sleeps and wakes were measured to take, kept for the next of their kind: one row for each type of GPU.

A replica's own profile holds what was measured of it. The tick keeps that, and a new replica begins with what is known
of its kind, so that whoever asks what a load or a sleep costs is told a measured figure before its first one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict

from models_app.launch_settings import settings
from models_app.models import Deployment, MemoryProfile, Replica
from models_app.spec import LaunchSpecification, Profile
from models_app.states import State

SECONDS: Final = (
    "load_seconds",
    "first_sleep_seconds",
    "sleep_seconds",
    "wake_seconds",
    "deep_sleep_seconds",
    "deep_wake_seconds",
)
_FIGURES: Final = (*SECONDS, "graphs_bytes", "host_bytes", "host_asleep_bytes")
_kept: dict[int, dict[str, Any]] = {}
"""By replica: what this process has kept of it already."""


class ProfileRow(TypedDict):
    """What was measured of one kind on one type of GPU, beside what was expected. Null is not measured yet.

    Simulated ones teach seconds alone. `deep` is sleep level 2; `host_bytes` were held before any sleep.
    """

    id: int
    model: str
    revision: str
    version: str
    max_model_len: int | None
    tensor_parallel: int
    extra_args: list[str]
    gpu_name: str
    simulated: bool
    expected_weights_bytes: int | None
    weights_bytes: int
    expected_overhead_bytes: int | None
    overhead_bytes: int
    graphs_bytes: int | None
    load_seconds: float
    first_sleep_seconds: float | None
    sleep_seconds: float | None
    wake_seconds: float | None
    deep_sleep_seconds: float | None
    deep_wake_seconds: float | None
    host_bytes: int | None
    host_asleep_bytes: int | None
    measured_at: str


def about(spec: LaunchSpecification, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that a measured profile is valid for, but the GPU; dtype and quantisation are flags, or the files' own."""
    valid = {
        "source": spec["model_source"],
        "revision": spec["revision"],
        "stored_bytes": facts.get("weights_bytes"),  # other files in the same folder take other bytes
        "runtime": spec["kind"],
        "version": spec["version"],
        "max_model_len": spec["max_model_len"],
        "tensor_parallel": spec["tensor_parallel"],
        "extra_args": spec["extra_args"],
    }
    return valid if spec["kvcached"] else valid | {"kvcached": False}


def key(spec: LaunchSpecification, facts: Mapping[str, Any]) -> str:
    """A hash of everything that decides how many bytes a load takes."""
    return hashlib.sha256(json.dumps(about(spec, facts), sort_keys=True).encode()).hexdigest()


def measured(deployment: Deployment) -> MemoryProfile | None:
    """The bytes that one of its kind was measured to take, on the type of GPU where they are most; else None."""
    rows = MemoryProfile.objects.filter(key=key(settings(deployment), deployment.model.facts), simulated=False)
    return max(rows, key=lambda row: row.weights_bytes + row.overhead_bytes, default=None)


def known(spec: LaunchSpecification, facts: Mapping[str, Any], gpu_name: str) -> Profile:
    """What a new replica of this kind begins with, on this type of GPU."""
    row = MemoryProfile.objects.filter(key=key(spec, facts), gpu_name=gpu_name).first()
    if row is None:
        return {}
    found: dict[str, Any] = {name: getattr(row, name) for name in SECONDS if getattr(row, name) is not None}
    if row.host_bytes is not None and row.host_asleep_bytes is not None:
        found["copy_bytes"] = max(row.host_asleep_bytes - row.host_bytes, 0)
    told: Profile = found  # type: ignore[assignment]
    return told


def renewed(replica: Replica, spec: LaunchSpecification, facts: Mapping[str, Any]) -> Profile:
    """Its profile at a start with another specification: what was measured of the old one says nothing any more."""
    if key(replica.spec, facts) == key(spec, facts):
        return replica.profile
    rest: Any = {name: value for name, value in replica.profile.items() if name not in _FIGURES}
    told: Profile = rest | known(spec, facts, replica.gpu.name)
    return told


def keep() -> None:
    """Write down what was measured of replicas since the last look, by kind and type of GPU."""
    rows = Replica.objects.filter(state__in=[State.READY, State.SLEEPING]).select_related("deployment__model", "gpu")
    seen = set()
    for row in rows.order_by("pk"):
        seen.add(row.pk)
        found = {name: row.profile[name] for name in _FIGURES if row.profile.get(name) is not None}
        if "load_seconds" in found and _kept.get(row.pk) != found:
            _write(row, found)
            _kept[row.pk] = found
    for gone in _kept.keys() - seen:
        del _kept[gone]


def _write(row: Replica, found: dict[str, Any]) -> None:
    """The bytes of real GPUs come with the load; of simulated ones there are none, and seconds are kept alone."""
    facts = row.deployment.model.facts
    mine = MemoryProfile.objects.filter(key=key(row.spec, facts), gpu_name=row.gpu.name)
    if mine.update(**found) or not row.gpu.simulated:
        return
    expected = {"weights_bytes": row.weights_bytes, "overhead_bytes": int(row.spec.get("overhead_bytes") or 0)}
    MemoryProfile.objects.create(
        key=key(row.spec, facts),
        gpu_name=row.gpu.name,
        simulated=True,
        about=about(row.spec, facts),
        estimated=expected,
        **expected,
        **found,
    )


def shown(rows: Iterable[MemoryProfile]) -> list[ProfileRow]:
    """What was measured beside what was expected, for pages and programs."""
    return [_shown(row) for row in rows]


def _shown(row: MemoryProfile) -> ProfileRow:
    valid = row.about
    return {
        "id": row.pk,
        "model": str(valid.get("source", "")),
        "revision": str(valid.get("revision", "")),
        "version": str(valid.get("version", "")),
        "max_model_len": valid.get("max_model_len"),
        "tensor_parallel": valid.get("tensor_parallel") or 1,
        "extra_args": list(valid.get("extra_args") or ()),
        "gpu_name": row.gpu_name,
        "simulated": row.simulated,
        "expected_weights_bytes": row.estimated.get("weights_bytes"),
        "weights_bytes": row.weights_bytes,
        "expected_overhead_bytes": row.estimated.get("overhead_bytes"),
        "overhead_bytes": row.overhead_bytes,
        "graphs_bytes": row.graphs_bytes,
        "load_seconds": row.load_seconds,
        "first_sleep_seconds": row.first_sleep_seconds,
        "sleep_seconds": row.sleep_seconds,
        "wake_seconds": row.wake_seconds,
        "deep_sleep_seconds": row.deep_sleep_seconds,
        "deep_wake_seconds": row.deep_wake_seconds,
        "host_bytes": row.host_bytes,
        "host_asleep_bytes": row.host_asleep_bytes,
        "measured_at": row.measured_at.isoformat(),
    }
