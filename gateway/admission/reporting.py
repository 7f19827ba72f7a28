"""This process's word to the rest of Sardeenz: which replicas it may use, what it has in flight, what was used."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from gateway.admission.holds import Holds
from gateway.metering.meter import Meter
from gateway.outage import Outage
from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Router

REPORT_SECONDS = 1.0
IDLED_SECONDS = 0.25
"""Between two words about replicas that idle: short calls end by the hundred."""

WaitingCalls = Mapping[int, Mapping[str, float | None]]
Report = Callable[[str, Iterable[str], Mapping[str, int], WaitingCalls, float], Awaitable[None]]
"""Gateway id, markers routed, leases per marker, who waits per deployment, until when usage is in the database."""


class Reporter:
    """Writes routes and leases, always together, each second and at once when a drain may be waiting for it."""

    def __init__(
        self,
        gateway_id: str,
        router: Router,
        holds: Holds,
        meter: Meter,
        report: Report,
        touch: Callable[[Iterable[int]], Awaitable[None]],
    ) -> None:
        self.gateway_id = gateway_id
        self.outage = Outage("reporting routes and leases")
        self._router = router
        self._holds = holds
        self._meter = meter
        self._report = report
        self._touch = touch
        self._used: set[int] = set()
        self._now = asyncio.Event()
        self._idled = False
        self._idled_at = -IDLED_SECONDS
        self._lock = asyncio.Lock()
        self.queued: Callable[[], WaitingCalls] = dict
        """Who stands in the queues, set by whoever has them."""

    def hurry(self) -> None:
        """Something changed that others wait to hear of: the next word goes out at once."""
        self._now.set()

    def returned(self, replica: RoutedReplica, *, routable: bool, used: bool = True) -> None:
        """A lease ended: for the last one of a replica an operator may wait, or a model that lacks its memory."""
        if used:
            self._used.add(replica.deployment_id)
        if not routable:
            self._now.set()
        elif replica.in_flight == 0 and self._holds.any and time.monotonic() - self._idled_at >= IDLED_SECONDS:
            self._idled_at = time.monotonic()
            self._idled = True
            self._now.set()

    def waiting(self) -> dict[int, dict[str, float | None]]:
        """Who waits per deployment: for a ready replica, and in its queue."""
        waiting: dict[int, dict[str, float | None]] = {key: {**calls} for key, calls in self._holds.waiting().items()}
        for deployment_id, queued in self.queued().items():
            waiting.setdefault(deployment_id, {}).update(queued)
        return waiting

    async def tell(self, routes: frozenset[str] | None = None) -> None:
        """Write what is true now, with `routes` instead of the table's when they are about to become true."""
        async with self._lock:
            leases = self._router.leases()
            shown = self._router.table.markers if routes is None else routes
            with self.outage.watch():
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._report(self.gateway_id, shown, leases, self.waiting(), self._meter.written_until)

    async def withdraw(self, forget: Callable[[str], Awaitable[None]]) -> None:
        """Take the report back: this process is gone in order and holds nothing."""
        with self.outage.watch():
            async with asyncio.timeout(REPORT_SECONDS):
                await forget(self.gateway_id)

    async def keep_telling(self) -> None:
        """Once a second, and at once when asked."""
        while True:
            self._now.clear()
            idled, self._idled = self._idled, False
            await self.tell()
            if idled:  # who decides reads what was just told
                self._holds.ask_again()
            await self._tell_use()
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                pass

    async def _tell_use(self) -> None:
        """A deployment with a request in flight is in use, however long that request takes."""
        replicas = self._router.table.replicas.values()
        used = self._used | {each.deployment_id for each in replicas if each.in_flight > each.unnoticed}
        self._used = set()
        if not used:
            return
        with self.outage.watch() as attempt:
            async with asyncio.timeout(REPORT_SECONDS):
                await self._touch(used)
        if attempt.failed:
            self._used |= used
