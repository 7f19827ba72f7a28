"""NVML's answers, refusals and faults, told by a stand-in for the library with real codes and errors."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from gpus import nvml
from gpus.errors import DeviceLost, NvmlUnavailable
from gpus.readings import DeviceProcess


@dataclass
class Chip:
    """A device or slice of the stand-in; `answers` may hold values or NVML codes."""

    uuid: str
    index: int = 0
    slices: "list[Chip | None]" = field(default_factory=list)
    parent: "Chip | None" = None
    answers: dict[str, Any] = field(default_factory=dict)


GIVEN: dict[str, Any] = {
    "nvmlDeviceGetName": "NVIDIA H200",
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=1000, free=700, used=290),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=25, memory=10),
    "nvmlDeviceGetCudaComputeCapability": (9, 0),
    "nvmlDeviceGetTemperature": 41,
    "nvmlDeviceGetPowerUsage": 123_456,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetComputeRunningProcesses": [],
    "nvmlDeviceGetGraphicsRunningProcesses": [],
    "nvmlDeviceGetComputeRunningProcesses_v2": [],
    "nvmlDeviceGetGraphicsRunningProcesses_v2": [],
}


class Library:
    """Behaves like pynvml on a machine with these chips."""

    def __init__(self, *chips: Chip, init: int = 0) -> None:
        self.chips = {chip.uuid: chip for chip in chips}
        self.init = init
        self.starts = 0
        self.started = False
        self.driver: str | bytes | Exception = "580.126.09"

    def __getattr__(self, name: str) -> Any:
        return self._question(name) if name in GIVEN else getattr(pynvml, name)

    def _question(self, name: str) -> Callable[..., Any]:
        def ask(chip: Chip, *_: object) -> Any:
            answer = chip.answers.get(name, GIVEN[name])
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    def nvmlInit(self) -> None:
        self.starts += 1
        if self.init:
            raise pynvml.NVMLError(self.init)
        self.started = True

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        if isinstance(self.driver, Exception):
            raise self.driver
        return self.driver

    def nvmlShutdown(self) -> None:
        self.started = False

    def nvmlDeviceGetCount(self) -> int:
        if not self.started:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        return len(self.chips)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Chip:
        return self._present(list(self.chips.values())[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Chip:
        slices = {part.uuid: part for chip in self.chips.values() for part in chip.slices if part}
        found = (self.chips | slices).get(uuid)
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._present(found)

    def nvmlDeviceGetMigMode(self, chip: Chip) -> list[int]:
        return [int(bool(chip.slices)), int(bool(chip.slices))]

    def nvmlDeviceGetMaxMigDeviceCount(self, chip: Chip) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, chip: Chip, number: int) -> Chip:
        part = chip.slices[number] if number < len(chip.slices) else None
        if part is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return part

    def nvmlDeviceIsMigDeviceHandle(self, chip: Chip) -> bool:
        return chip.parent is not None

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, chip: Chip) -> Chip:
        assert chip.parent
        return chip.parent

    def nvmlDeviceGetUUID(self, chip: Chip) -> str:
        return chip.uuid

    def nvmlDeviceGetIndex(self, chip: Chip) -> int:
        return chip.index

    def _present(self, chip: Chip) -> Chip:
        if "lost" in chip.answers:
            raise chip.answers["lost"]
        return chip


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Library]:
    def put(*chips: Chip, init: int = 0) -> Library:
        library = Library(*chips, init=init)
        monkeypatch.setattr(nvml, "pynvml", library)
        monkeypatch.setattr(nvml, "_started_in", set())
        return library

    return put


def error(code: int) -> pynvml.NVMLError:
    return pynvml.NVMLError(code)


def running(pid: int, size: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=size)


def test_a_device_says_all_in_our_units(install: Callable[..., Library]) -> None:
    install(Chip("GPU-a", index=3))
    (reading,) = nvml.read_all()
    assert (reading.uuid, reading.index, reading.name) == ("GPU-a", 3, "NVIDIA H200")
    assert (reading.memory_total_bytes, reading.memory_used_bytes) == (1000, 300)  # the driver's reserve is used
    assert (reading.utilization_ratio, reading.temperature_celsius) == (0.25, 41.0)
    assert (reading.power_watts, reading.power_limit_watts) == (123.456, 700.0)
    assert (reading.compute_capability, reading.parent_uuid, reading.simulated) == ("9.0", "", False)
    assert nvml.read("GPU-a") == reading


def test_what_a_device_does_not_tell_is_none(install: Callable[..., Library]) -> None:
    asked = ("UtilizationRates", "Temperature", "PowerUsage", "EnforcedPowerLimit")
    refusals = {f"nvmlDeviceGet{name}": error(pynvml.NVML_ERROR_NOT_SUPPORTED) for name in asked}
    refusals["nvmlDeviceGetCudaComputeCapability"] = error(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    for call in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2"):
        refusals[call] = error(pynvml.NVML_ERROR_NO_PERMISSION)
    install(Chip("GPU-a", answers=refusals))
    (reading,) = nvml.read_all()
    assert (reading.utilization_ratio, reading.temperature_celsius) == (None, None)
    assert (reading.power_watts, reading.power_limit_watts) == (None, None)
    assert (reading.compute_capability, reading.processes) == ("", None)


def test_a_process_of_unknown_memory_is_listed_without_it(install: Callable[..., Library]) -> None:
    compute = [running(9, None), running(5, 100)]
    graphics = [running(5, 70), running(9, 30), running(2, None)]
    answers = {"nvmlDeviceGetComputeRunningProcesses": compute, "nvmlDeviceGetGraphicsRunningProcesses": graphics}
    install(Chip("GPU-a", answers=answers))
    (reading,) = nvml.read_all()
    assert reading.processes == (DeviceProcess(2, None), DeviceProcess(5, 100), DeviceProcess(9, 30))


def test_a_driver_without_the_newest_process_call_is_asked_the_older_one(install: Callable[..., Library]) -> None:
    """pynvml raises no NVMLError then."""
    older = [SimpleNamespace(pid=7, usedGpuMemory=70)]
    mismatch = pynvml.NVMLLibraryMismatchError("Unversioned function called")
    answers = {
        "nvmlDeviceGetComputeRunningProcesses": mismatch,
        "nvmlDeviceGetGraphicsRunningProcesses": mismatch,
        "nvmlDeviceGetComputeRunningProcesses_v2": older,
    }
    install(Chip("GPU-1", answers=answers))
    (reading,) = nvml.read_all()
    assert reading.processes == (DeviceProcess(7, 70),)


def test_a_driver_without_any_process_call_is_read_all_the_same(install: Callable[..., Library]) -> None:
    mismatch = pynvml.NVMLLibraryMismatchError("Unversioned function called")
    absent = pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    kinds = ("Compute", "Graphics")
    newest = {f"nvmlDeviceGet{kind}RunningProcesses": mismatch for kind in kinds}
    older = {f"nvmlDeviceGet{kind}RunningProcesses_v2": absent for kind in kinds}
    install(Chip("GPU-1", answers=newest | older))
    (reading,) = nvml.read_all()
    assert (reading.memory_total_bytes, reading.utilization_ratio, reading.processes) == (1000, 0.25, None)
    assert nvml.read("GPU-1") == reading


def test_a_library_that_does_not_match_is_a_fault_with_a_code_wherever_it_shows(
    install: Callable[..., Library],
) -> None:
    install(Chip("GPU-1", answers={"nvmlDeviceGetName": pynvml.NVMLLibraryMismatchError("too old")}))
    with pytest.raises(NvmlUnavailable):
        nvml.read_all()


def test_slices_stand_for_the_device_they_divide(install: Callable[..., Library]) -> None:
    whole = Chip("GPU-a", index=1)
    unsupported = error(pynvml.NVML_ERROR_NOT_SUPPORTED)
    refusals = {"nvmlDeviceGetUtilizationRates": unsupported, "nvmlDeviceGetPowerUsage": unsupported}
    whole.slices = [Chip("MIG-x", parent=whole, answers=refusals), None, Chip("MIG-y", parent=whole)]
    install(Chip("GPU-b"), whole)
    readings = nvml.read_all()
    assert [(r.uuid, r.parent_uuid) for r in readings] == [("GPU-b", ""), ("MIG-x", "GPU-a"), ("MIG-y", "GPU-a")]
    assert nvml.read("MIG-x") == readings[1]
    assert (readings[1].index, readings[1].temperature_celsius, readings[1].power_watts) == (1, 41.0, None)


def test_a_chip_that_shares_the_hosts_memory_has_the_hosts_numbers(install: Callable[..., Library]) -> None:
    install(Chip("GPU-a", answers={"nvmlDeviceGetMemoryInfo": error(pynvml.NVML_ERROR_NOT_SUPPORTED)}))
    (reading,) = nvml.read_all()
    assert 0 < reading.memory_used_bytes < reading.memory_total_bytes


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_NOT_FOUND])
def test_a_lost_device_does_not_hide_the_others(install: Callable[..., Library], code: int) -> None:
    install(Chip("GPU-a", answers={"lost": error(code)}), Chip("GPU-b"))
    assert [reading.uuid for reading in nvml.read_all()] == ["GPU-b"]
    with pytest.raises(DeviceLost) as caught:
        nvml.read("GPU-a")
    assert caught.value.fields == {"gpu": "GPU-a"}


def test_a_device_lost_while_it_is_read_is_lost(install: Callable[..., Library]) -> None:
    install(Chip("GPU-a", answers={"nvmlDeviceGetPowerUsage": error(pynvml.NVML_ERROR_GPU_IS_LOST)}))
    assert nvml.read_all() == []
    with pytest.raises(DeviceLost):
        nvml.read("GPU-a")


def test_an_unknown_uuid_is_a_lost_device(install: Callable[..., Library]) -> None:
    install(Chip("GPU-a"))
    with pytest.raises(DeviceLost):
        nvml.read("GPU-z")


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_no_driver_is_a_fact_but_a_broken_one_is_a_fault(install: Callable[..., Library], code: int) -> None:
    install(init=code)
    assert not nvml.has_driver()
    with pytest.raises(NvmlUnavailable):
        nvml.read_all()
    install(init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    with pytest.raises(NvmlUnavailable, match="does not answer"):
        nvml.has_driver()


def test_the_library_starts_once_and_again_after_a_fault(install: Callable[..., Library]) -> None:
    library = install(Chip("GPU-a"))
    nvml.read_all()
    nvml.read_all()
    assert library.starts == 1
    library.started = False  # the driver was reloaded
    with pytest.raises(NvmlUnavailable):
        nvml.read_all()
    assert len(nvml.read_all()) == 1
    assert library.starts == 2


def test_a_forked_child_starts_the_library_for_itself(
    install: Callable[..., Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = install(Chip("GPU-a"))
    nvml.read_all()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    nvml.read_all()
    assert library.starts == 2


def test_the_driver_tells_its_version_or_not(install: Callable[..., Library]) -> None:
    library = install(Chip("GPU-a"))
    assert nvml.driver_version() == "580.126.09"
    library.driver = b"535.104.05"  # as older bindings answer
    assert nvml.driver_version() == "535.104.05"
    library.driver = error(pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert nvml.driver_version() == ""
