"""Several processes hold a deployment's seats together: never more than its limit, wherever the demand is."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.peers import EXCHANGE_SECONDS, SeatDemand
from gateway.admission.seats import GRANULE_SECONDS
from tests.gateway.admission.processes import DEPLOYMENT, Hash, Process, exchanges


@pytest.fixture
def shared() -> Hash:
    return Hash()


@pytest.fixture
def pair(shared: Hash) -> tuple[Process, Process]:
    return Process(shared), Process(shared)


async def test_one_process_alone_has_all_seats(shared: Hash) -> None:
    process = Process(shared)
    assert process.allowed == 10
    await exchanges(shared, process)
    assert process.allowed == process.peers.allowed(99, 10) == 10
    assert process.peers.allowed(DEPLOYMENT, 4) == 4


async def test_idle_processes_share_the_places_evenly(shared: Hash) -> None:
    processes = [Process(shared) for _ in range(3)]
    await exchanges(shared, *processes, rounds=3)
    assert sorted(process.allowed for process in processes) == [3, 3, 4]


async def test_places_go_where_the_demand_is(shared: Hash, pair: tuple[Process, Process]) -> None:
    one, other = pair
    await exchanges(shared, one, other, rounds=3)
    one.arrive(30)
    await exchanges(shared, one, other, rounds=3)
    assert (one.in_flight, other.in_flight) == (10, 0)
    other.arrive(30)
    await exchanges(shared, one, other, rounds=3)
    assert (one.in_flight, other.in_flight) == (10, 0)  # what runs, runs
    one.finish(4)
    await exchanges(shared, one, other, rounds=3)
    assert (one.in_flight, other.in_flight) == (6, 4)
    one.finish(4)
    await exchanges(shared, one, other, rounds=3)
    assert (one.in_flight, other.in_flight) == (5, 5)


async def test_a_single_seat_is_taken_in_turns(shared: Hash) -> None:
    processes = [Process(shared, limit=1) for _ in range(3)]
    waits = dict.fromkeys(processes, 0.0)
    await exchanges(shared, *processes)
    for process in processes:
        process.peers._demand = lambda process=process: {  # type: ignore[misc]
            DEPLOYMENT: SeatDemand(1, process.in_flight, process.waiting, 1, waits[process])
        }
        process.arrive(1)
    longest = 0.0
    for _ in range(400):
        await exchanges(shared, *processes)
        assert sum(process.in_flight for process in processes) <= 1
        for process in processes:
            waits[process] = 0.0 if process.in_flight else waits[process] + EXCHANGE_SECONDS
            process.finish(1)
            process.waiting = 1
        longest = max(longest, *waits.values())
    assert GRANULE_SECONDS < longest < 3 * GRANULE_SECONDS


async def test_a_seat_that_is_new_to_a_process_is_shared_before_it_is_used(shared: Hash) -> None:
    one, other = Process(shared), Process(shared)
    await exchanges(shared, one, other, rounds=2)
    assert other.peers.allowed(99, 10) == 0


async def test_the_places_of_a_process_that_is_gone_come_free_after_two_seconds(
    shared: Hash, pair: tuple[Process, Process]
) -> None:
    one, gone = pair
    gone.arrive(30)
    await exchanges(shared, gone, one, rounds=3)
    assert one.peers.count == 2
    one.arrive(30)
    await exchanges(shared, one, rounds=20)
    assert (one.peers.count, one.in_flight) == (1, 10)


@given(
    limit=st.integers(1, 12),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["exchange", "exchange", "together", "arrive", "finish", "fault"]), st.integers(0, 3)
        ),
        max_size=150,
    ),
)
@settings(deadline=None, max_examples=200)
def test_places_in_use_never_exceed_the_limit_in_whatever_order_processes_speak(
    limit: int, moves: list[tuple[str, int]]
) -> None:
    """Exchanges fail now and then, but never for so long that somebody must go on by itself."""

    async def play() -> None:
        shared = Hash()
        processes = [Process(shared, limit) for _ in range(4)]
        await exchanges(shared, *processes)
        for verb, number in moves:
            process = processes[number]
            shared.fault = ConnectionError("away") if verb == "fault" else None
            if verb in ("exchange", "fault"):
                await process.peers.exchange_once()
            elif verb == "together":
                await asyncio.gather(*(each.peers.exchange_once() for each in processes[number:]))
            elif verb == "arrive":
                process.arrive(limit)
            else:
                process.finish(1 + limit // 3)
            assert sum(each.in_flight for each in processes) <= limit
        shared.fault = None
        await exchanges(shared, *processes, rounds=4)
        wanted = sum(each.in_flight + each.waiting for each in processes)
        assert sum(each.in_flight for each in processes) == min(limit, wanted)

    asyncio.run(play())
