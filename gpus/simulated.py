"""Simulated GPUs: memory and processes without a device. Needs no Django; the simulator claims memory here.

A claim is one small file per (GPU, pid) that holds the process's start time and bytes. A claim whose process is gone
counts for nothing, so a killed engine frees its memory as on a real device, and readers remove it. What a simulated
device cannot know (utilisation, temperature, power) is None.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpus import processes
from gpus.errors import InvalidGpus, SimulatedOutOfMemory
from gpus.processes import HostMemory
from gpus.readings import DeviceProcess, DeviceReading
from sardeenz.locks import locked

GPUS = "SARDEENZ_SIMULATED_GPUS"
"""The variable that tells an engine the sizes of the simulated devices, as `2x80GiB`."""

_GROUP = re.compile(r"^(\d{1,3})x(\d+(?:\.\d+)?)([KMGT])(?:iB|B)?$", re.IGNORECASE)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_INDEX = re.compile(r"^GPU-sim-.+-(\d+)$")


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """A device that exists only as a size."""

    uuid: str
    index: int
    name: str
    memory_bytes: int


def parse(spec: str, node: str = "local") -> list[SimulatedDevice]:
    """The devices of `2x80GiB` or `1x80GiB,2x24GiB`; their UUIDs are the same at every start of a node."""
    sizes: list[int] = []
    for group in spec.removeprefix("simulated:").split(","):
        match = _GROUP.match(group.strip())
        if match is None or int(match[1]) == 0:
            raise InvalidGpus(f"{spec!r} does not describe GPUs: use for example 2x80GiB", field="SARDEENZ_GPUS")
        sizes += int(match[1]) * [int(float(match[2]) * _UNITS[match[3].upper()])]
    slug = _slug(node)
    return [SimulatedDevice(f"GPU-sim-{slug}-{i}", i, f"Simulated {_gib(size)}", size) for i, size in enumerate(sizes)]


def read_all(directory: Path | str, node: str, spec: str) -> list[DeviceReading]:
    """Every simulated device of a node with what its live processes claim."""
    return [_reading(device, Path(directory) / device.uuid) for device in parse(spec, node)]


def host_id(node: str) -> str:
    """Host RAM that engines pretend to hold is claimed as if it were a device of this name."""
    return f"HOST-sim-{_slug(node)}"


def host_ram(directory: Path | str, node: str, spec: str) -> HostMemory:
    """A simulated node pretends to twice the RAM of its devices, for the weights of its sleepers are pretended too."""
    total = 2 * sum(device.memory_bytes for device in parse(spec, node))
    return HostMemory(total, max(total - sum(host_claims(directory, node).values()), 0))


def host_claims(directory: Path | str, node: str) -> dict[int, int]:
    """Bytes of host RAM that live engines pretend to hold, by pid."""
    return _claims(Path(directory) / host_id(node))


class Claim:
    """The memory one process holds on one simulated device; freed by `close` or the end of the process.

    `memory_bytes` is the size of the device; left out, it is found through SARDEENZ_SIMULATED_GPUS, and a device
    named nowhere has no limit.
    """

    def __init__(
        self, directory: Path | str, uuid: str, pid: int | None = None, *, memory_bytes: int | None = None
    ) -> None:
        self.uuid = uuid
        self.pid = os.getpid() if pid is None else pid
        self.memory_bytes = _declared_size(uuid) if memory_bytes is None else memory_bytes
        self._directory = Path(directory) / uuid
        self._path = self._directory / str(self.pid)
        started = processes.start_time(self.pid)
        if started is None:
            raise ProcessLookupError(f"process {self.pid} does not run")
        self._started = started
        self._directory.mkdir(parents=True, exist_ok=True)

    def set(self, size_bytes: int) -> None:
        """Hold exactly this much from now on, or raise SimulatedOutOfMemory and hold what was held."""
        with locked(self._directory / ".lock"):  # or two could both fit into the same free bytes
            held = _claims(self._directory)
            others = sum(held.values()) - held.get(self.pid, 0)
            if self.memory_bytes is not None and size_bytes > max(self.memory_bytes - others, held.get(self.pid, 0)):
                raise SimulatedOutOfMemory(size_bytes, max(self.memory_bytes - others, 0), uuid=self.uuid)
            draft = self._directory / f".{self.pid}"
            draft.write_text(f"{self._started!r} {size_bytes}\n")
            draft.replace(self._path)

    def close(self) -> None:
        """The file of the claim goes, and the memory is free for others; closing again does nothing."""
        self._path.unlink(missing_ok=True)


def _reading(device: SimulatedDevice, directory: Path) -> DeviceReading:
    held = _claims(directory)
    return DeviceReading(
        uuid=device.uuid,
        index=device.index,
        name=device.name,
        memory_total_bytes=device.memory_bytes,
        memory_used_bytes=sum(held.values()),
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        power_limit_watts=None,
        compute_capability="",
        parent_uuid="",
        simulated=True,
        processes=tuple(DeviceProcess(pid, size) for pid, size in sorted(held.items())),
    )


def _claims(directory: Path) -> dict[int, int]:
    """Bytes by pid of the live; the claims of the dead are removed."""
    held: dict[int, int] = {}
    try:
        names = [path.name for path in directory.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return held
    for name in names:
        try:
            started, size = (directory / name).read_text().split()
        except FileNotFoundError:
            continue
        if processes.is_alive(int(name), float(started)):
            held[int(name)] = int(size)
        else:
            _remove_dead(directory / name, float(started))
    return held


def _remove_dead(path: Path, started: float) -> None:
    """Unlink a dead process's claim, unless a new process with its pid has claimed since we looked."""
    with suppress(FileNotFoundError):
        if path.read_text().startswith(f"{started!r} "):
            path.unlink()


def _declared_size(uuid: str) -> int | None:
    """The size of the device by its place in SARDEENZ_SIMULATED_GPUS."""
    match, spec = _INDEX.match(uuid), os.environ.get(GPUS, "")
    devices = parse(spec) if spec else []
    return devices[int(match[1])].memory_bytes if match and int(match[1]) < len(devices) else None


def _slug(node: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", node)[:63]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:g} GiB"
