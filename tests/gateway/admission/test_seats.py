"""How the seats of one deployment are split among processes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.seats import SeatDemand, agreed, shares


def wants(in_flight: int = 0, waiting: int = 0, weight: int = 1, waited: float = 0.0) -> SeatDemand:
    return SeatDemand(0, in_flight, waiting, weight, waited)


@pytest.mark.parametrize(
    ("limit", "demands", "expected"),
    [
        (10, {"a": wants()}, {"a": 10}),
        (10, {"a": wants(3), "b": wants(1)}, {"a": 6, "b": 4}),
        (10, {"a": wants(), "b": wants(), "c": wants()}, {"a": 4, "b": 3, "c": 3}),
        (10, {"a": wants(10), "b": wants(0, 1)}, {"a": 9, "b": 1}),
        (10, {"a": wants(8, 20), "b": wants(2, 9)}, {"a": 5, "b": 5}),
        (10, {"a": wants(8, 20), "b": wants(2, 1), "c": wants(0, 90)}, {"a": 4, "b": 3, "c": 3}),
        (8, {"a": wants(0, 99, weight=3), "b": wants(0, 99)}, {"a": 6, "b": 2}),
        (8, {"a": wants(0, 99, weight=100), "b": wants(0, 99)}, {"a": 7, "b": 1}),
        (1, {"a": wants(0, 5), "b": wants(0, 5)}, {"a": 1, "b": 0}),
        (1, {"a": wants(0, 5, waited=1.9), "b": wants(0, 5, waited=2.1)}, {"a": 0, "b": 1}),
        (3, {"a": wants(0, 5), "b": wants(0, 5, waited=4.0)}, {"a": 1, "b": 2}),
    ],
)
def test_places_are_split_by_demand_and_weight(
    limit: int, demands: dict[str, SeatDemand], expected: dict[str, int]
) -> None:
    assert shares(limit, demands) == expected


demand = st.builds(wants, st.integers(0, 50), st.integers(0, 50), st.integers(1, 9), st.floats(0.0, 60.0))


@given(limit=st.integers(1, 300), demands=st.dictionaries(st.sampled_from("abcdefgh"), demand, min_size=1))
@settings(deadline=None, max_examples=200)
def test_every_seat_is_given_once_and_nobody_is_left_out(limit: int, demands: dict[str, SeatDemand]) -> None:
    given = shares(limit, demands)
    assert sum(given.values()) == limit
    assert given == shares(limit, dict(reversed(demands.items())))
    wanted = {name: each.wanted for name, each in demands.items()}
    if sum(wanted.values()) > limit:
        assert all(given[name] <= wanted[name] for name in given)
        if limit >= sum(map(bool, wanted.values())):
            assert all(given[name] for name in given if wanted[name])
    else:
        assert all(given[name] >= wanted[name] for name in given)


@given(limit=st.integers(1, 300), demands=st.dictionaries(st.sampled_from("abcdefgh"), demand, min_size=1))
@settings(deadline=None, max_examples=200)
def test_who_gets_less_than_it_wants_gets_its_part_by_weight(limit: int, demands: dict[str, SeatDemand]) -> None:
    given = shares(limit, demands)
    hungry = [name for name in given if given[name] < demands[name].wanted]
    for name in hungry:
        for other in given:
            # nobody has more per weight than a hungry one, but for the one seat that cannot be split
            assert (given[other] - 1) / demands[other].weight <= (given[name] + 1) / demands[name].weight + 1e-9


@given(limit=st.integers(1, 300), demands=st.dictionaries(st.sampled_from("abcdefgh"), demand, min_size=1))
@settings(deadline=None, max_examples=200)
def test_what_runs_beyond_a_share_is_claimed_by_nobody_else_and_not_taken_again(
    limit: int, demands: dict[str, SeatDemand]
) -> None:
    fair, found = shares(limit, demands), agreed(limit, demands)
    running = sum(each.in_flight for each in demands.values())
    claimed = sum(max(found[name], each.in_flight) for name, each in demands.items())
    assert claimed == max(limit, running)
    assert all(found[name] == fair[name] for name, each in demands.items() if each.in_flight > fair[name])


def test_the_rest_is_not_claimed_by_all_who_wait() -> None:
    assert agreed(3, {"a": wants(2, 1), "b": wants(0, 3), "c": wants(0, 3)}) == {"a": 1, "b": 1, "c": 0}
