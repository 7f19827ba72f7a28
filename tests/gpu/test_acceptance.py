"""The acceptance of a GPU machine, on the simulator: it has to work there the first time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A GPU machine has none of these.
BARE = "import sys; sys.modules.update(dict.fromkeys(['django', 'httpx2', 'redis', 'celery', 'psycopg', 'pynvml']))"
RUN = f"{BARE}; from tests.gpu.acceptance import main; sys.exit(main(sys.argv[1:]))"


def accept(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """One run, as small as it can be."""
    small = ("--requests", "4", "--tokens", "8", "--prompt-characters", "2000", "--start-seconds", "30")
    small += ("--burst-peak", "10", "--burst-slope", "10", "--burst-tokens", "8")
    argv = [sys.executable, "-c", RUN, "--simulated", "1x80GiB", "--out", str(out), *small, *flags]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run of every point."""
    out = tmp_path_factory.mktemp("acceptance")
    return accept(out), out


def test_every_point_passes_without_django_on_the_simulator(
    whole: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    run, out = whole
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    found = json.loads((out / "acceptance.json").read_text())
    assert {row["point"] for row in found["rows"]} == {"1", "2", "3", "4", "5e", "5s", "6", "7"}
    assert found["failed"] == 0
    assert "no figure here is of a GPU" in found["about"]["simulated"]


def test_the_table_has_every_row_and_no_key(whole: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = whole
    rows = json.loads((out / "acceptance.json").read_text())["rows"]
    table = (out / "acceptance.md").read_text()
    assert table.count("\n| ") == len(rows) + 2
    assert "key-of-the-acceptance" not in (out / "acceptance.json").read_text() + table


def test_an_engine_that_cannot_start_is_a_row_with_its_log(tmp_path: Path) -> None:
    run = accept(tmp_path, "--points", "1,3", "--", "--fail-load", "oom")
    assert run.returncode == 1, run.stderr[-3000:]
    wrong = [row for row in json.loads((tmp_path / "acceptance.json").read_text())["rows"] if row["ok"] is False]
    assert [row["point"] for row in wrong] == ["1"], "without an engine the other points are not tried"
    assert "out of memory" in wrong[0]["note"]


def test_a_machine_without_a_gpu_is_told_so(tmp_path: Path) -> None:
    code = f"{RUN.replace('import sys;', 'import os, sys; os.environ.update(PATH=str());', 1)}"
    argv = [sys.executable, "-c", code, "--version", "0.30.0", "--out", str(tmp_path)]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr[:19]) == (2, "no GPU answers here")
