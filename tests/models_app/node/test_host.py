"""What engines hold of the node's RAM is read beside the frames."""

import sys
import threading
from pathlib import Path

import pytest
from django.conf import LazySettings

from gpus import devices, processes, simulated
from gpus.installation import installation_id
from models_app.node import frame
from models_app.node.host import HostReading
from tests.models_app.node.test_frame import _own_installation, start
from tests.patience import until

__all__ = ("_own_installation",)
MIB = 2**20
TOUCHES = "import time; held = bytearray(b'x') * (64 * 2**20); time.sleep(600)"


def test_an_engine_holds_what_its_processes_touched(tmp_path: Path) -> None:
    pid = start(tmp_path / "log", "sh", "-c", f'{sys.executable} -c "{TOUCHES}" & wait')
    until(lambda: (processes.held_ram(processes.find_all(installation_id())["7:2"].pids) or 0) > 64 * MIB)
    alone = processes.held_ram([pid])
    assert alone is not None and alone < 32 * MIB  # the shell itself; its child has the bytes


def test_nobody_knows_what_a_process_that_is_gone_holds() -> None:
    assert processes.held_ram([2**22 + 1]) is None


def test_a_frame_has_a_ledger_once_the_ram_was_read_and_engines_that_left_are_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, may_read, claims = HostReading(), threading.Event(), devices.host_claims
    monkeypatch.setattr(devices, "host_claims", lambda: (may_read.wait(30), claims())[1])
    start(tmp_path / "log", "sleep", "600")
    assert frame.collect(host=host)["host_ram"] is None  # its first reading is under way
    may_read.set()
    host.settle(30)
    now = frame.collect(host=host)["host_ram"]
    assert now is not None
    assert [(one["marker"], one["asleep"]) for one in now["holdings"]] == [("7:2", False)]
    assert now["awake_bytes"] > 0
    processes.kill(processes.find_all(installation_id())["7:2"])
    until(lambda: processes.reap() is not None and not processes.find_all(installation_id()))
    left = frame.collect(host=host)["host_ram"]
    assert left is not None and left["holdings"] == []


def test_a_simulated_node_pretends_to_twice_the_ram_of_its_devices(settings: LazySettings, tmp_path: Path) -> None:
    pid = start(tmp_path / "log", "sleep", "600")
    simulated.Claim(settings.SIMULATED_DIR, simulated.host_id(settings.NODE), pid).set(100 << 30)
    host = HostReading()
    frame.collect(host=host)
    host.settle(30)
    now = frame.collect(host=host)["host_ram"]
    assert now is not None
    assert (now["total_bytes"] >> 30, now["available_bytes"] >> 30) == (320, 220)
    assert now["awake_bytes"] == pytest.approx(100 << 30, rel=0.01)
