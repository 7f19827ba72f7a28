"""A thousand clients leave, at every moment there is: each lease comes back, each engine is told, nothing grows."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from gateway.metering.meter import Record
from gateway.wire.usage import Usage
from tests.gateway.conftest import KEY, Running, Socket, World, until
from tests.gateway.engines import Engine, Exchange

BODY = b'{"model":"m","stream":true}'
BATCH = 50
BATCHES = 7  # of three moments: 1,050 departures
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


async def depart(client: Socket, number: int) -> None:
    """Every other one resets the connection, the rest close it."""
    if number % 2:
        client.writer.transport.abort()
    else:
        client.writer.close()


def kept() -> Counter[str]:
    """How many objects of each class of the gateway there are, but for what it has written down."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(
        kind.__name__ for kind in kinds if str(kind.__module__).startswith("gateway.") and kind not in (Record, Usage)
    )


async def leave_in_batches(gateway: Running, ready: Callable[[list[Socket]], Awaitable[None]]) -> None:
    """Open BATCH streams, wait until they are where they should be, and leave all of them; BATCHES times."""
    tasks, objects = len(asyncio.all_tasks()), kept()
    for _ in range(BATCHES):
        clients = list(await asyncio.gather(*(gateway.open(BODY) for _ in range(BATCH))))
        await ready(clients)
        await asyncio.gather(*(depart(client, number) for number, client in enumerate(clients)))
        await until(lambda: gateway.leases() == 0 and gateway.app.admission.waiting == 0)
        await until(lambda: not gateway.app.clients and not gateway._server.server_state.tasks)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 3)  # a loop of the gateway may just be in a second one
        assert gateway.app.admission.waiting_bytes == gateway.app.bounds.held_bytes == 0
        gateway._sockets.clear()
    await asyncio.sleep(0.1)  # the loop itself holds a task that has ended until it has called its callbacks
    assert {name: count for name, count in (kept() - objects).items() if count > BATCHES} == {}


async def still_serves(gateway: Running, engine: Engine) -> None:
    """A call after all of that is answered as if nothing had happened."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(b'{"id":"chatcmpl-1","choices":[]}')

    engine.behaviour = answer
    assert (await gateway.chat("m")).status_code == 200


async def test_while_it_waits_for_a_model(world: World, run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()

    async def waiting(clients: list[Socket]) -> None:
        await until(lambda: gateway.app.admission.waiting == len(clients))

    await leave_in_batches(gateway, waiting)
    assert not engine.seen
    world.change("m", engine)
    await still_serves(gateway, engine)


async def test_while_it_waits_for_a_place(world: World, run, engine: Engine) -> None:
    """One place, taken by somebody who stays."""
    free = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        await free.wait()
        await exchange.answer(b'{"id":"chatcmpl-1","choices":[]}')

    engine.behaviour = hold
    world.serve("m", engine, max_concurrency=1)
    gateway = await run()
    staying = asyncio.create_task(gateway.chat("m"))
    await engine.arrived.wait()
    for _ in range(BATCHES):
        clients = await asyncio.gather(*(gateway.open(BODY) for _ in range(BATCH)))
        await until(lambda: gateway.app.admission.waiting == BATCH)
        await asyncio.gather(*(depart(client, number) for number, client in enumerate(clients)))
        await until(lambda: gateway.app.admission.waiting == 0 and gateway.leases() == 1)
        gateway._sockets.clear()
    free.set()
    assert (await staying).status_code == 200
    assert len(engine.seen) == 1
    await still_serves(gateway, engine)


async def test_as_the_head_goes_out(world: World, run, engine: Engine) -> None:
    """Engines answer at the very moment the clients leave."""
    leave = asyncio.Event()

    async def head_only(exchange: Exchange) -> None:
        await leave.wait()
        await exchange.begin_stream()
        await exchange.until_hung_up()

    engine.behaviour = head_only
    world.serve("m", engine)
    gateway = await run()

    async def asked(clients: list[Socket]) -> None:
        leave.clear()
        await until(lambda: gateway.leases() == len(clients))
        await until(lambda: len([seen for seen in engine.seen if not seen.hung_up.is_set()]) == len(clients))
        assert len(engine.seen) % len(clients) == 0, "each client's call came to the engine once"
        leave.set()

    await leave_in_batches(gateway, asked)
    await told_every_time(engine)
    await still_serves(gateway, engine)


async def test_in_mid_stream(world: World, run, engine: Engine) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(EVENT)
        await exchange.until_hung_up()

    engine.behaviour = talk
    world.serve("m", engine)
    gateway = await run()

    async def reading(clients: list[Socket]) -> None:
        await asyncio.gather(*(client.until(b"\n\n") for client in clients))

    await leave_in_batches(gateway, reading)
    await told_every_time(engine)
    await until(lambda: len(world.usage) == BATCH * BATCHES)
    assert {record.outcome for record in world.usage} == {"cancelled"}
    await still_serves(gateway, engine)


async def test_while_a_flood_of_words_is_on_its_way(world: World, run, engine: Engine) -> None:
    async def flood(exchange: Exchange) -> None:
        try:
            await exchange.begin_stream()
            while True:
                await exchange.chunk(EVENT * 100)
                await asyncio.sleep(0)
        except ConnectionError:
            exchange.seen.hung_up.set()

    engine.behaviour = flood
    world.serve("m", engine)
    gateway = await run()

    async def reading(clients: list[Socket]) -> None:
        await asyncio.gather(*(client.until(b"\n\n") for client in clients))

    await leave_in_batches(gateway, reading)
    await told_every_time(engine)
    await still_serves(gateway, engine)


async def told_every_time(engine: Engine) -> None:
    """The engine saw each of its callers hang up."""
    assert len(engine.seen) == BATCH * BATCHES
    await until(lambda: all(seen.hung_up.is_set() for seen in engine.seen))


HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
    + f"content-length: {len(BODY)}\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
)


@pytest.mark.parametrize(
    ("sent", "calls"),
    [
        (b"", 0),
        (HEAD[:20], 0),
        (HEAD[:90], 0),
        (HEAD, 0),
        (HEAD + BODY[:-1], 0),
        pytest.param(HEAD + BODY, BATCH, id="all of it, which is a call"),
    ],
)
async def test_in_the_middle_of_its_request(world: World, run, engine: Engine, sent: bytes, calls: int) -> None:
    async def hold(exchange: Exchange) -> None:
        await exchange.until_hung_up()

    engine.behaviour = hold
    world.serve("m", engine)
    gateway = await run()
    for number in range(BATCH):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(sent)
        await writer.drain()
        await until(lambda met=number + 1 if calls else 0: len(engine.seen) == met)
        await depart(Socket(reader, writer), number)
    await until(lambda: not gateway.app.clients and gateway.leases() == 0)
    assert gateway.app.bounds.held_bytes == 0
    assert len(engine.seen) == calls
