"""How long things took, as counts by logarithmic buckets: what is added up from any number of calls, and never sorted.

A bucket is 4 % wide, so that a quantile is told to within 2 %. What took no time has the bucket 0.
"""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from gateway.wire.usage import CANCELLED, CHARGED

LEAST_SECONDS = 1e-4
WIDTH = 1.04
TIMES = ("ttft", "gap", "queue", "wake", "e2e")
MEASURES = ("outcome", "tokens", *TIMES)
"""`outcome` counts calls by how they ended, `tokens` completion tokens; the others count calls by their buckets, `e2e`
those that ended well."""

BUCKET = (
    "CASE WHEN {seconds} <= 0 THEN 0 WHEN {seconds} > 0 THEN "
    f"greatest(1, ceil(ln({{seconds}} / {LEAST_SECONDS}::float8) / ln({WIDTH}::float8)))::int END"
)
"""In SQL, the bucket of a number of `seconds`; null for null."""

Spread = dict[str, Counter[str]]
"""By measure and bucket, how many."""


def add(to: Spread, more: Mapping[str, Mapping[str, int] | None]) -> None:
    """Add some measures to others."""
    for measure, buckets in more.items():
        if buckets:
            to.setdefault(measure, Counter()).update(buckets)


def counts(spread: Spread) -> dict[str, int]:
    """How many calls there were, how they ended, and what they waited for."""
    outcomes = spread.get("outcome", Counter())
    calls = outcomes.total()
    return {
        "calls": calls,
        "failed": calls - sum(outcomes[outcome] for outcome in CHARGED),
        "cancelled": sum(outcomes[outcome] for outcome in CANCELLED),
        "tokens": spread.get("tokens", Counter()).total(),
        "woke": _some(spread, "wake"),
        "queued": _some(spread, "queue"),
    }


def _some(spread: Spread, measure: str) -> int:
    found = spread.get(measure, Counter[str]())
    return found.total() - found["0"]


def quantiles(spread: Spread, wanted: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
    """By name, the value of a measure below which such a part lies, interpolated; None without any."""
    ordered = {measure: _ordered(spread.get(measure)) for measure in {measure for measure, _ in wanted.values()}}
    return {name: _quantile(ordered[measure], part) for name, (measure, part) in wanted.items()}


def _ordered(found: Mapping[str, int] | None) -> list[tuple[int, int]]:
    return sorted((int(bucket), number) for bucket, number in found.items()) if found else []


def _quantile(ordered: list[tuple[int, int]], part: float) -> float | None:
    if not ordered:
        return None
    rank = part * (sum(number for _, number in ordered) - 1)
    below, above = _ranked(ordered, math.floor(rank)), _ranked(ordered, math.ceil(rank))
    return below + (above - below) * (rank - math.floor(rank))


def _ranked(ordered: list[tuple[int, int]], rank: int) -> float:
    """The value of this rank, counted from 0."""
    reached = accumulate((number for _, number in ordered))
    return seconds(next(bucket for (bucket, _), upto in zip(ordered, reached, strict=True) if rank < upto))


def seconds(bucket: int) -> float:
    """What stands for all of a bucket: it is off by 2 % at most."""
    return 0.0 if bucket == 0 else LEAST_SECONDS * WIDTH**bucket * 2 / (1 + WIDTH)
