"""A client may leave at any moment: the engine stops at once and the lease comes back."""

import asyncio

from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange

BODY = b'{"model":"m","stream":true}'


async def test_leaving_while_waiting_for_a_wake_leaves_nothing_behind(world: World, run) -> None:
    world.serve("m")
    gateway = await run()
    client = await gateway.open(BODY)
    await until(lambda: gateway.app.admission.waiting == 1)
    assert gateway.app.admission.waiting_bytes == len(BODY)
    await client.leave()
    await until(lambda: gateway.app.admission.waiting == 0)
    assert (gateway.app.admission.waiting_bytes, gateway.leases()) == (0, 0)


async def test_leaving_before_the_answer_begins_stops_the_engine(world: World, run, engine: Engine) -> None:
    async def think(exchange: Exchange) -> None:
        await exchange.until_hung_up()

    engine.behaviour = think
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(BODY)
    await engine.arrived.wait()
    assert gateway.leases() == 1
    await client.leave()
    await until(engine.seen[0].hung_up.is_set)
    await until(lambda: gateway.leases() == 0)


async def test_leaving_as_the_head_goes_out_stops_the_engine(world: World, run, engine: Engine) -> None:
    gone = asyncio.Event()

    async def head_only(exchange: Exchange) -> None:
        await gone.wait()
        await exchange.begin_stream()
        await exchange.until_hung_up()

    engine.behaviour = head_only
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(BODY)
    await engine.arrived.wait()
    client.writer.close()
    gone.set()
    await until(engine.seen[0].hung_up.is_set)
    await until(lambda: gateway.leases() == 0)


async def test_leaving_in_mid_stream_stops_the_engine(world: World, run, engine: Engine) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"n":1}\n\n')
        await exchange.until_hung_up()

    engine.behaviour = talk
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(BODY)
    await client.until(b"\n\n")
    await client.leave()
    await until(engine.seen[0].hung_up.is_set)
    await until(lambda: gateway.leases() == 0)
    await until(lambda: bool(world.usage))
    assert (world.usage[0].outcome, world.usage[0].status) == ("cancelled", 200)


async def test_leaving_while_the_gateway_is_blocked_on_a_slow_reader_stops_the_engine(
    world: World, run, engine: Engine
) -> None:
    async def flood(exchange: Exchange) -> None:
        try:
            await exchange.begin_stream()
            while True:
                await exchange.chunk(b"x" * 65536)
        except ConnectionError:
            exchange.seen.hung_up.set()

    engine.behaviour = flood
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(BODY)
    await client.head()
    client.writer.transport.abort()
    await until(engine.seen[0].hung_up.is_set)
    await until(lambda: gateway.leases() == 0)


async def test_leaving_in_the_middle_of_the_body_reaches_no_engine(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(b'{"model"', expect_more="1")
    client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\n")
    await client.leave()
    assert (await gateway.chat("m")).status_code == 200
    assert len(engine.seen) == 1
