"""How often models are called. Whichever app counts calls says so as it is loaded."""

from collections.abc import Callable

counted_elsewhere: list[Callable[[], dict[str, float]]] = []
"""Each gives calls per second by served name, of the last day."""


def calls_per_second() -> dict[str, float]:
    """By served name; nothing of those that nobody calls."""
    return {name: rate for count in counted_elsewhere for name, rate in count().items()}
