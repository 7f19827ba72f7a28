"""The queue of one deployment: who is next when a seat becomes free.

1. Who has waited for `starved_seconds`, the oldest first.
2. The lowest priority number.
3. Among the teams that wait with it, by worst-case fair weighted queueing (WF2Q+): a team that keeps waiting gets its
   share of the seats to within one request at any time; a team that was away comes back without credit.
4. Within a team, the oldest.
"""

import time
from bisect import insort
from collections.abc import Callable
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

STARVED_SECONDS = 30.0
ROUNDING = 1e-9


class Entry(Protocol):
    """Who waits. None of this changes while it does."""

    @property
    def team(self) -> int | None:
        """Whose turn this is; all without a team are as one."""

    @property
    def weight(self) -> int:
        """The team's share against others'."""

    @property
    def priority(self) -> int:
        """The entry with the lower number goes first."""

    @property
    def since(self) -> float:
        """Began to wait, on the queue's clock."""

    @property
    def deadline(self) -> float:
        """Waits no longer than this, on the same clock."""


E = TypeVar("E", bound=Entry)

_since = attrgetter("since")


class Line(Generic[E]):
    """One team's entries of one priority, the oldest first, and the virtual time at which its next one may go."""

    __slots__ = ("entries", "start")

    def __init__(self, start: float) -> None:
        self.entries: list[E] = []
        self.start = start

    def first(self, now: float) -> E | None:
        """The oldest that still waits."""
        return next((entry for entry in self.entries if entry.deadline > now), None)


class Level(Generic[E]):
    """All lines of one priority, and its virtual time: what a team of weight 1 that always waits would have got."""

    __slots__ = ("_left", "lines", "time")

    def __init__(self) -> None:
        self.lines: dict[int | None, Line[E]] = {}
        self.time = 0.0
        self._left: dict[int | None, float] = {}

    def push(self, entry: E) -> None:
        """Add to its team's line."""
        line = self.lines.get(entry.team)
        if line is None:
            line = self.lines[entry.team] = Line(max(self.time, self._left.pop(entry.team, 0.0)))
        insort(line.entries, entry, key=_since)

    def remove(self, entry: E) -> None:
        """Take out, if it is there."""
        line = self.lines.get(entry.team)
        if line is None or entry not in line.entries:
            return
        line.entries.remove(entry)
        if not line.entries:
            del self.lines[entry.team]
            self._left[entry.team] = line.start  # to be met again, should it come back before its turn

    def heads(self, now: float) -> list[E]:
        """The first of each line."""
        return [head for line in self.lines.values() if (head := line.first(now)) is not None]

    def next(self, heads: list[E]) -> E:
        """Of the first of each line, whose turn it is: of those not ahead of their share, the first to be due."""
        self.time = max(self.time, min(self.lines[head.team].start for head in heads))
        return min(
            (head for head in heads if self.lines[head.team].start <= self.time + ROUNDING),
            key=lambda head: (self.lines[head.team].start + 1.0 / head.weight, head.since),
        )

    def serve(self, entry: E, heads: list[E]) -> None:
        """Take out, and count it to its team."""
        self.lines[entry.team].start += 1.0 / entry.weight
        self.time += 1.0 / sum(head.weight for head in heads)
        self.remove(entry)


class FairQueue(Generic[E]):
    """Who waits for a seat at one deployment. Each operation takes time in proportion to the number of lines."""

    def __init__(self, starved_seconds: float = STARVED_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._starved_seconds = starved_seconds
        self._clock = clock
        self.levels: dict[int, Level[E]] = {}
        """Who waits, by priority: nothing while nobody does."""

    def __len__(self) -> int:
        return sum(len(line.entries) for level in self.levels.values() for line in level.lines.values())

    def push(self, entry: E) -> None:
        """The entry joins the line of the entry's priority and team."""
        level = self.levels.get(entry.priority)
        if level is None:
            level = self.levels[entry.priority] = Level()
        level.push(entry)

    def remove(self, entry: E) -> None:
        """Wait no longer; nothing happens if it does not wait."""
        level = self.levels.get(entry.priority)
        if level is not None:
            level.remove(entry)
            if not level.lines:
                del self.levels[entry.priority]

    def pop(self) -> E | None:
        """Take out who is next; None when nobody waits. Who is past its deadline is passed over, and stays."""
        now = self._clock()
        heads = {priority: level.heads(now) for priority, level in self.levels.items()}
        heads = {priority: each for priority, each in heads.items() if each}
        if not heads:
            return None
        oldest = min((head for each in heads.values() for head in each), key=_since)
        if now - oldest.since >= self._starved_seconds:
            chosen = oldest
        else:
            priority = min(heads)
            chosen = self.levels[priority].next(heads[priority])
        level = self.levels[chosen.priority]
        level.serve(chosen, heads[chosen.priority])
        if not level.lines:
            del self.levels[chosen.priority]
        return chosen

    @property
    def oldest(self) -> float | None:
        """Since when the one waits who has waited longest, on the queue's clock."""
        heads = [line.entries[0] for level in self.levels.values() for line in level.lines.values()]
        return min(head.since for head in heads) if heads else None

    @property
    def priority(self) -> int | None:
        """The lowest number, which goes first."""
        return min(self.levels, default=None)

    @property
    def weight(self) -> int:
        """Of all teams that wait, together."""
        heads = (line.entries[0] for level in self.levels.values() for line in level.lines.values())
        return sum({head.team: head.weight for head in heads}.values())
