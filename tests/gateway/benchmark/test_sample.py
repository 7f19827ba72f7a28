"""Percentiles."""

import random

import pytest

from gateway.benchmark.load import sample
from gateway.benchmark.load.sample import Sample


def test_percentiles_lie_between_the_nearest_ranks() -> None:
    found = Sample()
    for value in (4.0, 1.0, 3.0, 2.0, 5.0):
        found.add(value)
    told = found.distribution()
    assert (told["p50"], told["p90"], told["max"], told["mean"]) == (3.0, pytest.approx(4.6), 5.0, 3.0)


def test_nothing_has_no_percentile() -> None:
    assert Sample().distribution()["p50"] is None


def test_a_value_that_came_with_several_tokens_counts_as_often() -> None:
    found = Sample()
    found.add(1.0, 3)
    found.add(5.0)
    assert (found.count, found.distribution()["p50"], found.distribution()["mean"]) == (4, 1.0, 2.0)


def test_many_are_kept_within_half_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = random.Random(5)
    values = [numbers.lognormvariate(-3, 1) for _ in range(20_000)]
    exact, coarse = Sample(), Sample()
    for value in values:
        exact.add(value)
    monkeypatch.setattr(sample, "EXACT", 1000)
    for value in values:
        coarse.add(value)
    one, other = exact.distribution(), coarse.distribution()
    assert one["count"] == other["count"]
    for name in ("p50", "p90", "p95", "p99"):
        assert other[name] == pytest.approx(one[name], rel=0.001)  # type: ignore[literal-required]
    assert other["max"] == one["max"]


def test_a_curve_goes_from_the_smallest_to_the_largest_and_ends_where_calls_never_came() -> None:
    found = Sample()
    for value in range(1, 42):
        found.add(float(value))
    assert found.distribution()["curve"] == [pytest.approx(each) for each in range(1, 42)]
    found.never = 41
    curve = found.distribution()["curve"]
    assert (curve[0], curve[-1]) == (1.0, None)
    assert sum(each is not None for each in curve) == 20
    assert Sample().distribution()["curve"] == []
