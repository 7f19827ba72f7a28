"""Rows follow the devices; what an operator chose stays."""

from dataclasses import replace

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from gpus import devices, discovery, processes
from gpus.models import GPU, Node
from gpus.readings import DeviceReading

pytestmark = pytest.mark.django_db


@pytest.fixture
def readings() -> list[DeviceReading]:
    return devices.read_all()


def test_the_first_discovery_makes_the_node_and_its_gpus(settings: LazySettings) -> None:
    settings.GPU_HEADROOM_BYTES = 7
    node = discovery.discover()
    assert (node.name, node.address, node.simulated) == (settings.NODE, settings.NODE_ADDRESS, True)
    assert node.boot_id == processes.boot_id()
    assert node.seen_at is not None
    gpus = list(node.gpus.all())
    assert [(gpu.index, gpu.memory_bytes, gpu.headroom_bytes) for gpu in gpus] == [(0, 80 << 30, 7), (1, 80 << 30, 7)]
    assert all(gpu.enabled and gpu.present and gpu.simulated for gpu in gpus)


def test_a_second_discovery_changes_nothing(readings: list[DeviceReading]) -> None:
    discovery.discover()
    before = list(GPU.objects.values())
    node = discovery.discover()
    assert list(GPU.objects.values()) == before
    assert node.seq == 1
    assert Node.objects.count() == 1


def test_the_operators_choices_survive(readings: list[DeviceReading]) -> None:
    discovery.discover()
    GPU.objects.update(enabled=False, headroom_bytes=5)
    discovery.discover(readings=[replace(reading, name="Renamed") for reading in readings])
    found = set(GPU.objects.values_list("name", "enabled", "headroom_bytes", "seq"))
    assert found == {("Renamed", False, 5, 2)}


def test_a_device_that_went_away_is_marked_and_welcomed_back(readings: list[DeviceReading]) -> None:
    discovery.discover()
    discovery.discover(readings=readings[:1])
    lost = GPU.objects.get(uuid=readings[1].uuid)
    assert (lost.present, lost.seq) == (False, 2)
    discovery.discover(readings=readings[:1])
    lost.refresh_from_db()
    assert lost.seq == 2
    discovery.discover()
    lost.refresh_from_db()
    assert (lost.present, lost.seq) == (True, 3)


def test_the_devices_of_other_nodes_are_not_ours_to_judge(readings: list[DeviceReading]) -> None:
    discovery.discover("other", readings[:1])
    discovery.discover("mine", readings[1:])
    assert set(GPU.objects.values_list("node__name", "present")) == {("other", True), ("mine", True)}
    discovery.discover("mine", readings)
    assert set(GPU.objects.values_list("node__name", flat=True)) == {"mine"}


def test_a_slice_keeps_the_name_of_its_device_and_a_headroom_it_can_hold(
    readings: list[DeviceReading], settings: LazySettings
) -> None:
    settings.GPU_HEADROOM_BYTES = 1 << 30
    part = replace(readings[0], uuid="MIG-x", parent_uuid="GPU-a", memory_total_bytes=100)
    discovery.discover(readings=[part])
    found = GPU.objects.get()
    assert (found.uuid, found.parent_uuid, found.headroom_bytes) == ("MIG-x", "GPU-a", 100)


def test_a_restart_of_the_host_shows_in_the_node() -> None:
    discovery.discover()
    Node.objects.update(boot_id="before")
    node = discovery.discover()
    assert (node.boot_id, node.seq) == (processes.boot_id(), 2)


def test_sleepers_may_hold_half_of_the_memory_of_a_real_host(readings: list[DeviceReading]) -> None:
    node = discovery.discover(readings=[replace(reading, simulated=False) for reading in readings])
    assert node.sleep_budget_bytes == node.memory_bytes // 2


def test_simulated_sleepers_may_hold_what_their_devices_hold(readings: list[DeviceReading]) -> None:
    assert discovery.discover(readings=readings).sleep_budget_bytes == 160 << 30


def test_a_declared_budget_for_sleepers_wins(settings: LazySettings) -> None:
    settings.SLEEP_RAM_BYTES = 123
    assert discovery.discover().sleep_budget_bytes == 123


def test_the_command_lists_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("discover_gpus")
    assert len(capsys.readouterr().out.splitlines()) == GPU.objects.count() == 2
