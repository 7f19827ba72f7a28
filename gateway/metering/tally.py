"""Counts and histograms of finished calls as plain numbers: adding costs no allocation, and two tallies are one sum."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import msgspec

WAKE: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
QUEUE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TTFT: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
GAP: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
E2E: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Call = tuple[str, int, str]
"""Path, status and outcome of a call."""


class Histogram(msgspec.Struct):
    """Observations by bucket; the last bucket has no bound."""

    counts: list[int]
    total: float = 0.0

    @classmethod
    def over(cls, bounds: Sequence[float]) -> "Histogram":
        """The new histogram has one bucket more than `bounds`, for values above the last bound."""
        return cls([0] * (len(bounds) + 1))

    def observe(self, bounds: Sequence[float], value: float) -> None:
        """Count one value; a bucket holds what is at most its bound."""
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value

    def add(self, other: "Histogram") -> None:
        """Add another over the same bounds; one over other bounds (of an older version) is left out."""
        if len(other.counts) == len(self.counts):
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
            self.total += other.total


class Tally(msgspec.Struct):
    """What the calls of one model came to."""

    calls: dict[Call, int] = msgspec.field(default_factory=dict)
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    wake: Histogram = msgspec.field(default_factory=lambda: Histogram.over(WAKE))
    queue: Histogram = msgspec.field(default_factory=lambda: Histogram.over(QUEUE))
    ttft: Histogram = msgspec.field(default_factory=lambda: Histogram.over(TTFT))
    gap: Histogram = msgspec.field(default_factory=lambda: Histogram.over(GAP))
    e2e: Histogram = msgspec.field(default_factory=lambda: Histogram.over(E2E))

    def add(self, other: "Tally") -> None:
        for call, count in other.calls.items():
            self.calls[call] = self.calls.get(call, 0) + count
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        for phase in ("wake", "queue", "ttft", "gap", "e2e"):
            getattr(self, phase).add(getattr(other, phase))


class Waits(msgspec.Struct):
    """Calls of one model that wait now, by what for, and how long the oldest has."""

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    longest_seconds: float = 0.0

    def add(self, other: "Waits") -> None:
        """Add those of another process."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
        self.longest_seconds = max(self.longest_seconds, other.longest_seconds)


class Sums(msgspec.Struct):
    """All that one gateway process counts, and what it holds now."""

    tallies: dict[str, Tally] = msgspec.field(default_factory=dict)
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    dropped: int = 0
    gauges: dict[str, float] = msgspec.field(default_factory=dict)
    captures: dict[str, int] = msgspec.field(default_factory=dict)
    """Captured calls, by what became of them."""
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    """Calls that were refused before any model was asked, by code."""
    waits: dict[str, Waits] = msgspec.field(default_factory=dict)

    def add(self, other: "Sums") -> None:
        """The sums of another process are added to these sums; `other` stays as it was."""
        for name, tally in other.tallies.items():
            self.tallies.setdefault(name, Tally()).add(tally)
        for what, times in other.faults.items():
            self.faults[what] = self.faults.get(what, 0) + times
        for name, value in other.gauges.items():
            self.gauges[name] = self.gauges.get(name, 0.0) + value
        for result, count in other.captures.items():
            self.captures[result] = self.captures.get(result, 0) + count
        for code, count in other.refused.items():
            self.refused[code] = self.refused.get(code, 0) + count
        for name, waits in other.waits.items():
            self.waits.setdefault(name, Waits()).add(waits)
        self.dropped += other.dropped
