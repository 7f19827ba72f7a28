"""Many durations and their percentiles: exact while there are few, within half a thousandth when there are many."""

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TypedDict

EXACT = 200_000
STEP = math.log(1.001)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
CURVE = 40
"""Steps in which a distribution is drawn, from the smallest value to the largest."""


class Distribution(TypedDict):
    """Seconds. What `never` came is later than everything: a percentile among it is null."""

    count: int
    never: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None
    curve: list[float | None]
    """By equal steps of the share of calls: within how many seconds it came to so many; empty where nothing came."""


class Sample:
    """Values are added one by one; `never` counts what did not come at all."""

    def __init__(self) -> None:
        self.never = 0
        self.count = 0
        self._sum = 0.0
        self._largest = 0.0
        self._exact: array[float] = array("d")
        self._coarse: Counter[int] = Counter()

    def add(self, value: float, times: int = 1) -> None:
        """A value that was met so many times."""
        self.count += times
        self._sum += value * times
        self._largest = max(self._largest, value)
        if times == 1:
            self._exact.append(value)
        else:
            self._exact.extend([value] * times)
        if len(self._exact) > EXACT:
            self._coarse.update(_bucket(each) for each in self._exact)
            self._exact = array("d")

    def distribution(self) -> Distribution:
        """Percentiles over what came and what never did; the mean and the largest are of what came."""
        ordered = list(self._ordered())
        ends = list(accumulate(count for _, count in ordered))
        quantiles = {name: self._quantile(part, ordered, ends) for name, part in PERCENTILES.items()}
        return Distribution(
            count=self.count,
            never=self.never,
            mean=self._sum / self.count if self.count else None,
            p50=quantiles["p50"],
            p90=quantiles["p90"],
            p95=quantiles["p95"],
            p99=quantiles["p99"],
            max=self._largest if self.count else None,
            curve=[self._quantile(step / CURVE, ordered, ends) for step in range(CURVE + 1)] if self.count else [],
        )

    def _ordered(self) -> Iterator[tuple[float, int]]:
        """Each value and how often it was met, the smallest first."""
        if not self._coarse:
            yield from ((value, 1) for value in sorted(self._exact))
            return
        together = self._coarse + Counter(_bucket(each) for each in self._exact)
        for bucket, count in sorted(together.items()):
            yield math.exp(bucket * STEP), count

    def _quantile(self, part: float, ordered: list[tuple[float, int]], ends: list[int]) -> float | None:
        """Between the two nearest ranks, as most programs count it."""
        total = self.count + self.never
        if not total:
            return None
        rank = part * (total - 1)
        below = _at(math.floor(rank), ordered, ends)
        above = _at(math.ceil(rank), ordered, ends)
        if below is None or above is None:
            return None
        return below + (above - below) * (rank - math.floor(rank))


def _bucket(value: float) -> int:
    return round(math.log(max(value, 1e-9)) / STEP)


def _at(rank: int, ordered: list[tuple[float, int]], ends: list[int]) -> float | None:
    """The value of this rank; None beyond all that came."""
    place = bisect_right(ends, rank)
    return ordered[place][0] if place < len(ordered) else None
