"""When the calls of an open loop are due: seconds from the beginning, pure."""

import math
import random
from collections.abc import Callable, Iterator

from gateway.benchmark.load.plan import Arrival


def offsets(arrival: Arrival, numbers: random.Random) -> Iterator[float]:
    """The times of an open loop, without an end but for a trace."""
    return _PATTERNS[arrival.pattern](arrival, numbers)


def _constant(arrival: Arrival, _: random.Random) -> Iterator[float]:
    number = 0
    while True:
        yield number / arrival.rate  # a sum of gaps would drift
        number += 1


def _poisson(arrival: Arrival, numbers: random.Random) -> Iterator[float]:
    at = 0.0
    while True:
        at += numbers.expovariate(arrival.rate)
        yield at


def _gamma(arrival: Arrival, numbers: random.Random) -> Iterator[float]:
    at = 0.0
    while True:
        at += numbers.gammavariate(arrival.burstiness, 1 / (arrival.rate * arrival.burstiness))
        yield at


def _ramp(arrival: Arrival, numbers: random.Random) -> Iterator[float]:
    """A Poisson process whose rate changes evenly: the time by which so many calls are expected."""
    expected = 0.0
    while True:
        expected += numbers.expovariate(1.0)
        yield ramp_time(arrival, expected)


def ramp_time(arrival: Arrival, expected: float) -> float:
    """When a ramp is expected to have made so many calls."""
    start, end, seconds = arrival.rate, arrival.rate_end, arrival.ramp_seconds
    within = (start + end) / 2 * seconds
    if expected >= within:
        return seconds + (expected - within) / end
    slope = (end - start) / seconds
    if abs(slope) < 1e-12:
        return expected / start
    return (math.sqrt(max(start * start + 2 * slope * expected, 0.0)) - start) / slope


def _trace(arrival: Arrival, _: random.Random) -> Iterator[float]:
    for moment in arrival.trace:
        yield moment.at / arrival.speed


_PATTERNS: dict[str, Callable[[Arrival, random.Random], Iterator[float]]] = {
    "constant": _constant,
    "poisson": _poisson,
    "gamma": _gamma,
    "ramp": _ramp,
    "trace": _trace,
}
