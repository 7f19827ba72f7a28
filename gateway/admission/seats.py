"""How the seats of one deployment are split among gateway processes: the same split wherever it is computed."""

from collections.abc import Mapping

import msgspec

from sardeenz import fair

GRANULE_SECONDS = 2.0
"""What cannot be split goes to whoever has somebody waiting longest, in multiples of this: few changes of hands."""


class SeatDemand(msgspec.Struct, array_like=True, frozen=True):
    """What one process has of one deployment: the limit it knows, seats taken, and who waits for more.

    `weight` is that of the teams that wait, together; `waited_seconds` that of who has waited longest.
    """

    limit: int
    in_flight: int = 0
    waiting: int = 0
    weight: int = 1
    waited_seconds: float = 0.0

    @property
    def wanted(self) -> int:
        """Seats, taken or waited for."""
        return self.in_flight + self.waiting


NOBODY = SeatDemand(0)


def agreed(limit: int, demands: Mapping[str, SeatDemand]) -> dict[str, int]:
    """How many seats each process should use now: its share, as far as what others have beyond theirs leaves it.

    What runs, runs: a seat taken beyond a share is nobody else's until it comes free, and then it is not taken again.
    Those who wait for it must not all claim the rest, or none could use it.
    """
    seats = shares(limit, demands)
    stuck = {name for name, demand in demands.items() if demand.in_flight > seats[name]}
    rest = {name: demand for name, demand in demands.items() if name not in stuck}
    while stuck and rest:
        limit -= sum(demands[name].in_flight for name in stuck)
        given = shares(max(limit, 0), rest)
        seats |= {name: max(count, rest[name].in_flight) for name, count in given.items()}
        stuck = {name for name, count in given.items() if rest[name].in_flight > count}
        rest = {name: demand for name, demand in rest.items() if name not in stuck}
    return seats


def shares(limit: int, demands: Mapping[str, SeatDemand]) -> dict[str, int]:
    """Each process's share of `limit` seats; all of them together are exactly the limit.

    While there are enough, each gets what it wants, and what is left is split evenly, so that nobody has to ask first.
    Else nobody gets more than it wants, and who wants more than its weight's part gets that part; one seat at least
    while there is one for each.
    """
    order = sorted(demands, key=lambda name: (-(demands[name].waited_seconds // GRANULE_SECONDS), name))
    given = {name: demands[name].wanted for name in order}
    if sum(given.values()) <= limit:
        each, rest = divmod(limit - sum(given.values()), len(order))
        return {name: count + each + (index < rest) for index, (name, count) in enumerate(given.items())}
    given = _by_weight(limit, demands, order)
    hungry = [name for name in order if given[name] < demands[name].wanted]
    hungry.sort(key=lambda name: given[name] > 0)
    for name in hungry[: limit - sum(given.values())]:
        given[name] += 1
    for name in hungry:
        richest = max(order, key=given.__getitem__)
        if given[name] == 0 and given[richest] > 1:
            given[richest] -= 1
            given[name] = 1
    return given


def _by_weight(limit: int, demands: Mapping[str, SeatDemand], order: list[str]) -> dict[str, int]:
    """Whole seats by weight, up to what is wanted."""
    return fair.shares(
        limit, {name: demands[name].wanted for name in order}, {name: demands[name].weight for name in order}
    )
