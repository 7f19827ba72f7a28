"""Real or simulated: one setting decides, once per process."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from gpus import devices, nvml
from gpus.errors import DeviceLost, InvalidGpus
from gpus.simulated import Claim


@pytest.fixture(autouse=True)
def _undecided() -> Iterator[None]:
    devices.simulation.cache_clear()
    yield
    devices.simulation.cache_clear()


def test_simulated_devices_are_read_by_uuid(settings: LazySettings) -> None:
    settings.GPUS = "simulated:2x24GiB"
    first, second = devices.read_all()
    claim = Claim(settings.SIMULATED_DIR, second.uuid)
    claim.set(1234)
    assert devices.is_simulated()
    assert devices.read(first.uuid).memory_used_bytes == 0
    assert devices.read(second.uuid).memory_used_bytes == 1234
    claim.close()
    with pytest.raises(DeviceLost):
        devices.read("GPU-elsewhere")


def test_auto_simulates_where_there_is_no_driver(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GPUS = "auto"
    monkeypatch.setattr(nvml, "has_driver", lambda: False)
    assert devices.is_simulated()
    assert len(devices.read_all()) == 2


def test_a_driver_that_fails_later_is_not_replaced_by_a_simulation(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GPUS = "auto"
    monkeypatch.setattr(nvml, "has_driver", lambda: True)
    assert not devices.is_simulated()
    monkeypatch.setattr(nvml, "has_driver", lambda: False)
    assert not devices.is_simulated()


def test_a_simulation_cannot_be_mistaken_for_a_device(settings: LazySettings) -> None:
    settings.GPUS = "nvml"
    assert not devices.is_simulated()


@pytest.mark.parametrize("gpus", ["cuda", "simulated", "simulated:", "simulated:many"])
def test_an_unknown_kind_of_devices_is_refused(settings: LazySettings, gpus: str) -> None:
    settings.GPUS = gpus
    with pytest.raises(InvalidGpus):
        devices.is_simulated()
