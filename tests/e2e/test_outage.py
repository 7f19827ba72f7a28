"""PostgreSQL and Redis away for a while, frozen and killed, under load: no call fails, and all catches up.

SARDEENZ_TEST_OUTAGE_SECONDS says for how long: 10 unless told otherwise.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sardeenz.run import leftovers, services
from tests.e2e.stack import ROOT
from tests.e2e.test_supervised import Up, key_in
from tests.e2e.traffic import Clients, Stampede
from tests.patience import until

SECONDS = float(os.environ.get("SARDEENZ_TEST_OUTAGE_SECONDS") or 10)
TOKENS = 40
CLI = (sys.executable, "-m", "sardeenz.cli.main")
pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300 + 2 * SECONDS)]


class Load:
    """Streams and short calls for as long as the context lasts; every call is a new connection."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self._loop = asyncio.new_event_loop()
        self._streams: Stampede
        self._flowing = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    def __enter__(self) -> "Load":
        self._thread.start()
        assert self._flowing.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._streams.stop.set)
        self._thread.join()
        self._loop.close()

    @property
    def ended(self) -> int:
        """Calls that were answered to their end."""
        return sum(outcome.done for outcome in tuple(self.clients.outcomes))

    async def _run(self) -> None:
        self._streams = Stampede(self.clients, "chat", width=4, tokens=TOKENS)
        async with self.clients.session() as session:
            short = [asyncio.create_task(self._ask(session, name)) for name in ("chat", "code", "summariser")]
            streams = asyncio.create_task(self._streams.run())
            await self._streams.all_flowing()
            self._flowing.set()
            await asyncio.gather(streams, *short)

    async def _ask(self, session: httpx2.AsyncClient, name: str) -> None:
        while not self._streams.stop.is_set():
            await self.clients.ask(session, name)
            await asyncio.sleep(0.1)


def family(head: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [head]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def head_of(up: Up, service: str) -> int:
    """The first process of a service of this installation."""
    pids = {each.pid: each.parent for each in leftovers.find(up.data_dir) if each.name == service}
    [head] = [pid for pid, parent in pids.items() if parent not in pids]
    return head


@contextmanager
def frozen(up: Up, service: str) -> Iterator[None]:
    """It accepts connections and answers nothing."""
    pids = family(head_of(up, service))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def killed(up: Up, service: str) -> Iterator[None]:
    """It is gone, and nobody starts it again before the end."""
    supervisor = head_of(up, services.SUPERVISOR)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for pid in family(head_of(up, service)):
            os.kill(pid, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One installation with two gateways and three loaded models, for all outages."""
    made = Up()
    made.environment["SARDEENZ_GATEWAY_PROCESSES"] = "2"
    try:
        made.start()
        subprocess.run([*CLI, "demo"], cwd=ROOT, env=made.environment, check=True)
        until(lambda: states(made) == ["ready"] * 3, "three loaded models", 90)
        yield made
    finally:
        made.clear()


def states(up: Up) -> list[str]:
    return [str(row["state"]) for row in up.replicas()]


def read(up: Up, path: str) -> Any:
    """What the API says, or None while it cannot say."""
    try:
        return up.get(path)
    except httpx2.HTTPError:
        return None


def calls(up: Up) -> int:
    """How many calls the usage table holds; -1 while it cannot be read."""
    found = read(up, "usage")
    return -1 if found is None else int(found["count"])


@pytest.mark.parametrize("service", [services.POSTGRES, services.VALKEY])
@pytest.mark.parametrize("outage", [frozen, killed])
def test_no_call_fails_and_all_catches_up(
    up: Up, service: str, outage: Callable[[Up, str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    counted, engines = calls(up), up.engines()
    clients = Clients(f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1", key_in(up.said))
    with Load(clients) as load:
        with outage(up, service):
            before = load.ended
            time.sleep(SECONDS)
            during = load.ended - before
        time.sleep(2)
    assert clients.failed == []
    assert during > SECONDS
    began = time.monotonic()
    all_written(up, counted + len(clients.outcomes))
    written = time.monotonic() - began
    assert states(up) == ["ready"] * 3
    assert up.engines() == engines
    sleep_and_wake(up, clients)
    all_written(up, counted + len(clients.outcomes))
    with capsys.disabled():
        print(
            f"\n{service} {outage.__name__} for {SECONDS:g} s: {during} calls, none of {len(clients.outcomes)} "
            f"failed, all written {written:.1f} s after the load"
        )


def all_written(up: Up, count: int) -> None:
    """Wait until the usage table holds exactly so many calls."""
    until(lambda: calls(up) == count, f"{count} calls written down", 60)


def sleep_and_wake(up: Up, clients: Clients) -> None:
    """An operator's word reaches the workers, their news reach the gateways, and a call wakes a model."""
    subprocess.run([*CLI, "sleep", "code"], cwd=ROOT, env=up.environment, check=True)
    until(lambda: "sleeping" in states(up), "the model sleeps", 60)

    async def call() -> None:
        async with clients.session() as session:
            await clients.ask(session, "code")

    asyncio.run(call())
    assert clients.failed == []
    until(lambda: states(up) == ["ready"] * 3, "the model is awake", 60)
