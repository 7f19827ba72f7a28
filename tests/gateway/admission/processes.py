"""Several gateway processes' peers in one test, on one clock and one hash."""

import asyncio
import itertools
from collections.abc import Mapping

from gateway.admission.peers import EXCHANGE_SECONDS, Peers, SeatDemand
from gateway.limits.limiter import Limiter
from sardeenz.errors import LimitExceeded
from tests.gateway.limits.test_limits import NOON, Key

DEPLOYMENT = 5


class Hash:
    """One hash, as Redis would keep it, and one clock for all."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.fault: OSError | None = None
        self.now = 1000.0

    async def exchange(self, gateway_id: str, said: bytes) -> Mapping[str, bytes]:
        if self.fault is not None:
            raise self.fault
        self.fields[gateway_id] = said
        fields = dict(self.fields)
        await asyncio.sleep(0)  # the answer travels: others may speak before it arrives
        return fields


class Process:
    """One gateway process, with one deployment and its requests in flight and waiting."""

    _names = itertools.count(1)

    def __init__(self, shared: Hash, limit: int = 10) -> None:
        self.limiter = Limiter(lambda: shared.now, lambda: NOON + shared.now)
        self.limit = limit
        self.in_flight = 0
        self.waiting = 0
        self.peers = Peers(
            f"gateway-{next(self._names)}", shared.exchange, self.limiter, self._demand, lambda: shared.now
        )
        self.peers.on_exchange.append(self.pump)

    def _demand(self) -> dict[int, SeatDemand]:
        return {DEPLOYMENT: SeatDemand(self.limit, self.in_flight, self.waiting)}

    @property
    def allowed(self) -> int:
        return self.peers.allowed(DEPLOYMENT, self.limit)

    def pump(self) -> None:
        while self.waiting and self.in_flight < self.allowed:
            self.waiting -= 1
            self.in_flight += 1

    def arrive(self, count: int) -> None:
        self.waiting += count
        self.pump()

    def finish(self, count: int) -> None:
        self.in_flight -= min(count, self.in_flight)
        self.pump()

    def calls(self, caller: Key, tokens: int = 0, at_most: int = 1000) -> int:
        """How many calls are let through now; they end at once."""
        for count in range(at_most):
            try:
                self.limiter.settle(self.limiter.admit(caller, tokens), None, 0.0)
            except LimitExceeded:
                return count
        return at_most


async def exchanges(shared: Hash, *processes: Process, rounds: int = 1) -> None:
    """All exchange, in this order, every so often."""
    for _ in range(rounds):
        shared.now += EXCHANGE_SECONDS
        for process in processes:
            await process.peers.exchange_once()
