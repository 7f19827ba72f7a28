"""A node's RAM: whose it is, and whether one more may sleep there."""

import pytest

from gpus.processes import HostMemory
from models_app.memory import host_ram
from models_app.memory.host_ram import Copy, Holder, Host

GIB = 2**30


def test_every_byte_in_use_is_a_sleepers_or_an_awake_engines_or_somebody_elses() -> None:
    now = host_ram.ledger(HostMemory(100 * GIB, 40 * GIB), {"1:1": 20 * GIB, "2:3": 5 * GIB}, {"1:1"}, 7.0)
    assert (now["sleepers_bytes"], now["awake_bytes"], now["others_bytes"]) == (20 * GIB, 5 * GIB, 35 * GIB)
    assert now["available_bytes"] + 20 * GIB + 5 * GIB + 35 * GIB == now["total_bytes"]
    assert [(one["replica_id"], one["asleep"]) for one in now["holdings"]] == [(1, True), (2, False)]


def test_two_readings_at_two_instants_leave_others_no_less_than_nothing() -> None:
    assert host_ram.ledger(HostMemory(100, 90), {"1:1": 20}, (), 7.0)["others_bytes"] == 0


def test_a_small_host_keeps_a_part_of_its_ram_and_a_large_one_4_gib() -> None:
    assert host_ram.margin(16 * GIB) == 1 * GIB
    assert host_ram.margin(2048 * GIB) == 4 * GIB


def test_an_unmeasured_sleep_takes_twice_its_weights_for_a_moment_and_a_measured_one_what_it_took() -> None:
    assert host_ram.copy_of(10, fresh_bytes=3, asleep_bytes=None) == Copy(10, 20)
    assert host_ram.copy_of(10, fresh_bytes=3, asleep_bytes=17) == Copy(14, 14)


@pytest.mark.parametrize(
    ("available", "holders", "lacking"),
    [
        (None, (), None),  # nobody has read it: the budget alone counts
        (40, (), None),
        (28, (), 2),  # 20 for a moment, and a margin of 10
        (None, (Holder(1, "a", kept_bytes=91),), 1),
        (None, (Holder(1, "a", coming=Copy(91, 182)),), 1),
        (40, (Holder(1, "a", coming=Copy(5, 10)),), None),
        (40, (Holder(1, "a", coming=Copy(5, 11)),), 1),
        (28, (Holder(1, "a", leaving_bytes=2),), None),
    ],
)
def test_one_more_sleeper_is_admitted_by_the_budget_and_by_the_ram_itself(
    available: int | None, holders: tuple[Holder, ...], lacking: int | None
) -> None:
    host = Host("lab", budget_bytes=100, available_bytes=available, margin_bytes=10, holders=holders)
    short = host_ram.shortage(host, Copy(10, 20))
    assert (short and short.lacking_bytes) == lacking


def test_a_shortage_is_told_in_gib() -> None:
    short = host_ram.shortage(Host("lab", 8 * GIB), Copy(16 * GIB, 32 * GIB))
    assert short is not None
    words = "16 GiB of host RAM are needed on lab, and of what sleepers may hold there 8 GiB are free"
    assert short.words("lab") == words
    tight = host_ram.ram_shortage(Host("lab", 8 * GIB, 3 * GIB, 1 * GIB), 9 * GIB)
    assert tight is not None
    assert tight.words("lab") == "9 GiB of host RAM are needed on lab, and 2 GiB are free"
