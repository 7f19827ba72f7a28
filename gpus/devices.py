"""The devices of this node, real or simulated, by `settings.GPUS`: auto, nvml or simulated:2x80GiB."""

from functools import cache

from django.conf import settings

from gpus import nvml, processes, simulated
from gpus.errors import DeviceLost, InvalidGpus
from gpus.processes import HostMemory
from gpus.readings import DeviceReading

SIMULATED = "simulated:"


def read_all() -> list[DeviceReading]:
    """Every device that answers, MIG slices instead of the devices they divide. Raises NvmlUnavailable."""
    spec = simulation(settings.GPUS)
    return nvml.read_all() if spec is None else simulated.read_all(settings.SIMULATED_DIR, settings.NODE, spec)


def read(uuid: str) -> DeviceReading:
    """One device. Raises DeviceLost when it does not answer, NvmlUnavailable when the driver does not."""
    if not is_simulated():
        return nvml.read(uuid)
    for reading in read_all():
        if reading.uuid == uuid:
            return reading
    raise DeviceLost(uuid)


def driver_version() -> str:
    """The version of this node's driver; empty on a simulated one. Raises NvmlUnavailable."""
    return "" if is_simulated() else nvml.driver_version()


def host_memory() -> HostMemory:
    """RAM of this node, which a simulated one pretends to have."""
    spec = simulation(settings.GPUS)
    return processes.host_memory() if spec is None else simulated.host_ram(settings.SIMULATED_DIR, settings.NODE, spec)


def host_claims() -> dict[int, int]:
    """Bytes of RAM that processes pretend to hold, by pid; nothing on a real node."""
    return simulated.host_claims(settings.SIMULATED_DIR, settings.NODE) if is_simulated() else {}


def is_simulated() -> bool:
    """Whether the devices of this node are simulated."""
    return simulation(settings.GPUS) is not None


@cache
def simulation(gpus: str) -> str | None:
    """The simulated devices as `2x80GiB`, or None for real ones.

    Decided once per process: a driver that stops answering later is a fault, not a reason to simulate.
    """
    if gpus == "nvml":
        return None
    if gpus == "auto":
        return None if nvml.has_driver() else str(settings.SIMULATED_DEFAULT)
    if not gpus.startswith(SIMULATED):
        raise InvalidGpus(f"{gpus!r} is not auto, nvml or simulated:2x80GiB", field="SARDEENZ_GPUS")
    simulated.parse(gpus)
    return gpus.removeprefix(SIMULATED)
