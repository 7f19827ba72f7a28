"""What the engines of this node hold of its RAM, read beside the frames: the kernel walks every page for it."""

import logging
import threading
import time
from collections.abc import Collection, Iterable

from gpus import devices, processes
from gpus.processes import EngineProcess
from models_app.memory import host_ram
from models_app.memory.host_ram import HostLedger

READ_SECONDS = 10.0

logger = logging.getLogger(__name__)


class HostReading:
    """The last reading, by marker, and the thread that makes the next one. It is never waited for."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._measured_at: float | None = None
        self._began = float("-inf")
        self._thread: threading.Thread | None = None
        self._known: frozenset[str] = frozenset()

    def see_to(self, engines: Iterable[EngineProcess], asleep: Collection[str]) -> None:
        """Read once more when it is due: every READ_SECONDS, and at once when an engine came or fell asleep."""
        found = list(engines)
        known = frozenset(f"{engine.marker}/{engine.marker in asleep}" for engine in found)
        due = time.monotonic() - self._began >= READ_SECONDS or bool(known - self._known)
        if not due or (self._thread is not None and self._thread.is_alive()):
            return
        self._began, self._known = time.monotonic(), known
        self._thread = threading.Thread(target=self._read, args=(found,), daemon=True, name="host RAM")
        self._thread.start()

    def settle(self, timeout_seconds: float) -> None:
        """Wait for a reading under way."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def ledger(self, present: Collection[str], asleep: Collection[str]) -> HostLedger | None:
        """The ledger now, by the last reading; None before the first."""
        if self._measured_at is None:
            return None
        held = {marker: size for marker, size in self._held.items() if marker in present}
        return host_ram.ledger(devices.host_memory(), held, asleep, self._measured_at)

    def _read(self, engines: list[EngineProcess]) -> None:
        began = time.time()
        try:
            pretended = devices.host_claims()
            held = {engine.marker: _held(engine, pretended) for engine in engines}
        except OSError as error:
            logger.warning("host RAM not read: error=%s", error)
            return
        self._held = {marker: size for marker, size in held.items() if size is not None}
        self._measured_at = began


def _held(engine: EngineProcess, pretended: dict[int, int]) -> int | None:
    size = processes.held_ram(engine.pids)
    return None if size is None else size + sum(pretended.get(pid, 0) for pid in engine.pids)
