"""One step of `manage.py run_node`: a frame for the pages, and the rows of this node kept true beside it."""

import logging
import threading
import time

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from gpus import devices, discovery, telemetry
from gpus.models import Node
from gpus.readings import DeviceReading
from models_app.node import frame
from models_app.node.frame import NodeFrame

SEEN_SECONDS = 10.0

logger = logging.getLogger(__name__)


class NodeLoop:
    """What the loop remembers between steps. Rows are written by a thread: a hung database costs no frame."""

    def __init__(self) -> None:
        self._discovered: frozenset[str] | None = None
        self._last: NodeFrame | None = None
        self._rows_at = -SEEN_SECONDS
        self._rows: threading.Thread | None = None

    def step(self) -> None:
        """Read the devices once, publish the frame, and see to the rows when they are due."""
        readings = devices.read_all()
        self._last = frame.add_rates(frame.collect(readings), self._last)
        telemetry.publish(self._last)
        uuids = frozenset(reading.uuid for reading in readings)
        due = uuids != self._discovered or time.monotonic() - self._rows_at >= SEEN_SECONDS
        if due and (self._rows is None or not self._rows.is_alive()):
            self._rows_at = time.monotonic()
            self._rows = threading.Thread(target=self._write_rows, args=(readings, uuids), daemon=True, name="rows")
            self._rows.start()

    def settle(self, timeout_seconds: float) -> None:
        """Wait for rows that are being written."""
        if self._rows is not None:
            self._rows.join(timeout_seconds)

    def _write_rows(self, readings: list[DeviceReading], uuids: frozenset[str]) -> None:
        try:
            close_old_connections()
            seen = uuids == self._discovered and Node.objects.filter(name=settings.NODE).update(seen_at=timezone.now())
            if not seen:
                discovery.discover(readings=readings)
                self._discovered = uuids
        except DatabaseError as error:
            logger.warning("rows not written: node=%s error=%s", settings.NODE, str(error).strip())
        finally:
            connection.close()
