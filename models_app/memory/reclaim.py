"""Whether the device has the bytes for an engine that wakes or loads, and who has them. Pure: one look decides.

Rows promise weights, overhead and KV floors. What kvcached maps above a floor is nobody's promise, so a GPU may have
less free than its rows say, and an engine that wakes or loads needs its bytes at once. It goes ahead when the device
has them free, besides what those still take who load or wake already. Otherwise it waits, and what it lacks is a claim
that the governor keeps from its neighbours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sardeenz import sizes

PAGES_BYTES = 256 * 2**20
"""An idle engine keeps about so much: a few pages more than it uses are not worth a wait."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as it is. `margin_bytes`: with less free, kvcached maps nothing more."""

    name: str
    free_bytes: int
    margin_bytes: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An awake engine with a segment; its numbers hold for each of its GPUs."""

    id: int
    name: str
    uuids: frozenset[str]
    mapped_bytes: int
    floor_bytes: int
    limit_bytes: int
    first_limit_bytes: int
    """The limit at its start, beyond which it has no address space."""

    @property
    def excess_bytes(self) -> int:
        """KV memory above what is promised to it."""
        return max(self.mapped_bytes - self.floor_bytes, 0)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A replica that takes memory now, or would if there were enough. `needs` leaves its KV floor out."""

    id: int
    name: str
    needs: Mapping[str, int]
    floor_bytes: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What was seen. GPUs that do not tell are absent; claimants stand in the order in which they are served."""

    devices: Mapping[str, Device]
    claimants: tuple[Claimant, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()

    def on(self, uuid: str) -> list[Neighbour]:
        """The neighbours on this GPU."""
        return [one for one in self.neighbours if uuid in one.uuids]


def shortage(scene: Scene, wanted: Claimant) -> dict[str, int]:
    """Bytes by GPU that have to come back before it may go ahead; nothing where it may now."""
    short = {}
    for uuid in wanted.needs.keys() & scene.devices.keys():
        device = scene.devices[uuid]
        free = device.free_bytes - _taken_before(scene, wanted, uuid)
        lack = wanted.needs[uuid] + wanted.floor_bytes + device.margin_bytes - free
        comes = sum(one.excess_bytes for one in scene.on(uuid)) > PAGES_BYTES
        # Where nobody has KV memory to give back, its own weights have to fit, and its KV cache makes do with the rest.
        if lack > 0 and (comes or wanted.needs[uuid] > free):
            short[uuid] = lack
    return short


def _taken_before(scene: Scene, wanted: Claimant, uuid: str) -> int:
    taken = 0
    for other in scene.claimants:
        if other.id == wanted.id:
            break
        taken += other.needs.get(uuid, 0)
    return taken


def over_floor(scene: Scene) -> list[Neighbour]:
    """Who holds KV memory that nobody promised him, the largest first."""
    found = [one for one in scene.neighbours if one.excess_bytes > PAGES_BYTES]
    return sorted(found, key=lambda one: -one.excess_bytes)


def words(scene: Scene, short: Mapping[str, int]) -> str:
    """What it waits for, in a sentence: bytes, GPU and who holds them."""
    uuid = max(short, key=lambda uuid: short[uuid])
    lack = f"waits for {sizes.needed(short[uuid])} more of {scene.devices[uuid].name}"
    return f"{lack}: {holders(one for one in over_floor(scene) if uuid in one.uuids)}"


def holders(neighbours: Iterable[Neighbour]) -> str:
    """Who holds how much KV memory."""
    held = [f"`{one.name}` holds {sizes.shown(one.mapped_bytes)} of KV cache" for one in neighbours]
    return " and ".join(held) or "engines that load, or programs outside Sardeenz, hold it"
