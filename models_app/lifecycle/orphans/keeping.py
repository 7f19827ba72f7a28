"""Which engines that no replica owns are left alone for a while, so that an operator may adopt one or end it."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.conf import settings

from gpus import processes
from gpus.processes import EngineProcess
from models_app.errors import MemoryHeld, NotAdoptable
from models_app.lifecycle import launch
from models_app.lifecycle.orphans import adoption
from models_app.lifecycle.orphans.adoption import Orphan
from models_app.lifecycle.transition import WORKER
from models_app.models import Decision, Replica

ENDED = "orphan_ended"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Keeping:
    """Since when this worker has seen each of them. Forgotten, the time begins anew."""

    since: dict[str, float] = field(default_factory=dict)

    def see_to(self, engines: Iterable[EngineProcess], rows: Iterable[Replica]) -> set[str]:
        """End those that nobody can use any more. The markers of all others."""
        found, now = [see(engine) for engine in engines], time.monotonic()
        self.since = {orphan.marker: self.since.get(orphan.marker, now) for orphan in found}
        short = _short_of_memory(rows) if found else set()
        kept = set()
        for engine, orphan in zip(engines, found, strict=True):
            if why := self._why_ended(orphan, short, now):
                _end(engine, orphan, why)
            else:
                adoption.claim_number(orphan.number)
                kept.add(orphan.marker)
        return kept

    def _why_ended(self, orphan: Orphan, short: set[str], now: float) -> str:
        if now - self.since[orphan.marker] >= settings.ORPHAN_SECONDS:
            return f"nobody adopted it within {settings.ORPHAN_SECONDS:.0f} s"
        if short & set(orphan.gpu_uuids):
            return "a replica waits for memory of its GPU"
        if Decision.objects.filter(code=adoption.END, replica=orphan.number, inputs__marker=orphan.marker).exists():
            return "an operator wanted it so"
        try:
            adoption.match(orphan)
        except NotAdoptable as error:
            return error.message
        return ""


def see(engine: EngineProcess) -> Orphan:
    """What its environment tells of it, on the node where it runs."""
    told = launch.launched(engine.pid)
    port = urlsplit(engine.url).port if engine.url and engine.led else None
    uuids, of = (told.gpu_uuids, told.settings) if told is not None else ((), "")
    return Orphan(engine.marker, engine.pid, of, uuids, port)


def _short_of_memory(rows: Iterable[Replica]) -> set[str]:
    """GPUs on which a replica cannot load or wake for want of memory."""
    return {uuid for row in rows if row.reason == MemoryHeld.code for uuid in row.gpu_uuids}


def _end(engine: EngineProcess, orphan: Orphan, why: str) -> None:
    """Tell it once: while it dies, this worker or another may see it again, and then it tells nothing of itself."""
    processes.kill(engine)
    if Decision.objects.filter(code=ENDED, replica=orphan.number, inputs__marker=orphan.marker).exists():
        return
    logger.warning("orphan ended: marker=%s pid=%s why=%s", engine.marker, engine.pid, why)
    words = f"the engine {orphan.marker}, which no replica owned, was ended: {why}"
    adoption.keep(orphan, ENDED, words, WORKER)
