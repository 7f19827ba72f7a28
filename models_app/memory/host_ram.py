"""Whose each byte of a node's RAM is, and whether an engine may take more of it. The pure part; `node` reads it.

An engine asleep at level 1 keeps its weights there, vLLM may keep that copy after the wake, and awake engines grow for
hours. So what is measured decides, the resident memory of the engine's processes, and an estimate only until then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from gpus.processes import HostMemory
from sardeenz import sizes

LARGEST_MARGIN_BYTES = 4 * sizes.GIB
MARGIN_RATIO = 1 / 16
"""Of the node's RAM, never given to a sleep or a load; no more than LARGEST_MARGIN_BYTES."""
FIRST_SLEEP_RATIO = 2.0
"""Of the weights, for the moment of a sleep that was not measured: pinned blocks are rounded up to powers of two."""


class HostHolding(TypedDict):
    """What the processes of one engine hold of the node's RAM."""

    marker: str
    replica_id: int
    asleep: bool
    held_bytes: int


class HostLedger(TypedDict):
    """One node's RAM in bytes. What engines hold was measured at `measured_at`, Unix time; the rest is of the frame."""

    measured_at: float
    total_bytes: int
    available_bytes: int
    margin_bytes: int
    sleepers_bytes: int
    awake_bytes: int
    others_bytes: int
    holdings: list[HostHolding]


def ledger(memory: HostMemory, held: Mapping[str, int], asleep: Collection[str], measured_at: float) -> HostLedger:
    """The node's ledger: what engines hold by marker, and the markers of those that sleep.

    `others` is what is in use and no engine's: never less than nothing, though two readings are two instants.
    """
    holdings = [
        HostHolding(marker=marker, replica_id=int(marker.partition(":")[0]), asleep=marker in asleep, held_bytes=size)
        for marker, size in sorted(held.items())
    ]
    sleepers = sum(one["held_bytes"] for one in holdings if one["asleep"])
    awake = sum(one["held_bytes"] for one in holdings if not one["asleep"])
    used = memory.total_bytes - memory.available_bytes
    return HostLedger(
        measured_at=measured_at,
        total_bytes=memory.total_bytes,
        available_bytes=memory.available_bytes,
        margin_bytes=margin(memory.total_bytes),
        sleepers_bytes=sleepers,
        awake_bytes=awake,
        others_bytes=max(used - sleepers - awake, 0),
        holdings=holdings,
    )


def margin(total_bytes: int) -> int:
    """What is left to the host itself."""
    return min(LARGEST_MARGIN_BYTES, int(total_bytes * MARGIN_RATIO))


@dataclass(frozen=True, slots=True)
class Copy:
    """What a sleep at level 1 takes: for good, and for a moment with what lasts in it."""

    lasting_bytes: int
    moment_bytes: int


def copy_of(weights_bytes: int, *, fresh_bytes: int | None, asleep_bytes: int | None) -> Copy:
    """The copy of an engine's weights: as it was measured asleep beyond what it held `fresh`, else as expected."""
    if fresh_bytes is None or asleep_bytes is None:
        return Copy(weights_bytes, int(weights_bytes * FIRST_SLEEP_RATIO))
    measured = max(asleep_bytes - fresh_bytes, 0)
    return Copy(measured, measured)


@dataclass(frozen=True, slots=True)
class Holder:
    """An engine as it counts on its node: `kept_bytes` of copies it holds, and what it is about to take or give."""

    id: int
    name: str
    kept_bytes: int = 0
    coming: Copy = Copy(0, 0)
    """Of one on its way to sleep at level 1."""
    leaving_bytes: int = 0
    """Of one that is being demoted: counted as free already."""


@dataclass(frozen=True, slots=True)
class Host:
    """All that a decision about one node's RAM knows; `available_bytes` is None where nobody has read it lately."""

    name: str
    budget_bytes: int
    """What sleepers may hold."""
    available_bytes: int | None = None
    margin_bytes: int = 0
    holders: tuple[Holder, ...] = ()

    def besides(self, number: int) -> "Host":
        """The same without one engine: the one that is decided about."""
        return replace(self, holders=tuple(one for one in self.holders if one.id != number))

    @property
    def budget_left_bytes(self) -> int:
        """Of the budget, once everybody has arrived where he is headed; negative where it is exceeded."""
        return self.budget_bytes - sum(one.kept_bytes + one.coming.lasting_bytes for one in self.holders)

    @property
    def free_bytes(self) -> int | None:
        """Of the RAM, once everybody has arrived where he is headed; negative where the margin is touched."""
        if self.available_bytes is None:
            return None
        leaving = sum(one.leaving_bytes for one in self.holders)
        coming = sum(one.coming.moment_bytes for one in self.holders)
        return self.available_bytes + leaving - coming - self.margin_bytes


@dataclass(frozen=True, slots=True)
class Shortage:
    """What lacks, of the budget for sleepers or of the RAM itself."""

    needed_bytes: int
    free_bytes: int
    of_budget: bool

    @property
    def lacking_bytes(self) -> int:
        """So much has to be given back."""
        return self.needed_bytes - self.free_bytes

    def words(self, node: str) -> str:
        """In a sentence without its end."""
        where = f"of what sleepers may hold there {sizes.free(self.free_bytes)} are free"
        if not self.of_budget:
            where = f"{sizes.free(self.free_bytes)} are free"
        return f"{sizes.needed(self.needed_bytes)} of host RAM are needed on {node}, and {where}"


def shortage(host: Host, wanted: Copy, *, of: int | None = None) -> Shortage | None:
    """What lacks for one more sleeper, the engine `of` this id if it is there; None where it may sleep at level 1."""
    host = host if of is None else host.besides(of)
    if wanted.lasting_bytes > host.budget_left_bytes:
        return Shortage(wanted.lasting_bytes, host.budget_left_bytes, of_budget=True)
    return ram_shortage(host, wanted.moment_bytes)


def ram_shortage(host: Host, needed_bytes: int) -> Shortage | None:
    """What lacks of the RAM itself, for a load or, with nothing needed, for the margin."""
    free = host.free_bytes
    if free is None or needed_bytes <= free:
        return None
    return Shortage(needed_bytes, free, of_budget=False)
