"""Processes of an earlier run are found by their mark and retired; engines are left alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sardeenz.run import leftovers, services

Spawn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    children: list[subprocess.Popen[bytes]] = []

    def start(name: str, **extra: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, services.MARKER: f"{services.tag(tmp_path)}:{name}", **extra}
        argv = [sys.executable, "-S", "-c", "print(flush=True); import time; time.sleep(600)"]
        child = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_services_are_found_by_their_mark(spawn: Spawn, tmp_path: Path) -> None:
    child = spawn("web")
    assert [(each.pid, each.name) for each in leftovers.find(tmp_path)] == [(child.pid, "web")]


def test_another_data_directorys_services_are_not_ours(spawn: Spawn, tmp_path: Path) -> None:
    spawn("web")
    assert leftovers.find(tmp_path / "other") == []


def test_retiring_ends_them(spawn: Spawn, tmp_path: Path) -> None:
    children = [spawn("supervisor"), spawn("beat")]
    assert leftovers.retire(tmp_path) == ["beat", "supervisor"]
    assert [child.wait(10) for child in children] == [-9, -15]
    assert leftovers.retire(tmp_path) == []


def test_an_engine_that_inherited_the_mark_is_not_touched(spawn: Spawn, tmp_path: Path) -> None:
    engine = spawn("gpu-1", SARDEENZ_REPLICA="other-installation:1:1")
    assert leftovers.retire(tmp_path) == []
    assert engine.poll() is None
