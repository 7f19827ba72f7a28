"""Whose engine is whose on this node, as the rows say: read by the loop's thread, a few seconds old at most."""

import time
from collections.abc import Collection

from django.conf import settings

from models_app.memory.ledger import Owner
from models_app.models import Replica
from models_app.rows import measured
from models_app.states import State

READ_SECONDS = 5.0
"""Sizes are measured at a load or a sleep; they may be shown this much later."""


class Owners:
    """The last reading of the rows, and since when each engine was seen.

    An engine is an orphan once rows that were read after it was first seen do not know it: a row comes before its
    engine, so what is missing then was deleted, or never ours to start.
    """

    def __init__(self) -> None:
        self.by_marker: dict[str, Owner] = {}
        self._began = float("-inf")
        self._first_seen: dict[str, float] = {}

    def due(self, markers: Collection[str]) -> bool:
        """Whether the rows should be read: for an engine nobody knows yet, else every READ_SECONDS while one lives."""
        now = time.monotonic()
        self._first_seen = {marker: self._first_seen.get(marker, now) for marker in markers}
        unknown = any(marker not in self.by_marker and self._first_seen[marker] >= self._began for marker in markers)
        return unknown or (bool(markers) and now - self._began >= READ_SECONDS)

    def read(self) -> None:
        """Read the rows of this node's replicas. Raises DatabaseError, and what was known stays."""
        began = time.monotonic()
        found = Replica.objects.filter(gpu__node__name=settings.NODE).exclude(ipc_name="", state=State.STOPPED)
        owners = {row.marker: _owner(row) for row in found.select_related("deployment")}
        self.by_marker, self._began = owners, began

    def orphans(self, markers: Collection[str]) -> set[str]:
        """Those that no replica owns."""
        return {
            marker
            for marker in markers
            if marker not in self.by_marker and self._first_seen.get(marker, float("inf")) < self._began
        }


def _owner(row: Replica) -> Owner:
    return Owner(
        marker=row.marker,
        name=row.deployment.served_name,
        ipc_name=row.ipc_name,
        asleep=row.state == State.SLEEPING,
        weights_bytes=measured("weights_bytes", row.profile, row.spec),
        overhead_bytes=measured("overhead_bytes", row.profile, row.spec),
    )
