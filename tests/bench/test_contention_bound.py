"""The best turns for a few calls, by hand."""

import pytest

from tests.bench import contention_bound
from tests.bench.contention import Call
from tests.bench.contention_bound import Model, Weights, best


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention_bound, "TIMES", [step / 2 for step in range(160)])


def waits(*models: list[float]) -> list[float]:
    """Those who wait, where these models are called at these times."""
    made = [Model([Call(at, "m", 50, 200, "mid") for at in times]) for times in models]
    return [wait for wait in best(made, Weights(5.0, 0.3)) if wait > 0]


def test_with_time_between_the_calls_nobody_waits() -> None:
    assert waits([10.0, 50.0], [10.0, 50.0], [30.0, 70.0]) == []


def test_of_three_called_at_once_one_waits_for_an_answer_and_an_exchange() -> None:
    [wait] = waits([10.0], [10.0], [10.0])
    answer = wait - contention_bound.EXCHANGE_SECONDS
    assert 24 / 40 < answer < 95 / 40 + 0.15 + contention_bound.GRID_SECONDS
