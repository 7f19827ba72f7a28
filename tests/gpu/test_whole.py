"""The script that looks at the whole platform on a GPU, on the simulator: it has to work there the first time."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.patience import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_passes_on_the_simulator(tmp_path: Path) -> None:
    ports = {"SARDEENZ_WEB_PORT": str(free_port()), "SARDEENZ_GATEWAY_PORT": str(free_port())}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SARDEENZ_", "DJANGO_"))}
    small = ("--requests", "2", "--tokens", "8", "--seconds", "90")
    program = ("--sardeenz", str(Path(sys.executable).parent / "sardeenz"))
    model = ("--runtime", "simulator", "--model", "sample/eight")
    run = subprocess.run(
        [sys.executable, "-m", "tests.gpu.whole", "--out", str(tmp_path), *program, *model, *small],
        cwd=ROOT,
        env=own | ports | {"SARDEENZ_GPUS": "simulated:1x80GiB"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    found = json.loads((tmp_path / "whole.json").read_text())
    assert {row["point"] for row in found["rows"]} == {"7", "8"}
    assert found["failed"] == 0
    assert "no figure here is of a GPU" in found["about"]["simulated"]
