"""Who loads next. Pure: decided from one look at a node's loads and at those who wait to load.

1. Two engines that profile the memory of one GPU disturb each other: there they load one after the other.
2. Loads on other GPUs go side by side as long as the host's RAM holds what they need while they load.
3. Whoever served before loads first, then what is new, then those who only go to sleep again.
4. A load that has shown no progress for a while, and a first one that does not begin, hold up nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sardeenz import sizes


@dataclass(frozen=True, slots=True)
class Load:
    """An engine that loads. Instants are Unix time."""

    id: int
    name: str
    uuids: frozenset[str]
    host_bytes: int
    since: float
    progressed_at: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that waits to load."""

    id: int
    name: str
    uuids: frozenset[str]
    host_bytes: int
    since: float
    serves: bool = True
    """Whether it is to serve once it has loaded; others go to sleep."""
    served: bool = False
    """Whether it was ready before."""
    restarts: int = 0
    held: bool = False
    """Whether its GPU lacks memory: until that comes back, others need not wait for it."""

    @property
    def rank(self) -> tuple[bool, bool, int, float, int]:
        """Lower loads earlier; no two are equal."""
        return not self.serves, not (self.serves and self.served), self.restarts, self.since, self.id


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a decision knows of one node."""

    now: float
    patience_seconds: float
    host_free_bytes: int
    loads: tuple[Load, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    sleepers_bytes: int = 0
    """Host RAM that models asleep hold and may be made to give back."""

    @property
    def moving(self) -> list[Load]:
        """The loads that others wait for, the oldest first."""
        seen = (load for load in self.loads if self.now - load.progressed_at < self.patience_seconds)
        return sorted(seen, key=lambda load: (load.since, load.id))


@dataclass(frozen=True, slots=True)
class Hold:
    """Why one has to wait, in words, and whose turn it is."""

    whose: str
    message: str


def hold(scene: Scene, wanted: Candidate, gpu_name: str = "its GPU") -> Hold | None:
    """What the wanted one has to wait for; None when it may load now."""
    by_loads = _held_by_load(scene, wanted, gpu_name) or _held_by_order(scene, wanted, gpu_name)
    return by_loads or _held_by_sleepers(scene, wanted)


def _held_by_sleepers(scene: Scene, wanted: Candidate) -> Hold | None:
    """It waits for sleepers that give way, for a while; where nobody could, what is free has to do."""
    patient = scene.now - wanted.since < scene.patience_seconds
    if not (patient and scene.sleepers_bytes and wanted.host_bytes > scene.host_free_bytes):
        return None
    needed, free = sizes.needed(wanted.host_bytes), sizes.free(scene.host_free_bytes)
    return Hold("", f"waits for host RAM: {needed} are needed and {free} are free; models asleep give way")


def _held_by_load(scene: Scene, wanted: Candidate, gpu_name: str) -> Hold | None:
    for load in scene.moving:
        if load.uuids & wanted.uuids:
            return Hold(load.name, f"waits for its turn on {gpu_name}: `{load.name}` loads since {_clock(load.since)}")
    taken = sum(load.host_bytes for load in scene.moving)
    if taken and taken + wanted.host_bytes > scene.host_free_bytes:
        first = scene.moving[0]
        needed, free = sizes.needed(taken + wanted.host_bytes), sizes.free(scene.host_free_bytes)
        words = f"waits for host RAM: with `{first.name}`, which loads since {_clock(first.since)}, {needed} are needed"
        return Hold(first.name, f"{words} and {free} are free")
    return None


def _held_by_order(scene: Scene, wanted: Candidate, gpu_name: str) -> Hold | None:
    """One before it that could begin now goes first; it is not waited for when it does not."""
    for other in sorted(_earlier(scene, wanted), key=lambda one: one.rank):
        if not other.held and _held_by_load(scene, other, gpu_name) is None:
            why = "which served before" if other.served and not wanted.served else "which came first"
            since = _clock(other.since)
            return Hold(other.name, f"waits for its turn on {gpu_name}: `{other.name}`, {why}, waits since {since}")
    return None


def _earlier(scene: Scene, wanted: Candidate) -> Iterable[Candidate]:
    return (
        one
        for one in scene.candidates
        if one.id != wanted.id
        and one.uuids & wanted.uuids
        and one.rank < wanted.rank
        and scene.now - one.since < scene.patience_seconds
    )


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"
