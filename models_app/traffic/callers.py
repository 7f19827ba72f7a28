"""Callers who wait for a model, as gateways report them. Pure."""

from dataclasses import dataclass

WAITS_FOR_ROOM = "waits_for_room"
"""The reason of a sleeper that calls wait for and that finds no room yet."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Requests that wait for one deployment, over all gateways."""

    count: int
    since: float
    """Unix time of the oldest."""
    priority: int
    """Of the most urgent: lower is more urgent."""

    def __add__(self, other: "Waiting") -> "Waiting":
        return Waiting(self.count + other.count, min(self.since, other.since), min(self.priority, other.priority))
