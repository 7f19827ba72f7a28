"""An engine's log has a bound while the engine writes it, and logs of those that are gone go."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from models_app.engines import logs

KIB = 1024
WRITER = """
import sys
for number in range(int(sys.argv[1])):
    sys.stdout.write(f"line {number:09d} " + "x" * 80 + "\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "LOG_DIR", tmp_path)
    return tmp_path


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines]


def test_a_log_that_an_engine_writes_is_cut_again_and_again_and_its_end_is_whole(folder: Path) -> None:
    log, bound = logs.path(1, 1, "loud"), 256 * KIB
    cuts = 0
    with log.open("ab") as file:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, "50000"], stdout=file)
    while writer.poll() is None:
        cuts += logs.bound(log, bound)
        time.sleep(0.001)
    logs.bound(log, bound)
    assert cuts >= 2
    assert log.stat().st_size <= bound
    told = numbers(logs.tail(log, bound // 4))
    assert told[-1] == 49999
    assert told == sorted(told)
    assert len(logs.tail(log, 32 * KIB)) > 200  # over the cut


def test_the_end_is_read_over_the_cut_in_whole_lines(folder: Path) -> None:
    log = logs.path(1, 1, "loud")
    log.write_text("".join(f"line {number} {'x' * 90}\n" for number in range(1000)))
    assert logs.bound(log, 40 * KIB)
    assert log.stat().st_size == 0
    with log.open("a") as file:
        file.write("line 1000 y\n")
    told = numbers(logs.tail(log, 5 * KIB))
    assert told[-1] == 1000
    assert told == list(range(told[0], 1001))
    assert len(told) > 40


def test_a_follower_goes_on_after_the_cut(folder: Path) -> None:
    log = logs.path(1, 1, "loud")
    log.write_text("old\n" * 10_000)
    _, offset = logs.read_from(log, log.stat().st_size)
    assert logs.bound(log, 4 * KIB)
    with log.open("a") as file:
        file.write("new\n")
    assert logs.read_from(log, offset) == ("new\n", 4)


@pytest.mark.parametrize("size", [0, 100, 4 * KIB])
def test_a_log_within_its_bound_is_left_alone(folder: Path, size: int) -> None:
    log = logs.path(1, 1, "quiet")
    log.write_bytes(b"x" * size)
    assert not logs.bound(log, 4 * KIB)
    assert log.stat().st_size == size
    assert not logs.bound(folder / "absent.log", 4 * KIB)


def test_logs_of_the_gone_go_once_they_are_old_and_only_the_last_starts_stay(folder: Path) -> None:
    (folder / "services").mkdir()
    old = time.time() - 2 * logs.GONE_SECONDS
    for start in range(1, 10):
        logs.path(7, start, "my-model-7").write_text("alive\n")
    (folder / "my-model-7-7-1.log.1").write_text("cut\n")
    for name in ("gone-3-1.log", "gone-3-1.log.1", "gone-4-1.log", "readme.txt", "services.log"):
        (folder / name).write_text("words\n")
        if "-4-" not in name:
            os.utime(folder / name, (old, old))
    logs.prune(lambda: [7])
    left = {path.name for path in folder.iterdir()}
    assert left == {f"my-model-7-7-{start}.log" for start in range(5, 10)} | {
        "gone-4-1.log",
        "readme.txt",
        "services.log",
        "services",
    }
