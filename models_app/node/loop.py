"""One step of `manage.py run_node`: a frame for the pages, and the rows of this node kept true beside it."""

import logging
import threading
import time
from collections.abc import Collection

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from gpus import devices, discovery, telemetry
from gpus.models import Node
from gpus.readings import DeviceReading
from models_app.node import frame
from models_app.node.frame import NodeFrame
from models_app.node.governing import Governing
from models_app.node.host import HostReading
from models_app.node.owners import Owners

SEEN_SECONDS = 10.0

logger = logging.getLogger(__name__)


class NodeLoop:
    """What the loop remembers between steps. A thread reads and writes rows: a hung database costs no frame."""

    def __init__(self) -> None:
        self._discovered: frozenset[str] | None = None
        self._last: NodeFrame | None = None
        self._rows_at = -SEEN_SECONDS
        self._rows: threading.Thread | None = None
        self._owners = Owners()
        self.governing = Governing()
        self._host = HostReading()

    def step(self) -> None:
        """Read the devices once, publish the frame, and see to the rows when they are due."""
        readings = devices.read_all()
        now = frame.collect(readings, self._owners, self.governing.decisions, self._host)
        self.governing.seen = {engine["marker"]: engine for engine in now["engines"]}
        self._last = frame.add_rates(now, self._last)
        telemetry.publish(self._last)
        self._see_to_rows(readings, {engine["marker"] for engine in now["engines"]})

    def settle(self, timeout_seconds: float) -> None:
        """Wait for rows that are being written."""
        if self._rows is not None:
            self._rows.join(timeout_seconds)

    def _see_to_rows(self, readings: list[DeviceReading], markers: Collection[str]) -> None:
        uuids = frozenset(reading.uuid for reading in readings)
        seen_due = uuids != self._discovered or time.monotonic() - self._rows_at >= SEEN_SECONDS
        owners_due = self._owners.due(markers)
        if not (seen_due or owners_due) or (self._rows is not None and self._rows.is_alive()):
            return
        if seen_due:
            self._rows_at = time.monotonic()
        work = (readings if seen_due else None, uuids, owners_due)
        self._rows = threading.Thread(target=self._work_on_rows, args=work, daemon=True, name="rows")
        self._rows.start()

    def _work_on_rows(self, readings: list[DeviceReading] | None, uuids: frozenset[str], owners_due: bool) -> None:
        try:
            close_old_connections()
            if readings is not None:
                self._be_seen(readings, uuids)
            if owners_due:
                self._owners.read()
        except DatabaseError as error:
            logger.warning("rows out of reach: node=%s error=%s", settings.NODE, str(error).strip())
        finally:
            connection.close()

    def _be_seen(self, readings: list[DeviceReading], uuids: frozenset[str]) -> None:
        seen = uuids == self._discovered and Node.objects.filter(name=settings.NODE).update(seen_at=timezone.now())
        if not seen:
            discovery.discover(readings=readings)
            self._discovered = uuids
