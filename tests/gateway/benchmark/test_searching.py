"""Searches against a system whose limit is known."""

import random

import pytest

from gateway.benchmark.load.searching import Bounds, Search, wilson


def searched(bounds: Bounds, limit: float, *, calls: int = 400, seed: int = 1) -> Search:
    """Calls keep the SLO up to the limit, and less and less often beyond it."""
    search, spent, numbers = Search(bounds), 0.0, random.Random(seed)
    while (value := search.next(spent)) is not None:
        spent += bounds.trial_seconds
        chance = 0.995 if value <= limit else 0.995 * limit / value
        good = sum(numbers.random() < chance for _ in range(calls))
        search.note(value, good, calls, min(value, limit), 1.0 if value <= limit else value / limit * 3)
    assert spent <= bounds.most_seconds or len(search.trials) == 1
    return search


def test_an_interval_after_wilson() -> None:
    assert wilson(95, 100) == (pytest.approx(0.8882, abs=1e-4), pytest.approx(0.9785, abs=1e-4))
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("limit", [1.3, 7.0, 23.0, 90.0])
def test_the_highest_rate_is_found_within_its_precision(limit: float) -> None:
    answer = searched(Bounds(most_seconds=600.0), limit).answer()
    assert answer["value"] is not None
    assert answer["fails_at"] is not None
    assert answer["value"] <= limit * 1.06  # at that, 0.995 / 1.06 of the calls still keep it
    assert answer["fails_at"] >= limit
    assert answer["fails_at"] <= answer["value"] * 1.12
    assert (answer["good_ratio_low"] or 0) <= (answer["good_ratio"] or 0) <= (answer["good_ratio_high"] or 0)


def test_concurrency_is_whole() -> None:
    search = searched(Bounds("concurrency", high=64.0, most_seconds=600.0), 11.0)
    answer = search.answer()
    assert (answer["value"], answer["fails_at"], answer["max_concurrency"]) == (11.0, 12.0, 11)
    assert all(trial["value"] == int(trial["value"]) for trial in search.trials)
    assert answer["knee"] == 11.0


def test_a_rate_becomes_a_limit_by_the_time_calls_take() -> None:
    search = Search(Bounds())
    search.note(4.0, 100, 100, 4.0, 2.6)
    assert search.answer()["max_concurrency"] == 11  # 4 a second, 2.6 s each


def test_an_slo_that_cannot_be_met_is_told_in_words() -> None:
    search = Search(Bounds())
    assert search.next(0.0) == 1.0
    search.note(1.0, 3, 60, 1.0, 9.0)
    assert search.next(15.0) is None
    assert search.answer()["words"] == (
        "this SLO cannot be met: even at 1 calls a second only 3 of 60 calls kept it, where 95% of the calls should"
    )


def test_what_is_never_too_much_is_told() -> None:
    answer = searched(Bounds(high=8.0), 1000.0).answer()
    assert (answer["value"], answer["fails_at"]) == (8.0, None)
    assert "no load that was tried was too much" in answer["words"]


def test_time_is_bounded() -> None:
    search = searched(Bounds(most_seconds=40.0), 90.0)
    assert len(search.trials) == 2
    assert search.answer()["value"] == 2.0


def test_a_doubtful_load_is_tried_once_more_and_counted_together() -> None:
    search = Search(Bounds())
    search.note(1.0, 19, 20, 1.0, 1.0)
    assert search.next(15.0) == 1.0
    trial = search.note(1.0, 20, 20, 1.0, 1.0)
    assert (trial["good"], trial["calls"], len(search.trials)) == (39, 40, 1)
    assert search.next(30.0) == 2.0
