"""`sardeenz up` as a person runs it: everything killed at once, started again, stopped with Ctrl-C."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sardeenz.run import leftovers, services
from tests.e2e.stack import ROOT
from tests.e2e.traffic import Clients
from tests.patience import free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]


class Up:
    """One `sardeenz up` with a data directory of its own."""

    def __init__(self) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="srdz-up-"))
        self.ports = {"SARDEENZ_WEB_PORT": str(free_port()), "SARDEENZ_GATEWAY_PORT": str(free_port())}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SARDEENZ_")}
        first = 30000 + os.getpid() % 100 * 20
        self.environment = (
            inherited
            | self.ports
            | {
                "SARDEENZ_DATA_DIR": str(self.data_dir),
                "SARDEENZ_GPUS": "simulated:2x80GiB",
                "SARDEENZ_GATEWAY_PROCESSES": "1",
                "SARDEENZ_ENGINE_PORTS": f"{first}-{first + 19}",
            }
        )
        self.output = self.data_dir / "up.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its banner."""
        with self.output.open("wb") as out:
            command = [sys.executable, "-m", "sardeenz.cli.main", "up"]
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )
        until(lambda: "Sardeenz is up" in self.said or self.ended, "the banner", 120)
        assert not self.ended, self.said

    @property
    def said(self) -> str:
        """Its output so far."""
        return self.output.read_text()

    @property
    def ended(self) -> bool:
        """Whether it is no longer running."""
        return self.process is None or self.process.poll() is not None

    def get(self, path: str) -> Any:
        """A read of the REST API with the key of the local command line."""
        told = json.loads((self.data_dir / "cli.json").read_text())
        headers = {"Authorization": f"Bearer {told['token']}"}
        answer = httpx2.get(f"{told['url']}/api/{path}", headers=headers, timeout=10, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def cli(self, *words: str) -> None:
        """A verb of the command line."""
        argv = [sys.executable, "-m", "sardeenz.cli.main", *words]
        subprocess.run(argv, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def replicas(self) -> list[dict[str, Any]]:
        """Every replica's row."""
        found = self.get("replicas")
        return list(found["results"] if isinstance(found, dict) else found)

    def engines(self) -> dict[str, int]:
        """Pids of this data directory's live engines by marker, as the process table has them."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                found |= self._engine(entry)
        return found

    def _engine(self, entry: Path) -> dict[str, int]:
        try:
            variables = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return {}
        ours = f"SARDEENZ_SIMULATED_DIR={self.data_dir / 'simulated'}" in variables
        marker = next((value for value in variables if value.startswith("SARDEENZ_REPLICA=")), None)
        return {marker: int(entry.name)} if ours and marker else {}

    def kill_all_but_a_gateway(self) -> None:
        """SIGKILL everything of this installation except its gateway and its engines."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for each in leftovers.find(self.data_dir):
            if not each.name.startswith(services.GATEWAY):
                os.kill(each.pid, signal.SIGKILL)

    def clear(self) -> None:
        """End whatever is left, and remove the data directory."""
        if not self.ended and self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for pid in [*(each.pid for each in leftovers.find(self.data_dir)), *self.engines().values()]:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data_dir, ignore_errors=True)


@pytest.fixture
def up() -> Iterator[Up]:
    """A running installation with the three sample deployments loaded."""
    made = Up()
    try:
        made.start()
        subprocess.run([sys.executable, "-m", "sardeenz.cli.main", "demo"], cwd=ROOT, env=made.environment, check=True)
        until(lambda: [row["state"] for row in made.replicas()] == ["ready"] * 3, "three loaded models", 90)
        yield made
    finally:
        made.clear()


def key_in(text: str) -> str:
    """The API key that the first start prints."""
    found = re.search(r"sk-srdz-[\w-]+", text)
    assert found is not None, text
    return found[0]


def test_streams_outlive_all_processes_but_their_gateway_and_engines_are_adopted(
    up: Up, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1"
    clients, flowing = Clients(url, key_in(up.said)), threading.Event()

    async def sixteen() -> None:
        async with clients.session() as session:
            started = [asyncio.Event() for _ in range(16)]
            streams = [clients.stream(session, "chat", 400, event) for event in started]
            gathered = asyncio.gather(*streams)
            await asyncio.gather(*(event.wait() for event in started))
            flowing.set()
            await gathered

    thread = threading.Thread(target=lambda: asyncio.run(sixteen()))
    thread.start()
    assert flowing.wait(30)
    before = up.engines()
    up.kill_all_but_a_gateway()
    thread.join()
    assert clients.failed == []
    assert len(before) == 3
    began = time.monotonic()
    up.start()
    until(lambda: [row["state"] for row in up.replicas()] == ["ready"] * 3, "every engine is adopted", 30)
    with capsys.disabled():
        print(f"\n16 streams whole; started again and 3 engines adopted in {time.monotonic() - began:.1f} s")
    assert up.engines() == before


def forked(up: Up) -> dict[int, str]:
    """Every Python process of the installation but `up` itself: its name by pid."""
    servers = (services.POSTGRES, services.VALKEY)
    return {each.pid: each.name for each in leftovers.find(up.data_dir) if each.name not in servers}


def test_a_kill_ends_one_service_and_its_next_start_brings_no_other_down(up: Up) -> None:
    assert len(forked(up)) >= 8
    for name in sorted({*forked(up).values()} - {services.SUPERVISOR}):
        before = forked(up)
        killed = next(pid for pid, each in before.items() if each == name)
        others = {pid: each for pid, each in before.items() if pid != killed}
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in forked(up), f"the killed {name} is gone", 30)  # noqa: B023
        after = until(lambda: now if len(now := forked(up)) == len(before) else None, f"{name} is back", 30)  # noqa: B023
        assert killed not in after
        assert others.items() <= after.items()
        assert sorted(after.values()) == sorted(before.values())


def test_ctrl_c_ends_everything_and_leaves_nothing(up: Up) -> None:
    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(90) == 0, up.said
    assert leftovers.find(up.data_dir) == []
    assert up.engines() == {}


def ask(up: Up, model: str) -> tuple[int, float]:
    """A short call to this model: its status, and the seconds it took."""
    told = json.loads((up.data_dir / "cli.json").read_text())
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    headers = {"Authorization": f"Bearer {told['api_key']}"}
    began = time.monotonic()
    url = f"{told['gateway_url']}/v1/chat/completions"
    answer = httpx2.post(url, json=body, headers=headers, timeout=120, trust_env=False)
    return answer.status_code, time.monotonic() - began


def row(up: Up, name: str) -> dict[str, Any]:
    """The row of this deployment's replica."""
    return next(each for each in up.replicas() if each["deployment_name"] == name)


def test_after_ctrl_c_who_served_serves_again_first_and_sleepers_load_when_they_are_asked_for(
    up: Up, capsys: pytest.CaptureFixture[str]
) -> None:
    up.cli("sleep", "summariser")
    until(lambda: row(up, "summariser")["state"] == "sleeping", "the sleeper", 60)
    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(90) == 0, up.said
    began = time.monotonic()
    up.start()
    started = time.monotonic() - began
    assert [status for status, _ in (ask(up, "chat"), ask(up, "code"))] == [200, 200]
    served = time.monotonic() - began
    asleep = row(up, "summariser")
    assert (asleep["state"], asleep["goal"]) == ("stopped", "sleeping")
    assert "it loads at its first request" in asleep["message"]
    status, waited = ask(up, "summariser")
    assert status == 200
    assert row(up, "summariser")["state"] == "ready"
    history = up.get("transitions?limit=200")["results"]
    assert [each for each in history if each["new"] == "failed"] == []
    assert {each["restarts"] for each in up.replicas()} == {0}
    with capsys.disabled():
        print(
            f"\nstarted in {started:.1f} s, both served after {served:.1f} s; the sleeper's first call: {waited:.1f} s"
        )
