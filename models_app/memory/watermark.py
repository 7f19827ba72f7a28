"""Where limits cannot give a GPU's engines what they were promised: how many bytes lack, and since when. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models_app.memory.governor import Decision
from models_app.memory.reclaim import PAGES_BYTES, Scene

LACK_SECONDS = 10.0
"""So long it has to lack: limits need a few seconds to act, and bursts pass."""
PAUSE_SECONDS = 30.0
"""So long what was asked for has time to happen."""


def lacking(scene: Scene, uuid: str, decided: Mapping[int, Decision]) -> int:
    """Bytes of a GPU that lack even with all engines held to their floors, while one of them wants to grow.

    They are those that keep kvcached from mapping anything at all, and what is left of the floors of engines at work.
    One that waits to load or to wake is seen to elsewhere.
    """
    device, here = scene.devices[uuid], [one for one in scene.on(uuid) if one.id in decided]
    if any(uuid in claimant.needs for claimant in scene.claimants):
        return 0
    if not any(decided[one.id].wanted_bytes > one.mapped_bytes for one in here):
        return 0
    promised = sum(max(min(decided[one.id].wanted_bytes, one.floor_bytes) - one.mapped_bytes, 0) for one in here)
    return max(device.margin_bytes + promised - device.free_bytes - sum(one.excess_bytes for one in here), 0)


@dataclass(slots=True)
class Lacks:
    """Since when each GPU lacks memory, and when somebody was last asked to sleep for it."""

    since: dict[str, float] = field(default_factory=dict)
    asked_at: dict[str, float] = field(default_factory=dict)

    def due(self, lacks: Mapping[str, int], now: float) -> list[str]:
        """The GPUs for which somebody has to sleep now. A lack begins above a few pages, and ends at none."""
        for uuid in self.since.keys() - {uuid for uuid, size in lacks.items() if size > 0}:
            del self.since[uuid]
        for uuid, size in lacks.items():
            if size > PAGES_BYTES:
                self.since.setdefault(uuid, now)
        lasts = [uuid for uuid, began in self.since.items() if now - began >= LACK_SECONDS]
        return [uuid for uuid in sorted(lasts) if now - self.asked_at.get(uuid, now - PAUSE_SECONDS) >= PAUSE_SECONDS]

    def asked(self, uuid: str, now: float) -> None:
        """Somebody goes for it: nobody else has to for a while."""
        self.asked_at[uuid] = now
