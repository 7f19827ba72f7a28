"""Streams pass chunk by chunk, at the pace of the slower side."""

import asyncio

from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange

STREAM = b'{"model":"m","stream":true}'


async def test_a_chunk_is_with_the_client_before_the_engine_makes_the_next(world: World, run, engine: Engine) -> None:
    go_on = asyncio.Event()

    async def step_by_step(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for number in range(3):
            await exchange.chunk(b'data: {"n":%d}\n\n' % number)
            await go_on.wait()
            go_on.clear()
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    engine.behaviour = step_by_step
    world.serve("m", engine)
    client = await (await run()).open(STREAM)
    head = await client.head()
    assert b"content-type: text/event-stream" in head
    for number in range(3):
        await client.until(b'data: {"n":%d}\n\n' % number)
        go_on.set()
    await client.until(b"data: [DONE]\n\n")
    await client.until(b"0\r\n\r\n")
    await client.leave()


async def test_a_slow_client_slows_the_engine_and_fills_no_memory(world: World, run, engine: Engine) -> None:
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.begin_stream()
        for _ in range(4000):
            await exchange.chunk(b"x" * 65536)
            sent += 65536
        await exchange.chunk(b"")

    engine.behaviour = flood
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(STREAM)
    await client.head()
    last = -1
    while sent != last:  # until kernel buffers and ours are full and nothing moves any more
        last = sent
        await asyncio.sleep(0.3)
    assert 0 < sent < 64 << 20
    received = 0
    while received < 4000 * 65536:
        received += len(await client.reader.read(1 << 20))
    await client.leave()


async def test_a_stream_cut_by_the_engine_ends_in_an_error_event(world: World, run, engine: Engine) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"n":1}\n\n')
        exchange.writer.close()

    engine.behaviour = die
    world.serve("m", engine)
    client = await (await run()).open(STREAM)
    body = await client.until(b"0\r\n\r\n")
    assert b"engine_unreachable" in body
    assert len(engine.seen) == 1


async def test_a_stream_cut_within_an_event_is_seen_as_cut(world: World, run, engine: Engine) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"n"')
        exchange.writer.close()

    engine.behaviour = die
    world.serve("m", engine)
    client = await (await run()).open(STREAM)
    await client.head()
    rest = await asyncio.wait_for(client.reader.read(), 10)
    assert b"error" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


async def test_an_answer_cut_by_the_engine_is_seen_as_cut(world: World, run, engine: Engine) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{half")
        await exchange.writer.drain()
        exchange.writer.close()

    engine.behaviour = die
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(b'{"model":"m"}')
    assert b"content-length: 100" in await client.head()
    assert await asyncio.wait_for(client.reader.read(), 10) == b"{half"
    assert gateway.leases() == 0


async def test_an_answer_without_length_ends_with_the_connection(world: World, run, engine: Engine) -> None:
    async def plain(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nall of it")
        await exchange.writer.drain()
        exchange.writer.close()

    engine.behaviour = plain
    world.serve("m", engine)
    assert (await (await run()).chat("m")).text == "all of it"


async def test_a_silent_engine_is_given_up_after_the_idle_time(world: World, run, engine: Engine) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.until_hung_up()

    engine.behaviour = silent
    world.idle_seconds = 1
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "engine_timeout")
    await until(engine.seen[0].hung_up.is_set)
    assert len(engine.seen) == 1
