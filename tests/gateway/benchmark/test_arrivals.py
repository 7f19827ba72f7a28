"""The times at which an open loop asks, and the lengths it asks for."""

import random
import statistics
from itertools import islice, pairwise

import pytest

from gateway.benchmark.load.arrivals import offsets, ramp_time
from gateway.benchmark.load.lengths import Prompts, draw
from gateway.benchmark.load.plan import Arrival, Lengths, Moment

NUMBERS = 20_000


def taken(arrival: Arrival, count: int = NUMBERS, seed: int = 1) -> list[float]:
    return list(islice(offsets(arrival, random.Random(seed)), count))


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def test_constant_calls_come_at_even_times_without_drift() -> None:
    times = taken(Arrival("constant", rate=3.0), 30_001)
    assert times[:3] == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert times[30_000] == 10_000.0


def test_poisson_gaps_have_the_rate_and_spread_like_their_mean() -> None:
    spans = gaps(taken(Arrival("poisson", rate=50.0)))
    assert statistics.mean(spans) == pytest.approx(1 / 50, rel=0.03)
    assert statistics.stdev(spans) == pytest.approx(1 / 50, rel=0.03)


@pytest.mark.parametrize("burstiness", [0.25, 4.0])
def test_gamma_gaps_keep_the_rate_and_spread_by_the_burstiness(burstiness: float) -> None:
    spans = gaps(taken(Arrival("gamma", rate=10.0, burstiness=burstiness)))
    assert statistics.mean(spans) == pytest.approx(0.1, rel=0.05)
    assert statistics.stdev(spans) == pytest.approx(0.1 / burstiness**0.5, rel=0.05)


def test_a_ramp_is_expected_to_make_what_lies_under_it() -> None:
    ramp = Arrival("ramp", rate=2.0, rate_end=10.0, ramp_seconds=20.0)
    # By hand: in 20 s (2 + 10) / 2 * 20 = 120 calls, in the first 10 s (2 + 6) / 2 * 10 = 40, then 10 a second.
    assert ramp_time(ramp, 40.0) == pytest.approx(10.0)
    assert ramp_time(ramp, 120.0) == pytest.approx(20.0)
    assert ramp_time(ramp, 150.0) == pytest.approx(23.0)
    down = Arrival("ramp", rate=10.0, rate_end=2.0, ramp_seconds=20.0)
    assert ramp_time(down, 80.0) == pytest.approx(10.0)
    level = Arrival("ramp", rate=4.0, rate_end=4.0, ramp_seconds=20.0)
    assert ramp_time(level, 12.0) == pytest.approx(3.0)


def test_a_ramp_rises() -> None:
    times = taken(Arrival("ramp", rate=1.0, rate_end=100.0, ramp_seconds=100.0), 5000)
    first, second = sum(at < 50 for at in times), sum(50 <= at < 100 for at in times)
    assert (first, second) == (pytest.approx(1287, rel=0.1), pytest.approx(3762, rel=0.1))


def test_a_trace_is_replayed_at_its_times_or_faster() -> None:
    moments = (Moment(0.5, 10, 20), Moment(2.0, 11, 21), Moment(2.0, 12, 22))
    assert taken(Arrival("trace", trace=moments)) == [0.5, 2.0, 2.0]
    assert taken(Arrival("trace", trace=moments, speed=4.0)) == [0.125, 0.5, 0.5]


def test_the_same_seed_asks_at_the_same_times() -> None:
    poisson = Arrival("poisson", rate=1.0)
    assert taken(poisson, 50, seed=7) == taken(poisson, 50, seed=7) != taken(poisson, 50, seed=8)


def test_lengths() -> None:
    numbers = random.Random(3)
    assert {draw(Lengths(tokens=7), numbers) for _ in range(20)} == {7}
    assert {draw(Lengths("uniform", low=2, high=4), numbers) for _ in range(200)} == {2, 3, 4}
    logs = Lengths("lognormal", tokens=100, sigma=1.0)
    drawn = sorted(draw(logs, numbers) for _ in range(NUMBERS))
    assert drawn[NUMBERS // 2] == pytest.approx(100, rel=0.05)
    assert drawn[int(NUMBERS * 0.841)] == pytest.approx(272, rel=0.07)  # e times the median, one sigma up
    bounded = Lengths("lognormal", tokens=100, sigma=2.0, low=50, high=150)
    assert {50, 150} <= {draw(bounded, numbers) for _ in range(500)} <= set(range(50, 151))


def test_prompts_share_their_beginning_and_nothing_else() -> None:
    prompts = Prompts((), 0.5, random.Random(1))
    first, second, short = prompts.take(100).split(), prompts.take(100).split(), prompts.take(20).split()
    assert [len(first), len(second), len(short)] == [100, 100, 20]
    assert first[:50] == second[:50]
    assert first[50:] != second[50:]
    assert short[:10] == first[:10]


def test_given_prompts_come_in_turn_and_say_how_often_they_repeat() -> None:
    prompts = Prompts(("a", "b"), 0.0, random.Random(1))
    assert [prompts.take(5) for _ in range(4)] == ["a", "b", "a", "b"]
    assert prompts.distinct_ratio == 0.5
