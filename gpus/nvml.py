"""NVIDIA's management library: the only place that imports pynvml or knows its codes.

NVML is started once per process and again after a fork or a fault. A device with MIG enabled is left out in favour
of its slices, for nothing can run on it as a whole.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pynvml

from gpus import processes
from gpus.errors import DeviceLost, NvmlUnavailable
from gpus.readings import DeviceProcess, DeviceReading

Handle = Any
T = TypeVar("T")
_ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_NO_PERMISSION)
_GONE = (
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_RESET_REQUIRED,
)
_UNKNOWN = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_UNKNOWN,
)
_started_in: set[int] = set()

logger = logging.getLogger(__name__)


def has_driver() -> bool:
    """Whether an NVIDIA driver is there. A driver that is there but broken raises NvmlUnavailable."""
    try:
        _start()
    except pynvml.NVMLError as error:
        if error.value in _ABSENT:
            return False
        raise _unavailable(error) from error
    return True


def read_all() -> list[DeviceReading]:
    """Every device and slice that answers; one that was lost is left out."""
    readings = []
    with _border():
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                device = pynvml.nvmlDeviceGetHandleByIndex(index)
                readings += [_read(handle, parent) for handle, parent in _units(device)]
            except pynvml.NVMLError as error:
                if error.value not in _GONE:
                    raise
                logger.warning("device left out: index=%s error=%s", index, error)
    return readings


def read(uuid: str) -> DeviceReading:
    """One device or slice. Raises DeviceLost."""
    with _border(uuid):
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return _read(handle, _parent(handle))


def driver_version() -> str:
    """The driver's version, such as 580.126.09; empty where it does not tell. Raises NvmlUnavailable."""
    with _border():
        told = _known(pynvml.nvmlSystemGetDriverVersion)
    return "" if told is None else _text(told)


def _units(device: Handle) -> Iterator[tuple[Handle, Handle | None]]:
    """The slices of a device with MIG enabled, else the device; each with the device it is a slice of."""
    mode = _known(pynvml.nvmlDeviceGetMigMode, device)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        yield device, None
        return
    for number in range(_known(pynvml.nvmlDeviceGetMaxMigDeviceCount, device) or 0):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, number), device
        except pynvml.NVMLError as error:
            if error.value not in (pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                raise  # a place without a slice is not an error


def _parent(handle: Handle) -> Handle | None:
    if not _known(pynvml.nvmlDeviceIsMigDeviceHandle, handle):
        return None
    return pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)


def _read(handle: Handle, parent: Handle | None) -> DeviceReading:
    chip = handle if parent is None else parent
    total, used = _memory(handle)
    rates = _known(pynvml.nvmlDeviceGetUtilizationRates, handle)
    capability = _known(pynvml.nvmlDeviceGetCudaComputeCapability, chip)
    # A slice is as hot as its chip, but what it draws of the chip's power is not known.
    temperature = _known(pynvml.nvmlDeviceGetTemperature, chip, pynvml.NVML_TEMPERATURE_GPU)
    return DeviceReading(
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        index=pynvml.nvmlDeviceGetIndex(chip),
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=total,
        memory_used_bytes=used,
        utilization_ratio=None if rates is None else rates.gpu / 100,
        temperature_celsius=None if temperature is None else float(temperature),
        power_watts=_watts(pynvml.nvmlDeviceGetPowerUsage, handle),
        power_limit_watts=_watts(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle),
        compute_capability="" if capability is None else ".".join(map(str, capability)),
        parent_uuid="" if parent is None else _text(pynvml.nvmlDeviceGetUUID(parent)),
        simulated=False,
        processes=_processes(handle),
    )


def _memory(handle: Handle) -> tuple[int, int]:
    """Total and used bytes; a chip that shares the host's RAM has no memory of its own and gets the host's."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        host = processes.host_memory()
        return host.total_bytes, host.total_bytes - host.available_bytes
    return int(memory.total), int(memory.total - memory.free)


def _processes(handle: Handle) -> tuple[DeviceProcess, ...] | None:
    """Compute and graphics processes; one that is both is one. None where the driver does not tell of the first.

    An older driver lacks the newest call, and is asked the one before.
    """
    compute = _known(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    if compute is None:
        compute = _known(pynvml.nvmlDeviceGetComputeRunningProcesses_v2, handle)
    if compute is None:
        return None
    graphics = _known(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
    if graphics is None:
        graphics = _known(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2, handle)
    found: dict[int, int | None] = {}
    for listed in (compute, graphics or []):
        for process in listed:
            sizes = [size for size in (found.get(process.pid), process.usedGpuMemory) if size is not None]
            found[process.pid] = max(sizes, default=None)
    return tuple(DeviceProcess(pid, size) for pid, size in sorted(found.items()))


def _watts(question: Callable[[Handle], int], handle: Handle) -> float | None:
    milliwatts = _known(question, handle)
    return None if milliwatts is None else milliwatts / 1000


def _known(question: Callable[..., T], *arguments: object) -> T | None:
    """The answer, or None when this device, driver or container does not tell."""
    try:
        return question(*arguments)
    except pynvml.NVMLLibraryMismatchError:  # what pynvml makes of a call that this driver lacks; it is no NVMLError
        return None
    except pynvml.NVMLError as error:
        if error.value not in _UNKNOWN:
            raise
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _border(uuid: str | None = None) -> Iterator[None]:
    """NVML is ready inside; its errors leave as ours."""
    try:
        _start()
        yield
    except pynvml.NVMLLibraryMismatchError as error:
        raise _unavailable(error) from error
    except pynvml.NVMLError as error:
        if uuid is not None and error.value in _GONE:
            raise DeviceLost(uuid) from error
        _started_in.clear()  # a driver that was reloaded needs a new start
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
        raise _unavailable(error) from error


def _start() -> None:
    if os.getpid() not in _started_in:
        pynvml.nvmlInit()
        _started_in.clear()
        _started_in.add(os.getpid())


def _unavailable(error: Exception) -> NvmlUnavailable:
    return NvmlUnavailable(f"the NVIDIA driver does not answer: {error}", reason=str(error))
