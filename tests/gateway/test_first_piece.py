"""Between an engine's having a request and its first word: a long prompt, or a long line inside the engine."""

import asyncio

import pytest

from gateway.admission import holds
from tests.gateway.conftest import World
from tests.gateway.engines import Engine, Exchange

STREAM = b'{"model":"m","stream":true}'
WAITING = b": waiting for the model, it has the request\n\n"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)


class Thinker:
    """An engine that says nothing until it may: before the head of its answer, or after it."""

    def __init__(self, *, head_first: bool) -> None:
        self.head_first = head_first
        self.may_speak = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if self.head_first:
            await exchange.begin_stream()
        await self.may_speak.wait()
        if not self.head_first:
            await exchange.begin_stream()
        await exchange.chunk(EVENT)
        await self.may_go_on.wait()
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")


@pytest.mark.parametrize("head_first", [True, False])
async def test_a_stream_is_kept_alive_until_its_first_piece_and_no_longer(
    world: World, run, engine: Engine, *, head_first: bool
) -> None:
    thinker = engine.behaviour = Thinker(head_first=head_first)
    world.serve("m", engine)
    client = await (await run()).open(STREAM)
    assert b"200 OK" in await client.head()
    for _ in range(2):
        await client.until(WAITING)
    thinker.may_speak.set()
    await client.until(EVENT)
    await asyncio.sleep(0.2)
    thinker.may_go_on.set()
    assert b"waiting" not in await client.until(b"0\r\n\r\n")


async def test_a_refusal_after_that_is_an_event(world: World, run, engine: Engine) -> None:
    refuse = asyncio.Event()

    async def think(exchange: Exchange) -> None:
        await refuse.wait()
        await exchange.answer(b'{"error":{"message":"too long"}}', 400)

    engine.behaviour = think
    world.serve("m", engine)
    client = await (await run()).open(STREAM)
    await client.until(WAITING)
    refuse.set()
    assert b'data: {"error":{"message":"too long"}}\n\n' in await client.until(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_who_cannot_be_told_is_not(world: World, run, engine: Engine, path: str) -> None:
    """An answer that is no stream of events begins when the engine begins it, whatever the body asks for."""
    answered = asyncio.Event()

    async def think(exchange: Exchange) -> None:
        await answered.wait()
        await exchange.answer(b'{"data":[]}')

    engine.behaviour = think
    world.serve("m", engine)
    body = STREAM if path.endswith("embeddings") else b'{"model":"m"}'
    client = await (await run()).open(body, path=path)
    await engine.arrived.wait()
    await asyncio.sleep(0.2)
    answered.set()
    head = await client.head()
    assert b"content-type: application/json" in head
    assert b"waiting" not in await client.until(b'{"data":[]}')


async def test_another_deployment_may_answer_a_stream_that_has_heard_only_of_its_wait(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    fail = asyncio.Event()

    async def think(exchange: Exchange) -> None:
        await fail.wait()
        await exchange.answer(b"{}", 500)

    engine.behaviour, other = think, Thinker(head_first=True)
    other_engine.behaviour = other
    other.may_speak.set()
    other.may_go_on.set()
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    client = await (await run()).open(STREAM)
    await client.until(WAITING)
    fail.set()
    assert EVENT in await client.until(b"0\r\n\r\n")


async def test_no_other_deployment_goes_on_with_a_stream_that_broke(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(EVENT)
        exchange.writer.close()

    engine.behaviour = break_off
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    client = await (await run()).open(STREAM)
    told = await client.until(b"0\r\n\r\n")
    assert told.count(EVENT) == 1
    assert b"engine_unreachable" in told
    assert not other_engine.seen
