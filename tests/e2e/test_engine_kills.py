"""An engine killed again and again under load: no call fails that had not reached it.

SARDEENZ_TEST_KILL_SECONDS says for how long: 40 unless told otherwise, with a kill every 20 s.
"""

import asyncio
import os
import signal
import threading
import time

import httpx2
import pytest

from models_app.lifecycle import verbs
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.traffic import Background, Clients, Outcome, Stampede

SECONDS = float(os.environ.get("SARDEENZ_TEST_KILL_SECONDS", "40"))
EVERY_SECONDS = 20.0
ARGS = ["--load-seconds", "1", "--tokens-per-second", "40"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.e2e,
    pytest.mark.faults,
    pytest.mark.timeout(300 + 2 * SECONDS),
]


class Load(Background):
    """Streams and short calls until told to end; every call is a new connection."""

    def __init__(self, clients: Clients, model: str) -> None:
        super().__init__(clients)
        self.model = model
        self.flowing = threading.Event()
        self.longest_seconds = 0.0

    async def call(self) -> None:
        streams = Stampede(self.clients, self.model, width=8, tokens=20)
        async with self.clients.session() as session:
            short = [asyncio.create_task(self._ask(session)) for _ in range(4)]
            flow = asyncio.create_task(streams.run())
            await streams.all_flowing()
            self.flowing.set()
            while not self.ended.is_set():
                await asyncio.sleep(0.05)
            streams.stop.set()
            await asyncio.gather(flow, *short)

    async def _ask(self, session: httpx2.AsyncClient) -> None:
        while not self.ended.is_set():
            began = time.monotonic()
            await self.clients.ask(session, self.model)
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            await asyncio.sleep(0.02)


def had_reached_an_engine(outcome: Outcome) -> bool:
    """Whether a call that failed had been sent to an engine, which then died over it."""
    return outcome.chunks > 0 or "the engine closed the connection" in outcome.error


def test_no_call_fails_that_had_not_reached_an_engine(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    [replica] = verbs.deploy(factories.deployment(extra_args=ARGS), actor="test")
    wait_for(replica, "ready")
    clients = Clients(stack.url, stack.key)
    load = Load(clients, replica.spec["served_name"])
    load.start()
    kills = 0
    try:
        assert load.flowing.wait(60)
        for _ in range(max(1, round(SECONDS / EVERY_SECONDS))):
            replica.refresh_from_db()
            os.kill(stack.engines()[replica.marker].pid, signal.SIGKILL)
            kills += 1
            time.sleep(EVERY_SECONDS)
            wait_for(replica, "ready")
    finally:
        load.end()
    met = [outcome for outcome in clients.failed if had_reached_an_engine(outcome)]
    others = [outcome for outcome in clients.failed if not had_reached_an_engine(outcome)]
    with capsys.disabled():
        print(
            f"\n{len(clients.outcomes)} calls, {kills} kills: {len(met)} calls failed that had reached an engine, "
            f"{len(others)} that had not; the longest short call took {load.longest_seconds:.1f} s"
        )
    assert others == []
    assert len(met) <= 12 * kills  # those that were there when it died
