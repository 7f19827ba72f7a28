"""A replica that fails is left alone while another serves, and is tried again with one request."""

import asyncio
from itertools import count

import pytest

from gateway.routing import replicas
from gateway.routing.replicas import EJECT_AFTER, Health, RoutedReplica
from tests.gateway.behaviours import Held, hang_up, named, status
from tests.gateway.conftest import Running, World, until
from tests.gateway.engines import Engine, Exchange


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is left alone stays so, unless a test says that the time is over."""
    monkeypatch.setattr(replicas, "EJECT_SECONDS", 3600.0)
    monkeypatch.setattr(replicas, "EJECT_MOST_SECONDS", 3600.0)


def replica(gateway: Running, number: int = 10) -> RoutedReplica:
    return gateway.app.router.table.replicas[f"{number}:1"]


def time_is_over(gateway: Running) -> None:
    """Of all that are left alone."""
    for replica in gateway.app.router.table.replicas.values():
        replica.health.ejected_until = 0.0


async def ejected(world: World, run, engine: Engine, other_engine: Engine) -> Running:
    """A gateway that leaves the first of two replicas alone."""
    engine.behaviours = [status(500)] * EJECT_AFTER
    world.serve("m", engine, other_engine)
    gateway = await run()
    while len(engine.seen) < EJECT_AFTER:
        await gateway.chat("m")
    return gateway


@pytest.mark.parametrize("failure", [status(500), status(503), hang_up])
async def test_after_three_failures_in_a_row_the_other_serves(
    world: World, run, engine: Engine, other_engine: Engine, failure
) -> None:
    engine.behaviour = failure
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(12):
        await gateway.chat("m")
    assert {(await gateway.chat("m")).status_code for _ in range(6)} == {200}
    assert len(engine.seen) == EJECT_AFTER


async def test_one_that_answers_in_between_is_not_left_alone(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    failures = [status(500)] * (EJECT_AFTER - 1)
    engine.behaviours = [*failures, named("well"), *failures]
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(16):
        await gateway.chat("m")
    assert len(engine.seen) == 8


async def test_an_engine_that_breaks_each_of_its_answers_is_left_alone(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    """It says 200 and dies, again and again: the head of an answer is not yet a success."""

    async def break_off(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"choices":[]}\n\n')
        exchange.writer.close()

    engine.behaviour = break_off
    other_engine.behaviour = named("well")
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(12):
        client = await gateway.open(b'{"model":"m","stream":true}', connection="close")
        assert await client.reader.read(), "it says something"
        await until(lambda: gateway.leases() == 0)
    assert len(engine.seen) == EJECT_AFTER


@pytest.mark.parametrize("code", [400, 404, 422, 429])
async def test_the_callers_mistakes_say_nothing_about_an_engine(
    world: World, run, engine: Engine, other_engine: Engine, code: int
) -> None:
    engine.behaviour = status(code)
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(16):
        await gateway.chat("m")
    assert len(engine.seen) == len(other_engine.seen) == 8


async def test_exactly_one_request_tries_it_again_while_the_others_go_elsewhere(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    gateway = await ejected(world, run, engine, other_engine)
    held = engine.behaviour = Held()
    time_is_over(gateway)
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(8)]
    await until(lambda: sum(task.done() for task in asked) == 7 and len(held) == 1)
    assert {(await gateway.chat("m")).status_code for _ in range(4)} == {200}
    assert held.most == 1
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    engine.behaviour = named("back")
    answers = [await gateway.chat("m") for _ in range(8)]
    assert sum(answer.json()["id"] == "back" for answer in answers) == 4


async def test_a_request_that_fails_there_leaves_it_alone_again(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    gateway = await ejected(world, run, engine, other_engine)
    engine.behaviour = status(500)
    time_is_over(gateway)
    statuses = sorted([(await gateway.chat("m")).status_code for _ in range(8)])
    assert statuses == [200] * 7 + [500]
    assert len(engine.seen) == EJECT_AFTER + 1


async def test_it_is_tried_again_by_another_when_that_ones_client_left(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    gateway = await ejected(world, run, engine, other_engine)
    held = engine.behaviour = Held()
    time_is_over(gateway)
    clients = [await gateway.open(b'{"model":"m"}') for _ in range(2)]
    await until(lambda: len(held) == 1)
    for client in clients:
        await client.leave()
    await until(lambda: len(held) == 0 and gateway.leases() == 0)
    engine.behaviour = named("back")
    answers = [await gateway.chat("m") for _ in range(8)]
    assert sum(answer.json()["id"] == "back" for answer in answers) == 4


async def test_who_leaves_another_request_there_does_not_let_a_second_one_try(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    held = Held()
    engine.behaviours = [held, *[status(500)] * EJECT_AFTER]
    engine.behaviour = held
    world.serve("m", engine, other_engine)
    gateway = await run()
    for number in count():  # until there is a session that belongs to the first replica
        session = f"session-{number}"
        client = await gateway.open(b'{"model":"m"}', x_session_id=session)
        await until(lambda number=number: len(engine.seen) + len(other_engine.seen) == number + 1)
        if held.requests:
            break
    for _ in range(EJECT_AFTER):
        await gateway.client.post("/v1/chat/completions", json={"model": "m"}, headers={"x-session-id": session})
    assert len(engine.seen) == 1 + EJECT_AFTER
    time_is_over(gateway)
    probe = asyncio.create_task(
        gateway.client.post("/v1/chat/completions", json={"model": "m"}, headers={"x-session-id": session})
    )
    await until(lambda: len(held) == 2)
    await client.leave()
    await until(lambda: len(held) == 1 and gateway.leases() == 1)
    answers = await asyncio.gather(*(gateway.chat("m") for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(held) == 1
    held.open()
    assert (await probe).status_code == 200


async def test_the_only_replica_is_asked_all_the_same(world: World, run, engine: Engine) -> None:
    engine.behaviour = status(500)
    world.serve("m", engine)
    gateway = await run()
    for _ in range(2 * EJECT_AFTER):
        assert (await gateway.chat("m")).status_code == 500
    assert len(engine.seen) == 2 * EJECT_AFTER


async def test_when_all_are_left_alone_they_are_asked_all_the_same(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = other_engine.behaviour = status(500)
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(4 * EJECT_AFTER):
        assert (await gateway.chat("m")).status_code == 500
    assert len(engine.seen) + len(other_engine.seen) == 4 * EJECT_AFTER
    engine.behaviour = other_engine.behaviour = named("well")
    assert {(await gateway.chat("m")).status_code for _ in range(4)} == {200}


async def test_the_only_replica_is_left_alone_where_another_deployment_may_be_asked(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = status(500)
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    assert {(await gateway.chat("m")).status_code for _ in range(3 * EJECT_AFTER)} == {200}
    assert (len(engine.seen), len(other_engine.seen)) == (EJECT_AFTER, 3 * EJECT_AFTER)
    engine.behaviour = named("back")
    time_is_over(gateway)
    assert {(await gateway.chat("m")).json()["id"] for _ in range(3)} == {"back"}


# --- for how long -----------------------------------------------------------------------------------------------
def test_each_failed_try_doubles_the_time_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "EJECT_SECONDS", 2.0)
    monkeypatch.setattr(replicas, "EJECT_MOST_SECONDS", 60.0)
    health, now, times = Health(), 100.0, []
    for _ in range(EJECT_AFTER - 1):
        health.failed(now)
    for _ in range(7):
        health.failed(now)
        times.append(health.ejected_until - now)
        now = health.ejected_until
    assert times == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    health.succeeded()
    for _ in range(EJECT_AFTER):
        health.failed(now)
    assert health.ejected_until - now == 2.0


def test_what_fails_together_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty that were in flight when an engine stumbled are one stumble."""
    monkeypatch.setattr(replicas, "EJECT_SECONDS", 2.0)
    monkeypatch.setattr(replicas, "EJECT_MOST_SECONDS", 60.0)
    health = Health()
    for place in range(20):
        health.failed(100.0 + place / 1000)
    assert not health.usable(101.9)
    assert health.usable(102.1)
