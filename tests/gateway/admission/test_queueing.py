"""Who is next when a seat becomes free."""

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.queueing import FairQueue

ROUNDING = 1e-6


@dataclass(eq=False)
class Waiter:
    """A request in the queue."""

    team: int | None = None
    weight: int = 1
    priority: int = 0
    since: float = 0.0
    deadline: float = 1e9


class Clock:
    """Time that stands until told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def popped(queue: FairQueue[Waiter]) -> list[Waiter]:
    return list(iter(queue.pop, None))


def teams(queue: FairQueue[Waiter], count: int) -> list[int | None]:
    return [entry.team for entry in itertools.islice(iter(queue.pop, None), count)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> FairQueue[Waiter]:
    return FairQueue(30.0, clock)


def fill(queue: FairQueue[Waiter], team: int | None, count: int, **facts: float) -> list[Waiter]:
    entries = [Waiter(team, **facts) for _ in range(count)]  # type: ignore[arg-type]
    for entry in entries:
        queue.push(entry)
    return entries


def test_an_empty_queue_gives_nobody(queue: FairQueue[Waiter]) -> None:
    assert queue.pop() is None
    assert (len(queue), queue.oldest, queue.priority, queue.weight) == (0, None, None, 0)


def test_one_team_is_served_in_order(queue: FairQueue[Waiter]) -> None:
    entries = [Waiter(1, since=float(at)) for at in (3, 1, 2)]
    for entry in entries:
        queue.push(entry)
    assert [entry.since for entry in popped(queue)] == [1.0, 2.0, 3.0]


def test_those_without_a_team_are_one_team(queue: FairQueue[Waiter]) -> None:
    fill(queue, None, 4)
    fill(queue, 1, 2)
    assert Counter(teams(queue, 4)) == {None: 2, 1: 2}


def test_the_lower_number_goes_first(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 2, priority=5)
    fill(queue, 2, 2, priority=-1)
    assert queue.priority == -1
    assert teams(queue, 4) == [2, 2, 1, 1]


def test_a_starved_entry_goes_before_every_priority_the_oldest_first(queue: FairQueue[Waiter], clock: Clock) -> None:
    fill(queue, 1, 1, priority=5, since=1.0)
    fill(queue, 2, 1, priority=9, since=0.0)
    fill(queue, 3, 3, priority=0, since=10.0)
    clock.now = 31.0
    assert teams(queue, 5) == [2, 1, 3, 3, 3]


def test_a_starved_entry_is_charged_to_its_team(queue: FairQueue[Waiter], clock: Clock) -> None:
    fill(queue, 1, 1, since=0.0)
    fill(queue, 1, 9, since=40.0)
    fill(queue, 2, 9, since=40.0)
    clock.now = 41.0
    assert teams(queue, 5) == [1, 2, 1, 2, 1]


def test_weights_are_shares(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 100, weight=3)
    fill(queue, 2, 100, weight=1)
    assert Counter(teams(queue, 40)) == {1: 30, 2: 10}


def test_a_heavy_team_does_not_go_first_with_all_it_has(queue: FairQueue[Waiter]) -> None:
    fill(queue, 0, 100, weight=10)
    for team in range(1, 11):
        fill(queue, team, 10)
    assert Counter(teams(queue, 10))[0] == 5


def test_a_team_that_was_away_has_no_credit(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 200)
    teams(queue, 100)
    fill(queue, 2, 100)
    assert Counter(teams(queue, 20)) == {1: 10, 2: 10}


def test_a_team_that_comes_one_by_one_has_its_share(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 100)
    fill(queue, 2, 1)
    served = []
    for _ in range(20):
        served += teams(queue, 1)
        if served[-1] == 2:
            fill(queue, 2, 1)
    assert Counter(served) == {1: 10, 2: 10}


def test_who_left_does_not_cost_its_team_a_turn(queue: FairQueue[Waiter]) -> None:
    left = fill(queue, 1, 50)
    fill(queue, 1, 10)
    fill(queue, 2, 10)
    for entry in left:
        queue.remove(entry)
    assert Counter(teams(queue, 10)) == {1: 5, 2: 5}


def test_leaving_and_coming_back_gains_nothing(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 1, weight=3)
    fill(queue, 2, 9)
    fill(queue, 3, 9)
    served = []
    for _ in range(5):
        served += teams(queue, 1)
        if served[-1] == 1:
            fill(queue, 1, 1, weight=3)
    assert Counter(served) == {1: 3, 2: 1, 3: 1}


def test_who_is_not_there_cannot_leave(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 1)
    queue.remove(Waiter(1))
    queue.remove(Waiter(2))
    queue.remove(Waiter(1, priority=7))
    assert len(queue) == 1


def test_who_is_past_its_deadline_is_passed_over(queue: FairQueue[Waiter], clock: Clock) -> None:
    late = Waiter(1, deadline=5.0)
    queue.push(late)
    (good,) = fill(queue, 1, 1, since=1.0)
    clock.now = 5.0
    assert popped(queue) == [good]
    assert len(queue) == 1
    queue.remove(late)
    assert len(queue) == 0


def test_it_tells_the_oldest_and_the_weight_of_those_who_wait(queue: FairQueue[Waiter]) -> None:
    fill(queue, 1, 2, weight=3, since=7.0)
    fill(queue, 1, 2, weight=3, since=5.0, priority=1)
    fill(queue, None, 2, since=6.0)
    assert (queue.oldest, queue.priority, queue.weight) == (5.0, 0, 4)


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8), count=st.integers(1, 300))
@settings(deadline=None, max_examples=200)
def test_whoever_keeps_waiting_has_its_share_within_one_request_at_any_time(weights: list[int], count: int) -> None:
    queue: FairQueue[Waiter] = FairQueue(30.0, lambda: 0.0)
    for team, weight in enumerate(weights):
        fill(queue, team, 2, weight=weight)
    served = [0] * len(weights)
    for turn in range(1, count + 1):
        entry = queue.pop()
        assert entry is not None and entry.team is not None
        served[entry.team] += 1
        queue.push(Waiter(entry.team, entry.weight))
        for got, weight in zip(served, weights, strict=True):
            assert abs(got - turn * weight / sum(weights)) <= 1 + ROUNDING


moves = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3), st.integers(1, 5), st.integers(-1, 1), st.integers(0, 60)),
        st.tuples(st.just("pop")),
        st.tuples(st.just("remove"), st.integers(0, 100)),
        st.tuples(st.just("later"), st.integers(1, 20)),
    ),
    max_size=120,
)


@given(moves=moves)
@settings(deadline=None, max_examples=300)
def test_nobody_is_lost_doubled_or_passed_over_by_the_rules(moves: list[tuple[object, ...]]) -> None:
    clock = Clock()
    queue: FairQueue[Waiter] = FairQueue(30.0, clock)
    waiting: list[Waiter] = []
    for verb, *facts in moves:
        if verb == "push":
            team, weight, priority, patience = facts
            waiting.append(Waiter(team, weight, priority, clock.now, clock.now + patience))  # type: ignore[arg-type,operator]
            queue.push(waiting[-1])
        elif verb == "later":
            clock.now += facts[0]  # type: ignore[operator]
        elif verb == "remove" and waiting:
            queue.remove(waiting.pop(facts[0] % len(waiting)))  # type: ignore[operator]
        elif verb == "pop":
            _check_choice(queue.pop(), waiting, clock.now)
        assert len(queue) == len(waiting)
        assert queue.oldest == min((entry.since for entry in waiting), default=None)
    good = {id(entry) for entry in waiting if entry.deadline > clock.now}
    assert sorted(good) == sorted(id(entry) for entry in popped(queue))


def _check_choice(chosen: Waiter | None, waiting: list[Waiter], now: float) -> None:
    good = [entry for entry in waiting if entry.deadline > now]
    if chosen is None:
        assert good == []
        return
    waiting.remove(chosen)
    assert chosen in good
    starved = [entry for entry in good if now - entry.since >= 30.0]
    if starved:
        assert chosen.since == min(entry.since for entry in starved)
    else:
        assert chosen.priority == min(entry.priority for entry in good)
        alike = [entry.since for entry in good if (entry.team, entry.priority) == (chosen.team, chosen.priority)]
        assert chosen.since == min(alike)


@given(teams_=st.integers(1, 5), rate=st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_nobody_waits_much_longer_than_the_bound_and_the_backlog_then(teams_: int, rate: int) -> None:
    """An entry of the last priority among a flood of the first: served once starved and once the older ones are."""
    clock = Clock()
    queue: FairQueue[Waiter] = FairQueue(30.0, clock)
    last = Waiter(99, priority=9)
    queue.push(last)
    flood = itertools.cycle(range(teams_))
    while True:
        for _ in range(rate):
            queue.push(Waiter(next(flood), since=clock.now))
        chosen = queue.pop()
        if chosen is last:
            break
        clock.now += 1.0
        assert clock.now <= 31.0
    assert clock.now >= 30.0
