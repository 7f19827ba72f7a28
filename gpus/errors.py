"""What can go wrong with the machine. The tree's roots are in `sardeenz.errors`; no Django is needed here."""

from sardeenz import sizes
from sardeenz.errors import DeviceError, InvalidSpec, Unavailable


class NvmlUnavailable(DeviceError):
    """The NVIDIA driver or its library does not answer; field: reason."""

    code = "nvml_unavailable"


class DeviceLost(DeviceError):
    """No device with this UUID answers any more; field: gpu."""

    code = "device_lost"

    def __init__(self, uuid: str) -> None:
        super().__init__(f"GPU {uuid} is not there any more", gpu=uuid)


class InvalidGpus(InvalidSpec):
    """SARDEENZ_GPUS is not understood; field: field."""

    code = "invalid_gpus"


class SimulatedOutOfMemory(DeviceError):
    """A claim does not fit the simulated device; fields: needed_bytes, free_bytes, gpu."""

    code = "simulated_out_of_memory"

    def __init__(self, needed_bytes: int, free_bytes: int, *, uuid: str = "") -> None:
        super().__init__(
            f"simulated out of memory: {sizes.needed(needed_bytes)} were asked for, {sizes.free(free_bytes)} are free",
            needed_bytes=needed_bytes,
            free_bytes=free_bytes,
            gpu=uuid,
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class SegmentMissing(DeviceError):
    """The engine has no shared-memory segment, or one of an unknown shape; field: ipc_name."""

    code = "segment_missing"


class SegmentBusy(DeviceError):
    """Somebody holds the segment's lock for too long; field: ipc_name."""

    code = "segment_busy"


class SpawnFailed(DeviceError):
    """The operating system refused to start the program; fields: executable, reason."""

    code = "spawn_failed"


class TelemetryUnavailable(Unavailable):
    """The latest readings cannot be fetched because Redis is away."""

    code = "telemetry_unavailable"
