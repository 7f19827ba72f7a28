"""A node's frame with its engines: the devices of `gpus.telemetry`, and what each engine says of itself."""

from collections.abc import Iterable
from typing import cast

from gpus import devices, processes, telemetry
from gpus.installation import installation_id
from gpus.processes import EngineProcess
from gpus.readings import DeviceReading
from gpus.telemetry import Frame
from models_app.engines import metrics
from models_app.engines.metrics import EngineMetrics


class EngineFrame(EngineMetrics):
    """A live engine. `memory_bytes` is by GPU UUID; None where the device does not tell."""

    marker: str
    replica_id: int
    generation: int
    pid: int
    memory_bytes: dict[str, int | None]
    tokens_per_second: float | None


class NodeFrame(Frame):
    """One node at one instant, engines included."""

    engines: list[EngineFrame]


def collect(readings: Iterable[DeviceReading] | None = None) -> NodeFrame:
    """Look at everything on this node now. Raises NvmlUnavailable."""
    found = list(devices.read_all() if readings is None else readings)
    engines = processes.find_all(installation_id())
    answers = metrics.scrape({marker: engine.url for marker, engine in engines.items() if engine.url})
    return NodeFrame(
        **telemetry.collect(found, engines),
        engines=[_engine(engine, found, answers.get(marker)) for marker, engine in sorted(engines.items())],
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


def _engine(engine: EngineProcess, readings: Iterable[DeviceReading], answer: EngineMetrics | None) -> EngineFrame:
    replica_id, _, generation = engine.marker.partition(":")
    return EngineFrame(
        **(answer or metrics.unknown()),
        marker=engine.marker,
        replica_id=int(replica_id),
        generation=int(generation),
        pid=engine.pid,
        memory_bytes=_memory(engine, readings),
        tokens_per_second=None,
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
