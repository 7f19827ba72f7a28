"""What a device says about itself, whoever was asked. Unknown is None. Imports nothing of ours."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceProcess:
    """A process on a device; NVML does not always know its memory (in a container, under WSL, on vGPUs)."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device, or one MIG slice, at one instant.

    `memory_used_bytes` is all that cannot be allocated, the driver's own reserve included. A slice has the index
    of the device it belongs to, which `parent_uuid` names; for a whole device `parent_uuid` is empty.
    """

    uuid: str
    index: int
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_ratio: float | None
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None
    compute_capability: str
    parent_uuid: str
    simulated: bool
    processes: tuple[DeviceProcess, ...] | None
    """None where the driver does not tell which processes there are."""

    @property
    def memory_free_bytes(self) -> int:
        """What can still be allocated."""
        return self.memory_total_bytes - self.memory_used_bytes
