"""The official client understands us: answers, streams, refusals before a stream and errors within one."""

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from gateway.admission import holds
from tests.gateway.conftest import KEY, World, until
from tests.gateway.engines import Engine, Exchange

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"word "}}]}\n\n'
)


async def talk(exchange: Exchange) -> None:
    await exchange.begin_stream()
    for data in (CHUNK, CHUNK, b"data: [DONE]\n\n", b""):
        await exchange.chunk(data)


@pytest_asyncio.fixture
async def client(world: World, run, engine: Engine) -> AsyncIterator[openai.AsyncOpenAI]:
    engine.behaviour = talk
    gateway = await run()
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY) as client:
        client.gateway = gateway  # type: ignore[attr-defined]
        yield client


async def serve(world: World, client: openai.AsyncOpenAI, *engines: Engine, **facts) -> None:
    world.serve("m", *engines, **facts)
    world.changed.set()
    await until(lambda: "m" in client.gateway.app.router.table.splits)


async def test_a_stream_is_read(world: World, client, engine: Engine) -> None:
    await serve(world, client, engine)
    words = [chunk.choices[0].delta.content async for chunk in await client.chat.completions.create(**ASK, stream=True)]
    assert words == ["word ", "word "]
    assert [model.id for model in (await client.models.list()).data] == ["m"]


async def test_heartbeats_are_not_content(
    world: World, client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.02)
    await serve(world, client)
    stream = await client.chat.completions.create(**ASK, stream=True)  # returns: 200 was said while waiting
    world.change("m", engine)
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["word ", "word "]


async def test_a_late_failure_raises(world: World, client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.02)
    await serve(world, client)
    stream = await client.chat.completions.create(**ASK, stream=True)
    world.change("m", state="failed", message="out of memory")
    with pytest.raises(openai.APIError, match="out of memory"):
        [chunk async for chunk in stream]


async def test_a_permanent_refusal_is_not_tried_again(world: World, client, engine: Engine) -> None:
    await serve(world, client, state="stopped")
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(**ASK)
    assert caught.value.code == "model_stopped"
    assert sum(client.gateway.app.meter.tallies["m"].calls.values()) == 1


async def test_refusals_are_the_clients_own_errors(world: World, client, engine: Engine) -> None:
    await serve(world, client, engine)
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(**{**ASK, "model": "nobody"})
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-srdz-wrong").models.list()
