"""What keys and teams may use, in one process."""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BudgetExceeded, ConcurrencyLimit, RequestLimit, TokenLimit
from gateway.limits.buckets import duration
from gateway.limits.limiter import Charge, KnownTeam, Limiter, Quota, Spent
from sardeenz.errors import LimitExceeded

MIDNIGHT = datetime(2026, 8, 31, tzinfo=UTC).timestamp()
NOON = MIDNIGHT + 12 * 3600.0


class Key(NamedTuple):
    """A key as limits see it."""

    id: int = 1
    quota: Quota = Quota()
    team: KnownTeam | None = None


def key(number: int = 1, **quota: float) -> Key:
    return Key(number, Quota(**quota))  # type: ignore[arg-type]


def team(number: int = 1, **quota: float) -> KnownTeam:
    return KnownTeam(number, "a-team", 1, 0, Quota(**quota))  # type: ignore[arg-type]


class World:
    """A limiter and its two clocks."""

    def __init__(self, now: float = 1000.0, wall: float = NOON) -> None:
        self.now = now
        self.wall = wall
        self.limiter = Limiter(lambda: self.now, lambda: self.wall)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds
        self.limiter.said()

    def call(self, caller: Key, tokens: int = 0, used: int | None = None, gpu_seconds: float = 0.0) -> Charge:
        """A call that ends at once, and used what was estimated unless told otherwise."""
        charge = self.limiter.admit(caller, tokens)
        self.limiter.settle(charge, tokens if used is None else used, gpu_seconds)
        return charge

    def calls(self, caller: Key, at_most: int = 1000) -> int:
        """How many are let through now."""
        for count in range(at_most):
            try:
                self.call(caller)
            except LimitExceeded:
                return count
        return at_most

    def refusal(self, caller: Key, tokens: int = 0) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as caught:
            self.limiter.admit(caller, tokens)
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def headers(charge: Charge) -> dict[str, str]:
    lines = charge.lines.decode().splitlines()
    return dict(line.removeprefix("x-ratelimit-").split(": ") for line in lines)


# --- per minute -------------------------------------------------------------------------------------------------
def test_without_limits_everything_is_free_and_nothing_is_kept(world: World) -> None:
    free = world.limiter.admit(key(1), 10**9)
    assert free is world.limiter.admit(Key(2, Quota(), team()), 5)
    world.limiter.settle(free, 10**9, 10.0)
    assert free.lines == b""
    assert world.limiter.said().keys == world.limiter.said().teams == {}


def test_a_minutes_requests_may_come_at_once_and_come_back_evenly(world: World) -> None:
    caller = key(requests_per_minute=6)
    assert world.calls(caller) == 6
    world.later(9.9)
    assert world.calls(caller) == 0
    world.later(0.1)
    assert world.calls(caller) == 1
    world.later(3600.0)
    assert world.calls(caller) == 6


def test_a_refusal_says_which_limit_and_when_to_come_back(world: World) -> None:
    caller = key(requests_per_minute=6)
    world.calls(caller)
    error = world.refusal(caller)
    assert isinstance(error, RequestLimit)
    assert (error.code, error.status) == ("request_limit", 429)
    assert error.message == "this key's limit of 6 requests per minute is reached"
    assert error.fields["limit"] == "key requests_per_minute"
    assert error.retry_after_seconds == pytest.approx(10.0)
    assert (b"x-ratelimit-remaining-requests", b"0") in error.fields["headers"]
    world.later(10.0)
    world.call(caller)


def test_headers_are_those_of_openai(world: World) -> None:
    caller = key(requests_per_minute=60, tokens_per_minute=6000)
    assert headers(world.limiter.admit(caller, 100)) == {
        "limit-requests": "60",
        "remaining-requests": "59",
        "reset-requests": "1s",
        "limit-tokens": "6000",
        "remaining-tokens": "5900",
        "reset-tokens": "1s",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, b"0s"), (0.0, b"0s"), (0.0201, b"21ms"), (0.02, b"20ms"), (0.9999, b"1000ms"), (1.0, b"1s"), (8.2, b"9s"),
     (59.9, b"1m0s"), (60.0, b"1m0s"), (360.0, b"6m0s"), (93.0, b"1m33s"), (7200.0, b"120m0s")],
)  # fmt: skip
def test_durations_are_told_as_openai_tells_them(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


def test_headers_tell_of_the_tighter_of_key_and_team(world: World) -> None:
    caller = Key(1, Quota(requests_per_minute=100, tokens_per_minute=50), team(requests_per_minute=10))
    told = headers(world.call(caller))
    assert (told["limit-requests"], told["remaining-requests"], told["limit-tokens"]) == ("10", "9", "50")
    caller = Key(2, Quota(requests_per_minute=5), team(requests_per_minute=10))
    assert headers(world.call(caller))["limit-requests"] == "5"


def test_a_team_shares_its_limit_and_a_key_has_its_own_besides(world: World) -> None:
    ours = team(requests_per_minute=5)
    one, other = Key(1, Quota(requests_per_minute=3), ours), Key(2, Quota(), ours)
    assert world.calls(one) == 3
    assert world.refusal(one).fields["limit"] == "key requests_per_minute"
    assert world.calls(other) == 2
    assert world.refusal(other).fields["limit"] == "team requests_per_minute"


def test_what_the_team_refuses_costs_the_key_nothing(world: World) -> None:
    caller = Key(1, Quota(requests_per_minute=3), team(concurrent_requests=1))
    first = world.limiter.admit(caller, 0)
    world.refusal(caller)
    world.limiter.settle(first, None, 0.0)
    assert world.calls(caller) == 2


def test_tokens_are_charged_as_estimated_and_corrected_at_the_end(world: World) -> None:
    caller = key(tokens_per_minute=600)
    charge = world.limiter.admit(caller, 500)
    assert isinstance(world.refusal(caller, 200), TokenLimit)
    world.limiter.settle(charge, 100, 0.0)
    assert headers(world.limiter.admit(caller, 200))["remaining-tokens"] == "300"


def test_without_a_count_the_estimate_stays_for_the_minute_but_not_for_the_day(world: World) -> None:
    caller = key(tokens_per_minute=600, tokens_per_day=500)
    world.limiter.settle(world.limiter.admit(caller, 500), None, 0.0)
    assert headers(world.call(caller, 50))["remaining-tokens"] == "50"
    world.later(60)
    world.call(caller, 449)
    assert world.call(caller, 1)
    assert world.refusal(caller).code == "budget_exceeded"


def test_what_was_not_used_is_given_back_to_the_minute_and_the_day(world: World) -> None:
    caller = key(tokens_per_minute=600, tokens_per_day=500)
    for _ in range(5):
        world.call(caller, 500, used=0)
    assert headers(world.call(caller, 1))["remaining-tokens"] == "599"


def test_more_than_estimated_is_debt(world: World) -> None:
    caller = key(tokens_per_minute=600)
    world.call(caller, 100, used=1200)
    error = world.refusal(caller, 300)
    assert error.fields["limit"] == "key tokens_per_minute"
    assert error.retry_after_seconds == 60.0  # at most: by then, calls in flight may have given some back
    world.later(89.0)
    world.refusal(caller, 300)
    world.later(1.0)
    world.call(caller, 300)


def test_a_call_larger_than_a_minute_waits_for_a_full_bucket_and_leaves_a_debt(world: World) -> None:
    caller = key(tokens_per_minute=600)
    world.call(caller, 1)
    world.refusal(caller, 6000)
    world.later(0.1)
    world.call(caller, 6000)
    world.later(539.0)
    world.refusal(caller, 1)
    world.later(2.0)
    world.call(caller, 1)


def test_another_limit_leaves_the_bucket_as_full_as_it_was(world: World) -> None:
    for _ in range(3):
        world.call(key(requests_per_minute=6))
    assert world.calls(key(requests_per_minute=60)) == 30
    world.call(key())
    world.later(30.0)
    assert world.calls(key(requests_per_minute=2)) == 1


def test_limits_up_to_ten_millions_a_minute_count_exactly(world: World) -> None:
    for number, limit in enumerate((1, 3, 7, 997, 10**6, 10**7), 1):
        world.now = 123456.789 * number
        told = headers(world.limiter.admit(key(number, tokens_per_minute=limit), 1))
        assert told["remaining-tokens"] == str(limit - 1)


# --- at once ----------------------------------------------------------------------------------------------------
def test_a_place_is_free_again_when_its_call_ends(world: World) -> None:
    caller = key(concurrent_requests=2)
    charges = [world.limiter.admit(caller, 0) for _ in range(2)]
    error = world.refusal(caller)
    assert isinstance(error, ConcurrencyLimit)
    assert (error.fields["limit"], error.retry_after_seconds) == ("key concurrent_requests", 1.0)
    world.limiter.settle(charges[0], None, 0.0)
    world.limiter.admit(caller, 0)


# --- budgets ----------------------------------------------------------------------------------------------------
def test_a_budget_counts_the_sums_and_what_ended_since(world: World) -> None:
    caller = key(tokens_per_day=1000)
    world.limiter.set_spent({1: Spent(600, 600)}, {}, world.wall)
    world.call(caller, 300)
    world.call(caller, 100)
    error = world.refusal(caller)
    assert isinstance(error, BudgetExceeded)
    assert (error.code, error.fields["limit"]) == ("budget_exceeded", "key tokens_per_day")
    assert error.retry_after_seconds == 12 * 3600.0


def test_the_call_that_crosses_a_budget_is_let_through_but_only_one(world: World) -> None:
    caller = key(tokens_per_day=1000)
    charge = world.limiter.admit(caller, 5000)
    error = world.refusal(caller)
    assert error.retry_after_seconds == 1.0  # what is reserved may come back
    world.limiter.settle(charge, 400, 0.0)
    world.call(caller, 600)
    assert world.refusal(caller).retry_after_seconds == 12 * 3600.0


def test_gpu_seconds_have_budgets_too(world: World) -> None:
    caller = Key(1, Quota(), team(7, gpu_seconds_per_month=100.0))
    world.limiter.set_spent({}, {7: Spent(month_gpu_seconds=90.0)}, world.wall)
    world.call(caller, gpu_seconds=9.5)
    world.call(caller, gpu_seconds=1.0)
    error = world.refusal(caller)
    assert error.fields["limit"] == "team gpu_seconds_per_month"
    assert error.retry_after_seconds == 12 * 3600.0


def test_of_two_budgets_the_longer_is_named_and_the_wait_is_a_day_at_most() -> None:
    world = World(wall=datetime(2026, 8, 3, tzinfo=UTC).timestamp())
    world.limiter.set_spent({1: Spent(500, 500)}, {}, world.wall)
    error = world.refusal(key(tokens_per_day=500, tokens_per_month=500))
    assert error.fields["limit"] == "key tokens_per_month"
    assert error.retry_after_seconds == 86400.0


def test_a_new_day_begins_anew_and_the_month_goes_on() -> None:
    world = World(wall=datetime(2026, 8, 3, 23, tzinfo=UTC).timestamp())
    caller, slow = key(tokens_per_day=500, tokens_per_month=900), key(2, tokens_per_month=900)
    world.limiter.set_spent({1: Spent(500, 500), 2: Spent(0, 900)}, {}, world.wall)
    world.refusal(caller)
    world.later(3601.0)
    world.call(caller, 400)
    assert world.refusal(caller).fields["limit"] == "key tokens_per_month"
    world.refusal(slow)


@pytest.mark.parametrize("days", [1, 3, 40])
def test_a_new_month_begins_anew_however_long_nobody_looked(world: World, days: int) -> None:
    caller = key(tokens_per_month=900)
    world.call(caller, 900)
    world.refusal(caller)
    world.wall += days * 86400.0
    world.limiter.said()
    world.call(caller, 100)


def test_sums_read_before_midnight_are_not_those_of_today(world: World) -> None:
    caller = key(tokens_per_day=900)
    before = world.wall
    world.later(12 * 3600.0)
    world.limiter.set_spent({1: Spent(900, 900)}, {}, before)
    world.call(caller)


def test_sums_replace_what_they_contain_and_nothing_else(world: World) -> None:
    caller = key(tokens_per_day=1000)
    world.call(caller, 300)
    world.limiter.mark()
    world.call(caller, 200)  # written with the rest or not: counted until the next reading
    world.limiter.set_spent({1: Spent(300, 300)}, {}, world.wall)
    charge = world.limiter.admit(caller, 499)
    world.limiter.settle(charge, 499, 0.0)
    world.call(caller, 1)
    world.refusal(caller)
    world.limiter.mark()
    world.limiter.set_spent({1: Spent(999, 999)}, {}, world.wall)
    world.call(caller, 1)


def test_a_reading_that_fails_loses_nothing(world: World) -> None:
    caller = key(tokens_per_day=1000)
    world.call(caller, 600)
    world.limiter.mark()
    world.call(caller, 400)
    world.limiter.mark()
    world.refusal(caller)
    world.limiter.set_spent({1: Spent(600, 600)}, {}, world.wall)
    world.call(caller, 400)


def test_a_changed_budget_holds_at_once(world: World) -> None:
    world.call(key(tokens_per_day=1000), 1000)
    world.refusal(key(tokens_per_day=1000))
    world.call(key(tokens_per_day=1001))
    world.refusal(key(tokens_per_day=0))
    world.call(key())


# --- memory -----------------------------------------------------------------------------------------------------
def test_who_calls_no_more_is_forgotten_once_nothing_is_owed(world: World) -> None:
    open_call = world.limiter.admit(key(1, concurrent_requests=1), 0)
    world.call(key(2, requests_per_minute=1))
    world.call(key(3, tokens_per_minute=10), used=100)
    assert world.limiter.said().keys.keys() == {1, 2, 3}
    world.later(61.0)
    assert world.limiter.said().keys.keys() == {1, 3}
    world.limiter.settle(open_call, None, 0.0)
    world.later(600.0)
    assert world.limiter.said().keys.keys() == set()


# --- over time --------------------------------------------------------------------------------------------------
steps = st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 40)), min_size=1, max_size=150)


@given(limit=st.integers(1, 200), steps=steps)
@settings(deadline=None, max_examples=150)
def test_no_span_of_time_sees_more_requests_than_the_bucket_and_its_refill(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    world = World()
    caller = key(requests_per_minute=limit)
    passed: list[tuple[float, int]] = []
    for wait, tries in steps:
        world.now += wait
        passed.append((world.now, world.calls(caller, tries)))
    for first, (began, _) in enumerate(passed):
        total = 0
        for ended, count in passed[first:]:
            total += count
            assert total <= limit + (ended - began) * limit / 60 + 1e-3


parts = st.floats(0.0, 1.0)


@given(
    limit=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0.0, 90.0), parts, parts, st.booleans()), max_size=99),
)
@settings(deadline=None, max_examples=150)
def test_tokens_used_never_outrun_the_bucket_and_its_refill(
    limit: int, steps: list[tuple[float, float, float, bool]]
) -> None:
    """Each call: when, how much of the bucket it is estimated at, how much of that it uses, whether open ones end."""
    world = World()
    caller = key(tokens_per_minute=limit)
    used = 0
    calls: list[tuple[Charge, int]] = []
    for wait, estimate, part, end in steps:
        world.now += wait
        try:
            charge = world.limiter.admit(caller, int(estimate * limit))
            calls.append((charge, int(part * charge.tokens)))
        except TokenLimit:
            pass
        while calls and end:
            world.limiter.settle(*calls[-1], 0.0)
            used += calls.pop()[1]
        assert used <= limit + (world.now - 1000.0) * limit / 60 + 1e-3
    assert all(use.reserved == sum(charge.tokens for charge, _ in calls) for use in world.limiter.said().keys.values())
