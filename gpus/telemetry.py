"""One frame per node per second: what its devices and KV segments do now. Kept five seconds in Redis."""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypedDict, cast

from django.conf import settings
from redis import RedisError

from gpus import devices, kvcached
from gpus.errors import TelemetryUnavailable
from gpus.processes import EngineProcess
from gpus.readings import DeviceReading
from sardeenz import events, redis

TTL_SECONDS = 5
NODES = redis.key("telemetry", "nodes")

logger = logging.getLogger(__name__)


class HostFrame(TypedDict):
    """These are the sizes of the node's RAM at the time of the frame."""

    memory_total_bytes: int
    memory_available_bytes: int


class ProcessFrame(TypedDict):
    """A process on a device; `marker` is None for a foreign one."""

    pid: int
    memory_bytes: int | None
    marker: str | None


class GPUFrame(TypedDict):
    """A device or a MIG slice."""

    uuid: str
    index: int
    name: str
    parent_uuid: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_ratio: float | None
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None
    processes: list[ProcessFrame]


class SegmentFrame(TypedDict):
    """The KV memory of one engine, per GPU of it."""

    ipc_name: str
    limit_bytes: int
    used_bytes: int
    prealloc_bytes: int


class Frame(TypedDict):
    """One node at one instant. `seq` is in milliseconds since 1970; the browser drops what is not newer."""

    seq: int
    at: str
    node: str
    simulated: bool
    host: HostFrame
    gpus: list[GPUFrame]
    segments: list[SegmentFrame]


def collect(readings: Iterable[DeviceReading], engines: Mapping[str, EngineProcess]) -> Frame:
    """What the devices and segments of this node hold now; `engines`, by marker, own their processes on a device."""
    owners = {pid: marker for marker, engine in engines.items() for pid in engine.pids}
    host = devices.host_memory()
    now = time.time()
    return Frame(
        seq=int(now * 1000),
        at=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        node=settings.NODE,
        simulated=devices.is_simulated(),
        host=HostFrame(memory_total_bytes=host.total_bytes, memory_available_bytes=host.available_bytes),
        gpus=[_gpu(reading, owners) for reading in readings],
        segments=[cast(SegmentFrame, asdict(segment)) for segment in kvcached.read_all(settings.SEGMENT_DIR)],
    )


def publish(frame: Frame) -> None:
    """Keep the frame as its node's latest and send it to every open page; a Redis that is away is logged."""
    try:
        pipeline = redis.client().pipeline()
        pipeline.set(_latest_key(frame["node"]), json.dumps(frame), ex=TTL_SECONDS)
        pipeline.sadd(NODES, frame["node"])
        pipeline.execute()
    except (RedisError, OSError) as error:
        logger.warning("telemetry not kept: node=%s error=%s", frame["node"], error)
        return
    events.publish(events.TELEMETRY, frame)


def latest() -> list[Frame]:
    """The newest frame of every node that sampled within the last five seconds. Raises TelemetryUnavailable."""
    try:
        client = redis.client()
        nodes = sorted(cast(set[str], client.smembers(NODES)))
        texts = cast(list[str | None], client.mget([_latest_key(node) for node in nodes])) if nodes else []
    except (RedisError, OSError) as error:
        raise TelemetryUnavailable("the latest readings are not available: Redis does not answer") from error
    return [json.loads(text) for text in texts if text]


def _latest_key(node: str) -> str:
    return redis.key("telemetry", "latest", node)


def _gpu(reading: DeviceReading, owners: Mapping[int, str]) -> GPUFrame:
    return GPUFrame(
        uuid=reading.uuid,
        index=reading.index,
        name=reading.name,
        parent_uuid=reading.parent_uuid,
        memory_total_bytes=reading.memory_total_bytes,
        memory_used_bytes=reading.memory_used_bytes,
        utilization_ratio=reading.utilization_ratio,
        temperature_celsius=reading.temperature_celsius,
        power_watts=reading.power_watts,
        power_limit_watts=reading.power_limit_watts,
        processes=[
            ProcessFrame(pid=process.pid, memory_bytes=process.memory_bytes, marker=owners.get(process.pid))
            for process in reading.processes or ()
        ],
    )
