"""`sardeenz up` as a person runs it: first start, crash, second start, end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from sardeenz import env
from sardeenz.cli.config import load
from sardeenz.run import leftovers
from tests.patience import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]
Up = Callable[[], subprocess.Popen[str]]


def _environment(data_dir: Path) -> dict[str, str]:
    """Ours, without the servers of the tests: an installation of its own on one simulated GPU."""
    away = ("SARDEENZ_DATABASE_URL", "SARDEENZ_REDIS_URL", "SARDEENZ_SECRET_KEY")
    return {name: value for name, value in os.environ.items() if name not in away} | {
        "SARDEENZ_DATA_DIR": str(data_dir),
        "SARDEENZ_WEB_PORT": str(free_port()),
        "SARDEENZ_GATEWAY_PORT": str(free_port()),
        "SARDEENZ_GPUS": "simulated:1x80GiB",
    }


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    tmp_path.chmod(0o755)
    environment = _environment(tmp_path) | {"COLUMNS": "200"}
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "sardeenz.cli.main", "up"]
        running.append(subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()
    for each in leftovers.find(tmp_path):
        os.kill(each.pid, signal.SIGKILL)


def _banner(process: subprocess.Popen[str]) -> str:
    """What it prints until the `curl` line."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if "curl -N" in line:
            return read
    pytest.fail(f"it ended: {read}")


def _ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    return process.returncode


def test_a_second_start_finds_the_state_of_the_first_even_after_a_crash(up: Up, tmp_path: Path) -> None:
    first = up()
    shown = _banner(first)
    config = load(tmp_path)
    assert config.api_key in shown
    assert "simulated" in shown
    first.kill()
    for each in leftovers.find(tmp_path):
        os.kill(each.pid, signal.SIGKILL)
    second = up()
    again = _banner(second)
    assert config.api_key not in again
    printed = next(line for line in again.splitlines() if line.startswith("curl"))
    answered = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=True).stdout
    assert "model_not_found" in answered  # the key was taken; there is no model called chat yet
    assert load(tmp_path) == config
    headers = {"Authorization": f"Bearer {config.api_key}"}
    assert httpx2.get(f"{config.gateway_url}/v1/models", headers=headers).status_code == 200
    assert _ended(second) == 0
    assert leftovers.find(tmp_path) == []


def test_a_killed_process_is_started_again_and_a_second_up_is_refused(up: Up, tmp_path: Path) -> None:
    process = up()
    _banner(process)
    supervisor = int((env.run_dir(tmp_path) / "supervisord.pid").read_text())
    victims = [each.pid for each in leftovers.find(tmp_path) if each.name in ("web", "postgres", "supervisor")]
    assert supervisor in victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    refused = up()
    assert refused.stdout is not None
    assert "already runs" in refused.stdout.read()
    assert refused.wait() == 1
    config = load(tmp_path)
    deadline = time.monotonic() + 120
    headers = {"Authorization": f"Bearer {config.token}"}
    while not _works(f"{config.url}/api/gpus", headers):
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.2)
    assert _ended(process) == 0
    assert leftovers.find(tmp_path) == []


def _works(url: str, headers: dict[str, str]) -> bool:
    try:
        return httpx2.get(url, headers=headers).status_code == 200
    except httpx2.TransportError:
        return False


def test_settings_that_cannot_go_together_are_told_before_anything_serves(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    environment = _environment(tmp_path)
    environment["SARDEENZ_GATEWAY_PORT"] = environment["SARDEENZ_WEB_PORT"]
    argv = [sys.executable, "-m", "sardeenz.cli.main", "up"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "the web and the gateway have the same port" in done.stdout + done.stderr
    assert leftovers.find(tmp_path) == []
