"""What a call waited for, or asked in vain, stands on its record; a call that waits for nothing has no trail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import pytest

from gateway.admission.clock import CallClock
from gateway.limits.limiter import Quota
from gateway.metering import trail
from gateway.metering.meter import DROPPED, Record
from gateway.metering.trail import MOST_STEPS, Step
from gateway.metering.usage_rows import write_usage
from gateway.models import UsageRecord
from gateway.wire.usage import Usage
from tests.gateway.behaviours import Held, hang_up
from tests.gateway.conftest import KEY, Running, World, known, until
from tests.gateway.engines import Engine

Start = Callable[[], Awaitable[Running]]


async def records(world: World, gateway: Running, count: int) -> list[Record]:
    """What the gateway would have written of this many calls."""
    await until(lambda: gateway.leases() == 0)
    await gateway.app._flush()
    whole = [record for record in world.usage if record.outcome != DROPPED]
    assert len(whole) == count
    return whole


def steps(record: Record) -> list[Step]:
    assert record.trail is not None
    return record.trail


async def test_a_call_that_waits_for_nothing_has_its_id_and_no_trail(world: World, run: Start, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    answer = await gateway.chat("m")
    [record] = await records(world, gateway, 1)
    assert record.request_id == answer.headers["x-request-id"]
    assert (record.trail, record.beside) == (None, 0)


async def test_a_wait_for_the_model_names_its_deployment_and_the_state_that_was_met(
    world: World, run: Start, engine: Engine
) -> None:
    world.serve("m", deployment_name="chat")
    gateway = await run()
    asked = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    world.change("m", engine)
    assert (await asked).status_code == 200
    [record] = await records(world, gateway, 1)
    [step] = steps(record)
    assert (step.what, step.deployment, step.state) == (trail.MODEL, "chat", "sleeping")
    assert 0 < step.seconds <= record.wake_seconds
    assert step.after_seconds + step.seconds <= record.e2e_seconds


async def test_a_wait_for_a_seat_tells_the_seats_and_who_stood_before(world: World, run: Start, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine, max_concurrency=1)
    gateway = await run()
    asked = []
    for number in range(3):
        asked.append(asyncio.create_task(gateway.chat("m")))
        await until(lambda number=number: gateway.app.admission.waiting + len(held) == number + 1)
    for served in range(1, 4):
        await until(lambda: len(held) == 1)
        held.let_go()
        await until(lambda served=served: sum(task.done() for task in asked) == served)
    first, second, third = await records(world, gateway, 3)
    assert first.trail is None
    for record, ahead in ((second, 0), (third, 1)):
        [step] = steps(record)
        assert (step.what, step.deployment, step.seats, step.ahead) == (trail.SEAT, "m", 1, ahead)


async def test_calls_in_flight_beside_it_are_counted_when_its_engine_is_asked(
    world: World, run: Start, engine: Engine
) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine)
    gateway = await run()
    asked = []
    for number in range(3):
        asked.append(asyncio.create_task(gateway.chat("m")))
        await until(lambda number=number: len(held) == number + 1)
    held.open()
    await asyncio.gather(*asked)
    assert sorted(record.beside or 0 for record in await records(world, gateway, 3)) == [0, 1, 2]


async def test_an_engine_that_was_asked_in_vain_stands_in_the_trail(
    world: World, run: Start, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviours = [hang_up]
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    [record] = await records(world, gateway, 1)
    [step] = steps(record)
    assert (step.what, step.replica, step.code) == (trail.ASKED, record.replica_id, "engine_unreachable")
    assert step.message


async def test_a_deployment_that_was_asked_in_vain_is_named_before_its_fallback(
    world: World, run: Start, engine: Engine
) -> None:
    world.serve("first", state="stopped")
    world.serve("second", engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    [record] = await records(world, gateway, 1)
    [step] = steps(record)
    assert (record.served_name, step.deployment, step.code) == ("second", "first", "model_stopped")
    assert step.replica is None


async def test_a_refused_call_keeps_the_words_that_its_caller_was_told(
    world: World, run: Start, engine: Engine
) -> None:
    world.keys = [known(KEY, 1, quota=Quota(requests_per_minute=1))]
    world.serve("m", engine)
    gateway = await run()
    await gateway.chat("m")
    refused = await gateway.chat("m")
    assert refused.status_code == 429
    _, record = await records(world, gateway, 2)
    [step] = steps(record)
    assert (step.what, step.code) == (trail.REFUSED, "request_limit")
    assert step.message == refused.json()["error"]["message"]


def test_a_trail_is_bounded_and_its_end_is_kept() -> None:
    clock = CallClock()
    for _ in range(3 * MOST_STEPS):
        clock.keep(trail.ASKED, clock.began, "m", code="engine_unreachable")
    clock.refuse("m", "wake_timeout", "x" * 5000)
    assert clock.trail is not None
    assert len(clock.trail) == MOST_STEPS + 1
    assert clock.trail[-1].code == "wake_timeout"
    assert len(clock.trail[-1].message) == trail.MESSAGE_LETTERS


@pytest.mark.django_db
def test_a_trail_comes_to_its_row_without_what_it_does_not_know() -> None:
    record = Record(
        key_id=0, served_name="m", path="/v1/completions", replica_id=7, status=200, outcome="ok", stream=False,
        usage=Usage(1, 1, 0), wake_seconds=1.0, queue_seconds=0.0, ttft_seconds=None, e2e_seconds=4.0,
        at=datetime(2026, 3, 1, tzinfo=UTC).timestamp(), generation=1,
    )  # fmt: skip
    step = Step(trail.MODEL, 0.5, 1.0, "chat", state="sleeping")
    write_usage([record, msgspec.structs.replace(record, at=record.at + 1, request_id="r-1", beside=3, trail=[step])])
    plain, waited = UsageRecord.objects.order_by("id")
    assert (plain.request_id, plain.beside, plain.trail) == ("", None, None)
    kept = {"what": "model", "after_seconds": 0.5, "seconds": 1.0, "deployment": "chat", "state": "sleeping"}
    assert (waited.request_id, waited.beside, waited.trail) == ("r-1", 3, [kept])
