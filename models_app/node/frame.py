"""A node's frame with its engines: the devices of `gpus.telemetry`, and what each engine says of itself."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypedDict, cast

from gpus import devices, processes, telemetry
from gpus.installation import installation_id
from gpus.processes import EngineProcess
from gpus.readings import DeviceReading
from gpus.telemetry import Frame, GPUFrame, SegmentFrame
from models_app.engines import metrics
from models_app.engines.metrics import EngineMetrics
from models_app.lifecycle.orphans import keeping
from models_app.memory import ledger
from models_app.memory.governor import Decision
from models_app.memory.host_ram import HostLedger
from models_app.memory.ledger import Ledger
from models_app.node.host import HostReading
from models_app.node.owners import Owners


class EngineFrame(EngineMetrics):
    """A live engine. `memory_bytes` is by GPU UUID; None where the device does not tell."""

    marker: str
    replica_id: int
    generation: int
    pid: int
    memory_bytes: dict[str, int | None]
    tokens_per_second: float | None
    kv_limit_bytes: int | None
    """What the governor asks for; what is in force stands in the segment."""
    kv_limit_why: str | None
    """What holds the limit there: `free`, `share`, `claim` or `floor`."""


class OrphanFrame(TypedDict):
    """An engine of this installation that no replica owns, with what it tells of its launch."""

    marker: str
    pid: int
    name: str
    settings: str
    """The fingerprint of what it was launched with; empty where it does not tell."""
    gpu_uuids: list[str]
    port: int | None
    asleep: bool
    memory_bytes: dict[str, int | None]


class NodeFrame(Frame):
    """One node at one instant, engines included."""

    engines: list[EngineFrame]
    orphans: list[OrphanFrame]
    ledgers: dict[str, Ledger]
    """By GPU UUID; a GPU whose processes the driver does not tell has none."""
    host_ram: HostLedger | None
    """None until it was read once."""


def collect(
    readings: Iterable[DeviceReading] | None = None,
    owners: Owners | None = None,
    decisions: Mapping[str, Decision] | None = None,
    host: HostReading | None = None,
) -> NodeFrame:
    """Look at everything on this node now. Raises NvmlUnavailable."""
    owners = owners or Owners()
    found = list(devices.read_all() if readings is None else readings)
    engines = processes.find_all(installation_id())
    answers = metrics.scrape({marker: engine.url for marker, engine in engines.items() if engine.url})
    seen = telemetry.collect(found, engines)
    asleep = {marker for marker in engines if _sleeps(marker, answers.get(marker), owners)}
    if host is not None:
        host.see_to(engines.values(), asleep)
    told = {reading.uuid for reading in found if reading.processes is not None}
    return NodeFrame(
        **seen,
        engines=[
            _engine(engine, found, answers.get(marker), (decisions or {}).get(marker))
            for marker, engine in sorted(engines.items())
        ],
        orphans=[_orphan(engines[marker], found, asleep) for marker in sorted(owners.orphans(engines.keys()))],
        ledgers={
            gpu["uuid"]: _ledger(gpu, seen["segments"], owners, answers) for gpu in seen["gpus"] if gpu["uuid"] in told
        },
        host_ram=host.ledger(engines.keys(), asleep) if host is not None else None,
    )


def _sleeps(marker: str, answer: EngineMetrics | None, owners: Owners) -> bool:
    """As the engine says, else as its row."""
    owner = owners.by_marker.get(marker)
    told = answer["sleeping"] if answer is not None else None
    return bool(owner and owner.asleep) if told is None else told


def _ledger(
    gpu: GPUFrame, segments: Iterable[SegmentFrame], owners: Owners, answers: Mapping[str, EngineMetrics]
) -> Ledger:
    """Whether it sleeps an engine knows best; its row says so where it does not answer."""
    here = {process["marker"] for process in gpu["processes"] if process["marker"] is not None}
    known = {}
    for marker in here & owners.by_marker.keys():
        asleep = answers[marker]["sleeping"] if marker in answers else None
        owner = owners.by_marker[marker]
        known[marker] = owner if asleep is None else replace(owner, asleep=asleep)
    orphans = owners.orphans(here)
    nobodys = (process["pid"] for process in gpu["processes"] if process["marker"] in {None, *orphans})
    return ledger.ledger(gpu, segments, known, {pid: processes.name(pid) for pid in nobodys}, orphans)


def _orphan(engine: EngineProcess, readings: Iterable[DeviceReading], asleep: Collection[str]) -> OrphanFrame:
    seen, held = keeping.see(engine), _memory(engine, readings)
    return OrphanFrame(
        marker=seen.marker,
        pid=seen.pid,
        name=processes.name(seen.pid),
        settings=seen.settings,
        gpu_uuids=list(seen.gpu_uuids or held),
        port=seen.port,
        asleep=seen.marker in asleep,
        memory_bytes=held,
    )


def latest() -> list[NodeFrame]:
    """The newest frame of every node that sampled within the last five seconds. Raises TelemetryUnavailable."""
    return cast(list[NodeFrame], telemetry.latest())


def add_rates(frame: NodeFrame, before: NodeFrame | None) -> NodeFrame:
    """The same frame, with what each engine generated since the one before it, by the second."""
    if before is None or frame["seq"] <= before["seq"]:
        return frame
    elapsed_seconds = (frame["seq"] - before["seq"]) / 1000
    counts = {engine["marker"]: engine["generation_tokens"] for engine in before["engines"]}
    for engine in frame["engines"]:
        now, then = engine["generation_tokens"], counts.get(engine["marker"])
        if now is not None and then is not None and now >= then:  # a counter that fell began anew
            engine["tokens_per_second"] = (now - then) / elapsed_seconds
    return frame


def _engine(
    engine: EngineProcess,
    readings: Iterable[DeviceReading],
    answer: EngineMetrics | None,
    decision: Decision | None,
) -> EngineFrame:
    replica_id, _, generation = engine.marker.partition(":")
    return EngineFrame(
        **(answer or metrics.unknown()),
        marker=engine.marker,
        replica_id=int(replica_id),
        generation=int(generation),
        pid=engine.pid,
        memory_bytes=_memory(engine, readings),
        tokens_per_second=None,
        kv_limit_bytes=None if decision is None else decision.limit_bytes,
        kv_limit_why=None if decision is None else decision.why.value,
    )


def _memory(engine: EngineProcess, readings: Iterable[DeviceReading]) -> dict[str, int | None]:
    """Bytes the engine holds on each device it is on; one unknown process makes the sum unknown."""
    held: dict[str, int | None] = {}
    for reading in readings:
        sizes = [process.memory_bytes for process in reading.processes or () if process.pid in engine.pids]
        if sizes:
            known = [size for size in sizes if size is not None]
            held[reading.uuid] = sum(known) if len(known) == len(sizes) else None
    return held
