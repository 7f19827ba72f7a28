"""Fair shares of what is scarce: weighted max-min, in whole units. Pure."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
_ROUNDING = 1e-9


def shares(amount: int, wanted: Mapping[Name, int], weights: Mapping[Name, float]) -> dict[Name, int]:
    """What each gets of `amount`: water poured over vessels as wide as their weights and as high as they want.

    Nobody gets more than it wants; who wants more than its weight's part gets that part and what others leave.
    Units that no weight divides stay: fewer than there are names. A weight is greater than 0.
    """
    given = {}
    weight = sum(weights[name] for name in wanted)
    for name in sorted(wanted, key=lambda name: wanted[name] / weights[name]):
        given[name] = max(min(wanted[name], int(amount * weights[name] / weight + _ROUNDING)), 0)
        if given[name] == wanted[name]:
            amount -= wanted[name]
            weight -= weights[name]
    return {name: given[name] for name in wanted}
