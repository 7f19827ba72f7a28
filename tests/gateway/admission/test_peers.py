"""Several processes hold limits together: the same rate over time, and each by itself when it must."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pytest_django.fixtures import Settings

from gateway.admission import peers, peers_redis
from gateway.errors import BudgetExceeded, ConcurrencyLimit, RequestLimit
from gateway.limits.limiter import Charge, KnownTeam, Quota, Spent
from gateway.outage import FAULTS
from sardeenz import env
from sardeenz.redis import async_client, client
from tests.gateway.admission.processes import Hash, Process, exchanges
from tests.gateway.limits.test_limits import NOON, Key, key
from tests.servers import Server


@pytest.fixture
def shared() -> Hash:
    return Hash()


@pytest.fixture
def pair(shared: Hash) -> tuple[Process, Process]:
    return Process(shared), Process(shared)


# --- per minute -------------------------------------------------------------------------------------------------
async def test_what_another_process_admitted_counts_after_one_exchange(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    caller = key(requests_per_minute=60)
    await exchanges(shared, one, other)
    other.calls(caller, at_most=1)
    assert one.calls(caller, at_most=20) == 20
    await exchanges(shared, one, other)
    assert other.calls(caller) == 39


async def test_a_burst_exceeds_a_limit_by_what_one_exchange_hides_and_pays_it_back(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    caller = key(requests_per_minute=60)
    await exchanges(shared, *pair)
    admitted = sum(process.calls(caller) for process in pair)
    assert admitted == 120
    for _ in range(8 * 120):
        await exchanges(shared, *pair)
        admitted += sum(process.calls(caller) for process in pair)
    seconds = shared.now - 1000.0
    assert 60 + seconds - 2 <= admitted <= 60 + seconds + 1


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_the_rate_of_all_together_is_the_limit_for_as_long_as_they_try(shared: Hash, count: int) -> None:
    processes = [Process(shared) for _ in range(count)]
    ours = Key(1, Quota(), KnownTeam(1, "a-team", 1, 0, Quota(tokens_per_minute=6000)))
    admitted = 0
    for turn in range(8 * 300):
        await exchanges(shared, *processes)
        for process in processes[turn % count :] + processes[: turn % count]:
            admitted += 25 * process.calls(ours, 25, at_most=2)
    seconds = shared.now - 1000.0
    assert 0.99 * 100 * seconds <= admitted <= 6000 + 100 * seconds + 50 * count


async def test_what_a_call_gives_back_is_given_back_everywhere(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    caller = key(tokens_per_minute=600)
    await exchanges(shared, one, other)
    charge = one.limiter.admit(caller, 600)
    await exchanges(shared, one, other)
    assert other.calls(caller, 100) == 0
    one.limiter.settle(charge, 100, 0.0)
    await exchanges(shared, one, other)
    assert other.calls(caller, 100) == 5


async def test_a_process_that_starts_learns_how_full_the_buckets_are(shared: Hash) -> None:
    old, caller = Process(shared), key(requests_per_minute=60)
    old.calls(caller)
    await exchanges(shared, old)
    new = Process(shared)
    await exchanges(shared, new)
    assert new.calls(caller) == 0
    assert old.calls(caller) == 0
    await exchanges(shared, old, new, rounds=8)
    assert new.calls(caller) == 1
    await exchanges(shared, new, old)
    assert old.calls(caller) == 0


async def test_a_key_new_to_a_process_is_known_from_the_others(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    await exchanges(shared, one, other)
    caller = key(requests_per_minute=60, concurrent_requests=1)
    open_call = one.limiter.admit(caller, 0)
    await exchanges(shared, one, other)
    with pytest.raises(ConcurrencyLimit):
        other.limiter.admit(caller, 0)
    one.limiter.settle(open_call, None, 0.0)
    assert one.calls(caller) == 59
    await exchanges(shared, one, other)
    with pytest.raises(RequestLimit):
        other.limiter.admit(caller, 0)


async def test_a_missed_exchange_loses_nothing(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    caller = key(requests_per_minute=60)
    other.calls(caller, at_most=1)
    await exchanges(shared, one, other)
    one.calls(caller, at_most=20)
    shared.fault = ConnectionError("away")
    await exchanges(shared, one, other, rounds=3)
    one.calls(caller, at_most=20)
    shared.fault = None
    await exchanges(shared, one, other)
    assert other.calls(caller) == 60 - 41


async def test_an_account_that_was_forgotten_and_came_back_is_counted_from_its_new_beginning(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    caller = key(requests_per_minute=60)
    await exchanges(shared, one, other)
    one.calls(caller, at_most=30)
    shared.now += 100.0
    await exchanges(shared, one, other)
    assert one.limiter.said().keys == {}
    other.calls(caller, at_most=1)
    one.calls(caller, at_most=5)
    await exchanges(shared, one, other)
    assert other.calls(caller) == 54


async def test_who_speaks_another_version_is_no_peer(shared: Hash) -> None:
    shared.fields["other"] = b'{"version": 2}'
    process = Process(shared)
    await exchanges(shared, process, rounds=2)
    assert (process.peers.count, process.allowed) == (1, 10)
    assert process.peers.strangers.times == 2


async def test_who_has_no_limits_is_not_spoken_of(shared: Hash) -> None:
    process = Process(shared)
    process.calls(key(), at_most=100)
    await exchanges(shared, process)
    assert len(next(iter(shared.fields.values()))) < 60


# --- at once ----------------------------------------------------------------------------------------------------
async def test_calls_in_flight_elsewhere_count_until_they_end(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    caller = key(concurrent_requests=3)
    charges: list[Charge] = [one.limiter.admit(caller, 0) for _ in range(3)]
    await exchanges(shared, one, other)
    with pytest.raises(ConcurrencyLimit):
        other.limiter.admit(caller, 0)
    one.limiter.settle(charges[0], None, 0.0)
    await exchanges(shared, one, other)
    other.limiter.admit(caller, 0)


async def test_the_calls_of_a_process_that_is_gone_count_no_more_after_two_seconds(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, gone = pair
    caller = key(concurrent_requests=1)
    gone.limiter.admit(caller, 0)
    await exchanges(shared, gone, one)
    await exchanges(shared, one, rounds=16)
    with pytest.raises(ConcurrencyLimit):
        one.limiter.admit(caller, 0)
    await exchanges(shared, one)
    one.limiter.admit(caller, 0)


# --- budgets ----------------------------------------------------------------------------------------------------
async def test_what_others_used_and_have_not_written_counts_against_a_budget(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    caller = key(tokens_per_day=1000, gpu_seconds_per_day=10.0)
    await exchanges(shared, one, other)
    one.limiter.settle(one.limiter.admit(caller, 0), 600, 5.0)
    waiting = one.limiter.admit(caller, 300)
    await exchanges(shared, one, other)
    other.limiter.settle(other.limiter.admit(caller, 0), 100, 0.0)
    with pytest.raises(BudgetExceeded):
        other.limiter.admit(caller, 0)
    one.limiter.settle(waiting, 0, 4.0)
    await exchanges(shared, one, other)
    other.limiter.settle(other.limiter.admit(caller, 0), 0, 1.0)
    with pytest.raises(BudgetExceeded):
        other.limiter.admit(caller, 0)


async def test_what_others_wrote_late_is_never_missed(shared: Hash, pair: tuple[Process, Process]) -> None:
    """Read before the other wrote: the sums lack it. It counts until the reading after."""
    one, other = pair
    caller = key(tokens_per_day=1000)
    await exchanges(shared, one, other)
    one.limiter.settle(one.limiter.admit(caller, 0), 1000, 0.0)
    await exchanges(shared, one, other)
    for written in (0, 1000):
        other.limiter.mark()
        other.limiter.set_spent({1: Spent(written, written)}, {}, NOON + shared.now)
        with pytest.raises(BudgetExceeded):
            other.limiter.admit(caller, 0)
    other.limiter.mark()
    other.limiter.set_spent({1: Spent(999, 999)}, {}, NOON + shared.now)
    other.limiter.admit(caller, 0)


# --- by itself --------------------------------------------------------------------------------------------------
async def test_without_an_exchange_each_goes_on_with_an_equal_part_of_the_places(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    caller = key(requests_per_minute=60, concurrent_requests=1)
    open_call = other.limiter.admit(caller, 0)
    one.arrive(30)
    await exchanges(shared, one, other, rounds=3)
    shared.fault = ConnectionError("away")
    await exchanges(shared, one, other, rounds=16)
    assert not one.peers.apart
    with pytest.raises(ConcurrencyLimit):
        one.limiter.admit(caller, 0)
    await exchanges(shared, one, other)
    assert one.peers.apart
    assert one.peers.outage.lasting
    assert (one.allowed, other.allowed, one.peers.allowed(99, 1)) == (5, 5, 1)
    one.limiter.settle(one.limiter.admit(caller, 0), None, 0.0)
    other.limiter.settle(open_call, None, 0.0)


async def test_after_an_outage_they_are_together_again(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    caller = key(requests_per_minute=60)
    await exchanges(shared, one, other, rounds=3)
    shared.fault = ConnectionError("away")
    await exchanges(shared, one, other, rounds=80)
    one.calls(caller)
    one.arrive(30)
    assert one.in_flight == 5
    shared.fault = None
    await exchanges(shared, one, other, rounds=3)
    assert not one.peers.outage.lasting
    assert one.in_flight == 10
    assert other.calls(caller) == 0


async def test_who_starts_without_an_exchange_has_the_limits_for_itself(shared: Hash) -> None:
    shared.fault = ConnectionError("away")
    process = Process(shared)
    await exchanges(shared, process)
    assert process.allowed == 10
    assert process.calls(key(requests_per_minute=60)) == 60


# --- through Redis ----------------------------------------------------------------------------------------------
@pytest_asyncio.fixture
async def redis_of_this_loop() -> AsyncIterator[None]:
    async_client.cache_clear()
    yield
    await async_client().aclose()
    async_client.cache_clear()


def through_redis(shared: Hash) -> Process:
    process = Process(shared)
    process.peers._exchange = peers_redis.exchange
    return process


@pytest.mark.usefixtures("redis_of_this_loop")
async def test_two_processes_share_limits_and_places_through_redis(shared: Hash) -> None:
    one, other = through_redis(shared), through_redis(shared)
    caller = key(requests_per_minute=60, concurrent_requests=5)
    await exchanges(shared, one, other, rounds=3)
    open_calls = [one.limiter.admit(caller, 0) for _ in range(5)]
    one.arrive(30)
    await exchanges(shared, one, other, rounds=3)
    with pytest.raises(ConcurrencyLimit):
        other.limiter.admit(caller, 0)
    assert (one.in_flight, other.allowed) == (10, 0)
    for charge in open_calls:
        one.limiter.settle(charge, None, 0.0)
    await exchanges(shared, one, other)
    assert other.calls(caller) == 55


@pytest.mark.usefixtures("redis_of_this_loop")
async def test_the_loop_keeps_two_processes_in_touch(shared: Hash) -> None:
    processes = [through_redis(shared), through_redis(shared)]
    heard = [asyncio.Event() for _ in processes]
    for process, event in zip(processes, heard, strict=True):
        process.peers.on_exchange.append(lambda process=process, event=event: process.peers.count == 2 and event.set())  # type: ignore[misc]
    loops = [asyncio.create_task(process.peers.keep_in_touch()) for process in processes]
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*(event.wait() for event in heard))
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_processes_rest_once_nobody_has_called_any_of_them_for_a_while(shared: Hash) -> None:
    one, other = Process(shared), Process(shared)
    await exchanges(shared, one, other, rounds=18)
    assert (one.peers.resting, other.peers.resting) == (True, True)
    one.calls(key(requests_per_minute=60), at_most=1)
    await exchanges(shared, one, other, rounds=2)
    assert (one.peers.resting, other.peers.resting) == (False, False)
    await exchanges(shared, one, other, rounds=30)  # the limit per minute is whole again after a second
    assert (one.peers.resting, other.peers.resting) == (True, True)


async def test_nobody_rests_while_somebody_has_a_call_in_flight(shared: Hash) -> None:
    one, other = Process(shared), Process(shared)
    await exchanges(shared, one, other, rounds=2)
    one.arrive(1)
    await exchanges(shared, one, other, rounds=30)
    assert (one.peers.resting, other.peers.resting) == (False, False)
    one.finish(1)
    await exchanges(shared, one, other, rounds=18)
    assert (one.peers.resting, other.peers.resting) == (True, True)


async def test_a_call_ends_the_rest_with_an_exchange_of_its_own(shared: Hash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "REST_SECONDS", 3600)
    process = Process(shared)
    await exchanges(shared, process, rounds=18)
    exchanged = asyncio.Event()
    loop = asyncio.create_task(process.peers.keep_in_touch())
    try:
        await asyncio.sleep(0.01)
        assert process.peers.resting
        process.peers.on_exchange.append(exchanged.set)
        process.peers.stir()
        async with asyncio.timeout(30):
            await exchanged.wait()
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


@pytest.mark.usefixtures("redis_of_this_loop")
async def test_a_field_left_behind_is_removed_and_the_hash_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(peers_redis.time, "time", lambda: now)
    await peers_redis.exchange("gone", b"[1]")
    now += 60
    assert await peers_redis.exchange("here", b"[2]") == {"gone": b"[1]", "here": b"[2]"}
    now += 1
    assert await peers_redis.exchange("here", b"[3]") == {"here": b"[3]"}
    assert client().hkeys("sardeenz:gateway_peers") == ["here"]
    assert 0 < client().pttl("sardeenz:gateway_peers") <= 60_000


async def test_redis_that_stops_is_lived_through(shared: Hash, settings: Settings) -> None:
    server = Server("valkey")
    settings.REDIS_URL = env.embedded_redis_url(server.place)
    async_client.cache_clear()
    one, other = through_redis(shared), through_redis(shared)
    try:
        await exchanges(shared, one, other, rounds=3)
        assert (one.allowed, other.allowed) == (5, 5)
    finally:
        server.stop()
    await exchanges(shared, one, other, rounds=17)
    assert one.peers.apart
    assert one.calls(key(requests_per_minute=60)) == 60
    with pytest.raises(FAULTS):
        await peers_redis.exchange("one", b"[]")
    await async_client().aclose()
    async_client.cache_clear()
