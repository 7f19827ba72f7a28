"""How much KV memory each engine of a node may map: the governor's decision of one second. Pure.

Limits follow demand, so that engines that idle leave all free KV memory to the one that works, and engines that compete
get what their weights say. What a GPU has for KV memory is shared out in rounds.

While every engine can have what it wants and none loads or wakes, all limits are the first ones. Else:

1. Each engine has its KV floor: it was promised when the engine was placed.
2. Engines that work get what they want beyond it, the highest priority first, by weight within one priority.
3. What an engine merely keeps (a prefix cache, blocks of the last burst) it keeps as far as that leaves it, in
   proportion.
4. What nobody wants is everybody's to grow into; while an engine loads or wakes, in equal parts, for it comes next.

An engine with several GPUs is held to the least of its shares. A limit below what is mapped revokes nothing: a busy
engine gives pages back as its requests end, an idle one once its prefix cache is reset.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models_app.memory.reclaim import PAGES_BYTES, Device, Neighbour, Scene
from sardeenz import fair

BUSY_SECONDS = 10.0
"""For so long after it was last seen to work an engine keeps its wish, so that limits do not flutter with requests."""
PRESSED_RATIO = 0.9
"""An engine that works and has mapped this part of its limit wants more than it."""
GROWTH_RATIO, GROWTH_BYTES = 0.25, 512 * 2**20
"""What an engine that works may come to want within a second, beyond what it has mapped; the larger counts."""
STEADY_RATIO = 0.02
"""Of the first limit: a share that differs by less from the limit in force is not worth a change."""


class Why(StrEnum):
    """What holds a limit where it is."""

    FREE = "free"
    """It may map all it has address space for: nothing on its GPUs is scarce."""
    SHARE = "share"
    """Others want KV memory too, and it has its share by weight and priority."""
    CLAIM = "claim"
    """An engine that loads or wakes needs the bytes."""
    FLOOR = "floor"
    """Less is left than was promised: it is held to its floor."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an engine would use now, in bytes on each of its GPUs, and how it stands among others."""

    wanted_bytes: int
    weight: int = 1
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """One engine's limit, what it was decided from, and why it is not higher."""

    limit_bytes: int
    wanted_bytes: int
    why: Why


def decide(scene: Scene, wishes: Mapping[int, Wish]) -> dict[int, Decision]:
    """The limit of every neighbour, by its id. Who has no wish wants nothing beyond its floor now."""
    wishes = {one.id: wishes.get(one.id, Wish(0)) for one in scene.neighbours}
    decided = {one.id: (one.first_limit_bytes, Why.FREE) for one in scene.neighbours}
    for uuid, device in scene.devices.items():
        here = scene.on(uuid)
        claims = [claimant.needs[uuid] + claimant.floor_bytes for claimant in scene.claimants if uuid in claimant.needs]
        for number, found in _on_one(device, here, wishes, claims).items():
            decided[number] = min(decided[number], found)
    return {
        one.id: Decision(_clamped(one, decided[one.id][0]), wishes[one.id].wanted_bytes, decided[one.id][1])
        for one in scene.neighbours
    }


def _clamped(one: Neighbour, limit: int) -> int:
    """Never below what is promised, and never more than the engine has address space for."""
    return min(max(limit, one.floor_bytes, PAGES_BYTES), one.first_limit_bytes)


def _on_one(
    device: Device, here: list[Neighbour], wishes: Mapping[int, Wish], claims: list[int]
) -> dict[int, tuple[int, Why]]:
    if not claims and not _compete(here, wishes):
        return {one.id: (one.first_limit_bytes, Why.FREE) for one in here}
    pool = device.free_bytes + sum(one.mapped_bytes for one in here) - device.margin_bytes - sum(claims)
    given = {one.id: min(one.floor_bytes, one.first_limit_bytes) for one in here}
    rest = pool - sum(given.values())
    if rest < 0:
        return {number: (size, Why.FLOOR) for number, size in given.items()}
    rest = _pour_wishes(rest, here, wishes, given)
    met = all(given[one.id] >= _wanted(one, wishes) for one in here)
    kept = {one.id: one.mapped_bytes - given[one.id] for one in here if one.mapped_bytes > given[one.id]}
    if not claims and met and sum(kept.values()) <= rest:
        return {one.id: (one.first_limit_bytes, Why.FREE) for one in here}
    for number, size in fair.shares(rest, kept, kept).items():
        given[number] += size
        rest -= size
    growth = rest // len(here) if claims and here else rest
    why = Why.CLAIM if claims else Why.SHARE
    return {number: (size + growth, why) for number, size in given.items()}


def _compete(here: list[Neighbour], wishes: Mapping[int, Wish]) -> bool:
    """Whether one wants to grow beside another: alone, or with nobody growing, kvcached itself keeps the margin."""
    return len(here) > 1 and any(_wanted(one, wishes) > one.mapped_bytes for one in here)


def _wanted(one: Neighbour, wishes: Mapping[int, Wish]) -> int:
    return min(wishes[one.id].wanted_bytes, one.first_limit_bytes)


def _pour_wishes(rest: int, here: list[Neighbour], wishes: Mapping[int, Wish], given: dict[int, int]) -> int:
    """Add to `given` what is wanted beyond it, class by class; what is left."""
    for priority in sorted({wishes[one.id].priority for one in here}, reverse=True):
        among = [one for one in here if wishes[one.id].priority == priority]
        wanted = {one.id: max(_wanted(one, wishes) - given[one.id], 0) for one in among}
        for number, size in fair.shares(rest, wanted, {one.id: wishes[one.id].weight for one in among}).items():
            given[number] += size
            rest -= size
    return rest


@dataclass(slots=True)
class Wants:
    """What engines want, by what they were last seen to do: when each worked, and when it was short of memory."""

    worked_at: dict[int, float] = field(default_factory=dict)
    pressed_at: dict[int, float] = field(default_factory=dict)

    def bytes(self, one: Neighbour, *, running: int | None, waiting: int | None, now: float) -> int:
        """One that has requests waiting, or fills its limit, wants all it can address; one that idles, nothing.

        What it was short of is forgotten once it idles: others may have it at once, and it asks again when it works.
        One that does not answer (a long prefill keeps it busy) wants what it last wanted, until it does.
        """
        if running is None or waiting is None:
            for remembered in (self.worked_at, self.pressed_at):
                if now - remembered.get(one.id, now - BUSY_SECONDS) < BUSY_SECONDS:
                    remembered[one.id] = now
        elif running or waiting:
            self.worked_at[one.id] = now
            if waiting or one.mapped_bytes >= PRESSED_RATIO * one.limit_bytes:
                self.pressed_at[one.id] = now
        else:
            self.pressed_at.pop(one.id, None)
        if now - self.pressed_at.get(one.id, now - BUSY_SECONDS) < BUSY_SECONDS:
            return one.first_limit_bytes
        if now - self.worked_at.get(one.id, now - BUSY_SECONDS) < BUSY_SECONDS:
            return one.mapped_bytes + max(int(GROWTH_RATIO * one.mapped_bytes), GROWTH_BYTES)
        return 0

    def forget_all_but(self, ids: Collection[int]) -> None:
        """Engines that are gone are remembered no longer."""
        for remembered in (self.worked_at, self.pressed_at):
            for number in remembered.keys() - set(ids):
                del remembered[number]


def matters(one: Neighbour, decision: Decision) -> bool:
    """Whether to write it. Shares move with every page that is mapped: what is hardly another limit stays as it is."""
    change = abs(decision.limit_bytes - one.limit_bytes)
    if decision.why == Why.SHARE:
        return change >= max(PAGES_BYTES, STEADY_RATIO * one.first_limit_bytes)
    return change > 0
