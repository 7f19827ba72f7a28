"""/metrics tells of GPUs and replicas too: what rows and the newest frames say, and nothing that is not known."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import fleet_metrics
from gateway.fleet_metrics import LEDGER_PARTS
from gpus import telemetry
from gpus.telemetry import GPUFrame, ProcessFrame
from models_app.memory.ledger import Owner, ledger
from models_app.models import Replica
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(fleet_metrics.text().decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(name: str, **labels: str) -> float | None:
    found = [number for (said, at), number in samples().items() if said == name and labels.items() <= set(at)]
    assert len(found) <= 1, (name, labels)
    return found[0] if found else None


def publish(replica: Replica, ledgers: Any = None, asked: int | None = None) -> None:
    uuid, now = replica.gpu.uuid, datetime.now(UTC)
    gpu = {"uuid": uuid, "memory_used_bytes": 30 * GIB, "utilization_ratio": 0.25, "processes": []}
    engine = {"marker": replica.marker, "running": 3, "waiting": None, "kv_usage_ratio": 0.5, "kv_limit_bytes": asked}
    segment = {"ipc_name": replica.ipc_name, "limit_bytes": 20 * GIB, "used_bytes": 5 * GIB, "prealloc_bytes": 0}
    frame: Any = {"seq": 1, "at": now.isoformat(), "node": replica.gpu.node.name}
    telemetry.publish(frame | {"gpus": [gpu], "segments": [segment], "engines": [engine], "ledgers": ledgers or {}})


def test_gpus_engines_and_kv_memory_are_told() -> None:
    replica = factories.replica(restarts=2, generation=4)
    publish(replica)
    here = {"gpu": "0", "node": replica.gpu.node.name}
    assert value("sardeenz_gpu_memory_bytes", **here) == 80 * GIB
    assert value("sardeenz_gpu_memory_used_bytes", **here) == 30 * GIB
    assert value("sardeenz_gpu_reserved_bytes", **here) == 18 * GIB
    assert value("sardeenz_gpu_utilization_ratio", **here) == 0.25
    of = {"model": replica.deployment.served_name, "replica": str(replica.pk)}
    assert value("sardeenz_engine_running", **of) == 3
    assert value("sardeenz_engine_kv_usage_ratio", **of) == 0.5
    assert (value("sardeenz_kv_used_bytes", **of), value("sardeenz_kv_limit_bytes", **of)) == (5 * GIB, 20 * GIB)
    assert value("sardeenz_replica_starts_total", **of) == 4
    assert value("sardeenz_replica_failed_starts", **of) == 2


def test_states_and_sleepers_are_counted() -> None:
    deployment = factories.deployment(name="chat")
    factories.replica(deployment=deployment)
    factories.replica(State.SLEEPING, deployment=deployment, sleep_level=2)
    assert value("sardeenz_replicas", model="chat", state="ready") == 1
    assert value("sardeenz_replicas", model="chat", state="sleeping") == 1
    assert value("sardeenz_replicas", model="chat", state="failed") == 0
    assert (value("sardeenz_sleepers", level="1"), value("sardeenz_sleepers", level="2")) == (0, 1)


def test_what_is_not_known_is_missing() -> None:
    replica = factories.replica()
    of = {"replica": str(replica.pk)}
    assert value("sardeenz_gpu_memory_used_bytes", gpu="7") is None
    publish(replica)
    assert value("sardeenz_engine_waiting", **of) is None
    assert value("sardeenz_kv_limit_asked_bytes", **of) is None
    assert value("sardeenz_gpu_ledger_bytes", part="free") is None


def test_a_gpu_s_ledger_and_the_limit_asked_for_are_told_beside_the_one_in_force() -> None:
    replica = factories.replica()
    uuid = replica.gpu.uuid
    device = GPUFrame(
        uuid=uuid,
        index=0,
        name="",
        parent_uuid="",
        memory_total_bytes=80 * GIB,
        memory_used_bytes=30 * GIB,
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        power_limit_watts=None,
        processes=[
            ProcessFrame(pid=7, marker=replica.marker, memory_bytes=18 * GIB),
            ProcessFrame(pid=8, marker=None, memory_bytes=13 * GIB),
        ],
    )
    owner = Owner(replica.marker, "chat", "", asleep=False, weights_bytes=16 * GIB)
    publish(replica, {uuid: ledger(device, [], {replica.marker: owner}, {8: "top"})}, asked=12 * GIB)
    parts = {part: value("sardeenz_gpu_ledger_bytes", uuid=uuid, gpu="0", part=part) for part in LEDGER_PARTS}
    assert {part: size for part, size in parts.items() if size} == {
        "free": 50 * GIB,
        "weights": 16 * GIB,
        "overhead": 2 * GIB,
        "foreign": 13 * GIB,
        "unexplained": -GIB,
    }
    assert sum(size or 0 for size in parts.values()) == 80 * GIB
    of = {"replica": str(replica.pk)}
    assert (value("sardeenz_kv_limit_asked_bytes", **of), value("sardeenz_kv_limit_bytes", **of)) == (
        12 * GIB,
        20 * GIB,
    )
