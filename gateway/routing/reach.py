"""Engines that accept no connection: dead a moment ago and not reported yet, or not listening for other reasons.

Nothing was sent there, so whoever asked waits as for a model that starts. One task per such replica tries to connect
until it succeeds or the table no longer names the replica.
"""

import asyncio
from collections.abc import Callable

from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Router
from gateway.wire.upstream import NothingAnswered

PROBE_SECONDS = 0.25


class Reach:
    """Finds out when a replica may be asked again; `changed` is called then."""

    def __init__(self, router: Router, changed: Callable[[], None]) -> None:
        self._router = router
        self._changed = changed
        self._probes: set[asyncio.Task[None]] = set()

    def lost(self, replica: RoutedReplica) -> None:
        """A call could not connect to this replica."""
        self._router.look_again()
        if replica.health.refuses or not self._router.routable(replica):
            return
        replica.health.refuses = True
        probe = asyncio.create_task(self._probe(replica))
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: RoutedReplica) -> None:
        try:
            while self._router.routable(replica):
                await asyncio.sleep(PROBE_SECONDS)
                try:
                    connection = await replica.pool.connect()
                except NothingAnswered:
                    continue
                connection.abort()
                break
        finally:
            replica.health.refuses = False
            self._changed()

    async def end(self) -> None:
        """All tasks that try to connect are cancelled and awaited, as the gateway stops."""
        probes = tuple(self._probes)
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
