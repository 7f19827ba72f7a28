"""A client that closes its sending side after its request still wants the answer; one that has left does not."""

import asyncio
import json

import pytest

from tests.gateway.behaviours import Held, events
from tests.gateway.conftest import Running, Socket, World, until
from tests.gateway.engines import Engine, Exchange

WHOLE, STREAM = b'{"model":"m"}', b'{"model":"m","stream":true}'


async def half_closed(gateway: Running, body: bytes) -> Socket:
    client = await gateway.open(body)
    client.writer.write_eof()
    return client


@pytest.mark.parametrize("seconds", [0.0, 0.3])
async def test_its_answer_comes_whole(world: World, run, engine: Engine, seconds: float) -> None:
    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.answer(b'{"id":"x"}')

    engine.behaviour = slowly
    world.serve("m", engine)
    client = await half_closed(await run(), WHOLE)
    head, _, body = (await asyncio.wait_for(client.reader.read(), 10)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"id": "x"}


async def test_its_stream_comes_to_its_end(world: World, run, engine: Engine) -> None:
    engine.behaviour = events("a", "b")
    world.serve("m", engine)
    client = await half_closed(await run(), STREAM)
    received = await asyncio.wait_for(client.reader.read(), 10)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"[DONE]" in received
    assert received.endswith(b"0\r\n\r\n")


async def test_its_stream_goes_on_where_it_closes_in_the_middle(world: World, run, engine: Engine) -> None:
    goes_on = asyncio.Event()

    async def pause(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"n":1}\n\n')
        await goes_on.wait()
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    engine.behaviour = pause
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(STREAM)
    await client.until(b'{"n":1}')
    client.writer.write_eof()
    await client.until(b"\r\n:\n\n\r\n")
    goes_on.set()
    assert (await asyncio.wait_for(client.reader.read(), 10)).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")


async def test_it_waits_for_a_model_to_wake(world: World, run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    client = await half_closed(gateway, WHOLE)
    await until(lambda: gateway.app.admission.waiting == 1)
    await asyncio.sleep(0.2)
    world.change("m", engine)
    assert b" 200 " in (await asyncio.wait_for(client.reader.read(), 10))[:20]


async def test_both_of_two_requests_are_answered(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(WHOLE)
    client.writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    client.writer.write_eof()
    received = await asyncio.wait_for(client.reader.read(), 10)
    assert received.count(b"HTTP/1.1 200 ") == 2


async def test_its_refusal_is_told(world: World, run) -> None:
    client = await half_closed(await run(), WHOLE)
    assert b"model_not_found" in await asyncio.wait_for(client.reader.read(), 10)


async def test_one_that_leaves_after_half_closing_is_noticed(world: World, run, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine)
    gateway = await run()
    client = await half_closed(gateway, WHOLE)
    await until(lambda: len(held) == 1)
    await client.leave()
    await until(lambda: gateway.leases() == 0)
    await until(lambda: len(held) == 0)


async def test_half_a_request_is_no_request(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    client = Socket(*await asyncio.open_connection("127.0.0.1", gateway.port))
    client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    client.writer.write_eof()
    assert await asyncio.wait_for(client.reader.read(), 10) == b""
    await client.leave()
    assert not engine.seen
