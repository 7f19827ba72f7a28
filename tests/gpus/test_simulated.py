"""Simulated devices: sizes from a word, memory from the claims of the living."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpus import simulated
from gpus.errors import InvalidGpus, SimulatedOutOfMemory
from gpus.readings import DeviceProcess
from gpus.simulated import Claim

UUID = "GPU-sim-n-0"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def used(directory: Path) -> int:
    return simulated.read_all(directory, "n", "1x100GiB")[0].memory_used_bytes


def test_devices_are_described_by_count_and_size() -> None:
    devices = simulated.parse("1x80GiB,2x0.5TiB", "n")
    assert [(device.index, device.memory_bytes) for device in devices] == [
        (0, 80 << 30),
        (1, 512 << 30),
        (2, 512 << 30),
    ]
    assert devices[0].name == "Simulated 80 GiB"


def test_uuids_are_the_same_at_every_start_and_differ_between_nodes() -> None:
    first, again, other = (simulated.parse("2x80GiB", node) for node in ("n", "n", "m"))
    assert first == again
    assert {device.uuid for device in first}.isdisjoint(device.uuid for device in other)
    assert first[0].uuid == UUID


@pytest.mark.parametrize("spec", ["", "80GiB", "0x80GiB", "2x", "2x80", "2x80GiB,", "-1x80GiB"])
def test_a_spec_that_says_nothing_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(InvalidGpus, match="2x80GiB"):
        simulated.parse(spec)


def test_what_a_simulated_device_cannot_know_is_none(tmp_path: Path) -> None:
    reading = simulated.read_all(tmp_path, "n", "1x80GiB")[0]
    assert reading.simulated
    assert reading.memory_free_bytes == 80 << 30
    assert (reading.utilization_ratio, reading.temperature_celsius, reading.power_watts) == (None, None, None)


def test_a_claim_counts_until_it_is_closed(tmp_path: Path) -> None:
    claim = Claim(tmp_path, UUID)
    claim.set(7)
    claim.set(5)
    reading = simulated.read_all(tmp_path, "n", "1x80GiB")[0]
    assert reading.processes == (DeviceProcess(os.getpid(), 5),)
    assert reading.memory_used_bytes == 5
    claim.close()
    claim.close()
    assert used(tmp_path) == 0


def test_a_claim_that_does_not_fit_changes_nothing(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    Claim(tmp_path, UUID, sleeper.pid, memory_bytes=100).set(60)
    claim = Claim(tmp_path, UUID, memory_bytes=100)
    claim.set(30)
    with pytest.raises(SimulatedOutOfMemory) as caught:
        claim.set(41)
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (41, 40)
    assert used(tmp_path) == 90
    claim.set(40)


def test_a_killed_process_frees_its_memory_before_it_is_reaped(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    Claim(tmp_path, UUID, sleeper.pid).set(60)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert used(tmp_path) == 0
    assert not (tmp_path / UUID / str(sleeper.pid)).exists()


def test_a_claim_of_an_earlier_process_with_the_same_pid_counts_for_nothing(tmp_path: Path) -> None:
    Claim(tmp_path, UUID).set(60)
    path = tmp_path / UUID / str(os.getpid())
    path.write_text("1.25 60\n")
    assert used(tmp_path) == 0
    assert not path.exists()


def test_an_engine_learns_the_size_from_its_environment(tmp_path: Path) -> None:
    program = (
        "import sys; from gpus.simulated import Claim; from gpus.errors import SimulatedOutOfMemory\n"
        "assert 'django' not in sys.modules\n"
        f"claim = Claim({str(tmp_path)!r}, {UUID!r})\n"
        "claim.set(2**30)\n"
        "try: claim.set(2**30 + 1)\n"
        "except SimulatedOutOfMemory as error: print(error.free_bytes)"
    )
    environment = {**os.environ, "SARDEENZ_SIMULATED_GPUS": "2x1GiB"}
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert int(answer.stdout) == 2**30


def test_many_processes_cannot_claim_more_than_there_is(tmp_path: Path) -> None:
    program = (
        "import sys; from gpus.simulated import Claim; from gpus.errors import SimulatedOutOfMemory\n"
        f"claim = Claim({str(tmp_path)!r}, {UUID!r}, memory_bytes=100)\n"
        "try: claim.set(40); print('held', flush=True)\n"
        "except SimulatedOutOfMemory: print('refused', flush=True)\n"
        "sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program]
    claimers = [
        subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(5)
    ]
    answers = [claimer.stdout.readline().strip() for claimer in claimers if claimer.stdout]
    assert used(tmp_path) == 80
    assert sorted(answers) == ["held", "held", "refused", "refused", "refused"]
    for claimer in claimers:
        claimer.communicate()
    assert used(tmp_path) == 0
