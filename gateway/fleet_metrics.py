"""GPUs and replicas as Prometheus text, beside the gateway's own numbers: what rows and the newest frames say."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, cast

from gateway.exposition import head, line
from gpus.errors import TelemetryUnavailable
from gpus.models import Node
from models_app import rows
from models_app.models import Replica
from models_app.node import frame
from models_app.node.frame import NodeFrame
from models_app.states import State

LEDGER_PARTS = ("free", "weights", "overhead", "kv_mapped", "kv_kept", "asleep", "orphan", "foreign", "unexplained")
Sample = tuple[dict[str, str], float | None]
"""Labels and a value; an unknown value is left out, for it is not zero."""


def text() -> bytes:
    """Everything, as of now. Where Redis is away the devices' readings are missing, never nought."""
    try:
        frames = frame.latest()
    except TelemetryUnavailable:
        frames = []
    replicas = list(rows.replicas().select_related("gpu__node", "deployment"))
    return (
        "\n".join([*_gpus(frames), *_ledgers(frames), *_replicas(replicas), *_engines(replicas, frames)]) + "\n"
    ).encode()


def _gauge(name: str, about: str, samples: Iterable[Sample], kind: str = "gauge") -> Iterator[str]:
    yield from head(f"sardeenz_{name}", kind, about)
    yield from (line(f"sardeenz_{name}", labels, value) for labels, value in samples if value is not None)


def _gpus(frames: list[NodeFrame]) -> Iterator[str]:
    seen = {gpu["uuid"]: gpu for frame in frames for gpu in frame["gpus"]}
    known = list(rows.gpus().select_related("node"))
    labels = {gpu.uuid: {"node": gpu.node.name, "gpu": str(gpu.index), "uuid": gpu.uuid} for gpu in known}
    yield from _gauge("gpu_memory_bytes", "Memory of the GPU.", ((labels[g.uuid], g.memory_bytes) for g in known))
    reserved = ((labels[gpu.uuid], rows.gpu_row(gpu)["reserved_bytes"]) for gpu in known)
    yield from _gauge("gpu_reserved_bytes", "What is promised to replicas.", reserved)
    here = [(labels[uuid], gpu) for uuid, gpu in seen.items() if uuid in labels]
    yield from _gauge(
        "gpu_memory_used_bytes", "What cannot be allocated now.", ((at, gpu["memory_used_bytes"]) for at, gpu in here)
    )
    yield from _gauge(
        "gpu_utilization_ratio", "How busy the device says it is.", ((at, gpu["utilization_ratio"]) for at, gpu in here)
    )


def _ledgers(frames: list[NodeFrame]) -> Iterator[str]:
    """A GPU whose driver tells no processes has none."""
    places = {gpu.uuid: {"node": gpu.node.name, "gpu": str(gpu.index)} for gpu in rows.gpus().select_related("node")}
    parts: list[Sample] = [
        (places[uuid] | {"uuid": uuid, "part": part}, cast(dict[str, Any], ledger)[f"{part}_bytes"])
        for frame in frames
        for uuid, ledger in frame["ledgers"].items()
        if uuid in places
        for part in LEDGER_PARTS
    ]
    yield from _gauge("gpu_ledger_bytes", "Whose the GPU's memory is; all parts are all of it.", parts)


def _replicas(replicas: list[Replica]) -> Iterator[str]:
    states = Counter((replica.deployment.served_name, State(replica.state)) for replica in replicas)
    models = sorted({model for model, _ in states})
    counted = (({"model": model, "state": state}, states[model, state]) for model in models for state in State)
    yield from _gauge("replicas", "Replicas by model and state.", counted)
    starts = ((_labels(replica), replica.generation) for replica in replicas)
    yield from _gauge("replica_starts_total", "Times its engine was started.", starts, "counter")
    failed = ((_labels(replica), replica.restarts) for replica in replicas)
    yield from _gauge("replica_failed_starts", "Failed starts since it last served for a while.", failed)
    asleep = Counter(
        (replica.gpu.node.name, replica.sleep_level) for replica in replicas if replica.state == State.SLEEPING
    )
    sleepers = (
        ({"node": node, "level": str(level)}, asleep[node, level])
        for node in Node.objects.order_by("name").values_list("name", flat=True)
        for level in (1, 2)
    )
    yield from _gauge("sleepers", "Replicas asleep on a node; level 1 holds host RAM.", sleepers)


def _engines(replicas: list[Replica], frames: list[NodeFrame]) -> Iterator[str]:
    engines = {engine["marker"]: engine for frame in frames for engine in frame["engines"]}
    live = [(_labels(replica), engines[replica.marker]) for replica in replicas if replica.marker in engines]
    running = ((labels, engine["running"]) for labels, engine in live)
    yield from _gauge("engine_running", "Requests the engine computes.", running)
    waiting = ((labels, engine["waiting"]) for labels, engine in live)
    yield from _gauge("engine_waiting", "Requests in the engine's own queue.", waiting)
    usage = ((labels, engine["kv_usage_ratio"]) for labels, engine in live)
    yield from _gauge("engine_kv_usage_ratio", "How full the engine's KV cache is.", usage)
    asked = ((labels, engine["kv_limit_bytes"]) for labels, engine in live)
    yield from _gauge("kv_limit_asked_bytes", "KV limit that is asked for; of one GPU.", asked)
    owners = {replica.ipc_name: _labels(replica) for replica in replicas if replica.ipc_name}
    segments = [segment for frame in frames for segment in frame["segments"] if segment["ipc_name"] in owners]
    for field, about in (("used", "KV memory that is mapped."), ("limit", "KV memory it may grow to.")):
        sums: Counter[str] = Counter()
        for segment in segments:
            sums[segment["ipc_name"]] += segment["used_bytes" if field == "used" else "limit_bytes"]
        yield from _gauge(f"kv_{field}_bytes", about, ((owners[name], size) for name, size in sums.items()))


def _labels(replica: Replica) -> dict[str, str]:
    gpu = replica.gpu
    where = {"node": gpu.node.name, "gpu": str(gpu.index)}
    return {"model": replica.deployment.served_name, "replica": str(replica.pk)} | where
