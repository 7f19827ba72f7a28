"""An operator sees a call wherever it is and ends it there: its client is told why, and its engine stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.in_flight.messages import Answer, RunningCall
from gateway.limits.limiter import UNLIMITED, KnownTeam
from tests.gateway.behaviours import Held
from tests.gateway.conftest import KEY, READ_KEY, Running, Socket, World, known, until
from tests.gateway.engines import Engine, Exchange

Run = Callable[[], Awaitable[Running]]
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
STREAM = b'{"model":"m","stream":true}'


async def slow(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(EVENT)
    await exchange.chunk(EVENT)
    await exchange.until_hung_up()


async def half(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(EVENT + b'data: {"cho')
    await exchange.until_hung_up()


def calls(answers: list[Answer]) -> list[RunningCall]:
    return [call for answer in answers for call in answer.calls]


async def seen(world: World, state: str, count: int = 1) -> list[RunningCall]:
    """Ask until so many calls are in this state."""
    async with asyncio.timeout(10):
        while True:
            found = [call for call in calls(await world.ask()) if call.state == state]
            if len(found) == count:
                return found
            await asyncio.sleep(0.005)


async def cancel(world: World, request_id: str) -> list[int]:
    return [answer.cancelled for answer in await world.ask(cancel=request_id, actor="ada")]


def outcome(world: World) -> Any:
    return world.usage[-1]


async def test_nothing_is_in_flight_when_nobody_calls(world: World, run: Run) -> None:
    await run()
    (answer,) = await world.ask()
    assert (answer.calls, answer.states) == ([], {})


async def test_a_stream_is_shown_and_ends_with_an_event_that_says_why(world: World, run: Run, engine: Engine) -> None:
    engine.behaviour = slow
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(STREAM, x_request_id="mine")
    await client.until(EVENT + b"\r\n")
    (call,) = await seen(world, "streaming")
    assert (call.request_id, call.deployment, call.key, call.replica, call.stream) == ("mine", 1, 1, 10, True)
    assert call.began_at <= call.since
    assert call.pieces in (1, 2)  # two events may come in one piece
    assert await cancel(world, "mine") == [1]
    event = await client.until(b"\n\n\r\n0\r\n\r\n")
    assert b'"code": "cancelled_by_operator"' in event and b"ada" not in event
    await asyncio.wait_for(engine.seen[0].hung_up.wait(), 10)
    await until(lambda: bool(world.usage))
    record = outcome(world)
    assert (record.outcome, record.status) == ("cancelled_by_operator", 200)
    assert record.trail[-1].message == "ada cancelled this call"
    assert gateway.leases() == 0 and calls(await world.ask()) == []


async def test_its_connection_serves_the_next_call(world: World, run: Run, engine: Engine) -> None:
    engine.behaviours = [slow]
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(STREAM, x_request_id="mine")
    await client.until(EVENT + b"\r\n")
    await cancel(world, "mine")
    await client.until(b"\r\n0\r\n\r\n")
    line = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    client.writer.write(f"{line}content-length: 13\r\n\r\n".encode() + b'{"model":"m"}')
    assert (await client.head()).startswith(b"HTTP/1.1 200")


async def test_a_stream_between_the_halves_of_an_event_is_cut_off(world: World, run: Run, engine: Engine) -> None:
    engine.behaviour = half
    world.serve("m", engine)
    gateway = await run()
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'
    client = await gateway.open(body, x_request_id="mine")
    await client.until(b'{"cho\r\n')
    assert await cancel(world, "mine") == [1]
    assert await asyncio.wait_for(client.reader.read(), 10) == b""
    await until(lambda: bool(world.usage))
    assert outcome(world).outcome == "cancelled_by_operator"


async def test_a_whole_answer_becomes_a_refusal_that_no_client_repeats(world: World, run: Run, engine: Engine) -> None:
    engine.behaviour = Held()
    world.serve("m", engine)
    gateway = await run()
    waiting = asyncio.create_task(gateway.chat("m"))
    (call,) = await seen(world, "asked")
    assert await cancel(world, call.request_id) == [1]
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "cancelled_by_operator")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"] == call.request_id
    await asyncio.wait_for(engine.seen[0].hung_up.wait(), 10)


async def test_no_other_deployment_is_asked_instead(
    world: World, run: Run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = Held()
    world.serve("m", engine)
    world.serve("n", other_engine)
    world.alias("both", m=1, n=0)
    gateway = await run()
    waiting = asyncio.create_task(gateway.chat("both"))
    (call,) = await seen(world, "asked")
    assert call.asked_name == "both"
    await cancel(world, call.request_id)
    assert (await waiting).json()["error"]["code"] == "cancelled_by_operator"
    assert other_engine.seen == []


async def test_one_that_waits_for_a_wake_goes_and_the_others_stay(world: World, run: Run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    first = asyncio.create_task(gateway.chat("m"))
    await seen(world, "waking")
    second = asyncio.create_task(gateway.chat("m"))
    newest, oldest = await seen(world, "waking", 2)
    assert newest.began_at >= oldest.began_at and oldest.replica is None
    assert await cancel(world, oldest.request_id) == [1]
    answer = await first
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "cancelled_by_operator")
    assert gateway.app.admission.waiting == 1
    world.change("m", engine)
    assert (await second).status_code == 200
    assert [record.usage.total for record in world.usage if record.outcome == "cancelled_by_operator"] in ([], [0])


async def test_one_that_stands_in_a_queue_leaves_its_place_to_the_next(world: World, run: Run, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine, max_concurrency=1)
    gateway = await run()
    first = asyncio.create_task(gateway.chat("m"))
    await seen(world, "asked")
    second = asyncio.create_task(gateway.chat("m"))
    (queued,) = await seen(world, "queued")
    third = asyncio.create_task(gateway.chat("m"))
    await seen(world, "queued", 2)
    assert await cancel(world, queued.request_id) == [1]
    assert (await second).json()["error"]["code"] == "cancelled_by_operator"
    held.open()
    assert (await first).status_code == 200
    await until(lambda: len(held) == 1)
    held.open()
    assert (await third).status_code == 200


async def test_an_id_that_nobody_has_ends_nothing(world: World, run: Run, engine: Engine) -> None:
    engine.behaviour = held = Held()
    world.serve("m", engine)
    gateway = await run()
    waiting = asyncio.create_task(gateway.chat("m"))
    await seen(world, "asked")
    assert await cancel(world, "another") == [0]
    held.open()
    assert (await waiting).status_code == 200


async def test_the_process_that_has_the_call_ends_it_and_takes_its_calls_along(
    world: World, run: Run, engine: Engine
) -> None:
    engine.behaviour = slow
    world.serve("m", engine)
    one, other = await run(), await run()
    clients: list[Socket] = [await one.open(STREAM, x_request_id="a"), await other.open(STREAM, x_request_id="b")]
    for client in clients:
        await client.until(EVENT + b"\r\n")
    assert {call.request_id for call in await seen(world, "streaming", 2)} == {"a", "b"}
    assert sorted(await cancel(world, "b")) == [0, 1]
    assert b"cancelled_by_operator" in await clients[1].until(b"\r\n0\r\n\r\n")
    assert [call.request_id for call in await seen(world, "streaming")] == ["a"]
    assert sorted(await cancel(world, "b")) == [0, 0]


async def test_one_deployments_calls_are_listed_and_the_rest_is_counted(
    world: World, run: Run, engine: Engine, other_engine: Engine
) -> None:
    world.keys = [known(KEY, 1), known(READ_KEY, 2)]
    engine.behaviour = other_engine.behaviour = Held()
    world.serve("m", engine)
    world.serve("n", other_engine)
    gateway = await run()
    waiting = [asyncio.create_task(gateway.chat(model)) for model in ("m", "m", "m", "n")]
    await seen(world, "asked", 4)
    (answer,) = await world.ask(deployment=1, limit=2)
    assert answer.states == {"asked": 3} and len(answer.calls) == 2
    assert {call.deployment for call in answer.calls} == {1}
    for call in calls(await world.ask()):
        await cancel(world, call.request_id)
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {503}


async def test_one_keys_and_one_teams_calls_are_listed(world: World, run: Run, engine: Engine) -> None:
    engine.behaviour = held = Held()
    world.serve("m", engine)
    world.keys = [known(KEY, 1), known(READ_KEY, 2, team=KnownTeam(9, "blue", 1, 0, UNLIMITED))]
    gateway = await run()
    clients = [await gateway.open(b'{"model":"m"}', key=key) for key in (KEY, READ_KEY)]
    await seen(world, "asked", 2)
    assert [call.key for call in calls(await world.ask(key=1))] == [1]
    assert [(call.key, call.team) for call in calls(await world.ask(team=9))] == [(2, 9)]
    assert calls(await world.ask(team=9, key=1)) == []
    held.open()
    for client in clients:
        await client.head()


async def test_asking_goes_on_after_redis_was_away(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.in_flight.board.AGAIN_SECONDS", 0.01)
    gateway = await run()
    await until(lambda: len(world.listening) == 1)
    world.redis_fault = OSError("away")
    world.listening[0].put_nowait(b'{"reply_to":"x"}')
    await until(lambda: gateway.app.board.outage.lasting)
    world.redis_fault = None
    await until(lambda: len(world.listening) == 2)
    del world.listening[0]
    assert len(await world.ask()) == 1
