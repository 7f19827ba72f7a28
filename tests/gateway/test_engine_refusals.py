"""Engines' refusals that mean more than their status: a prompt that is too long, an endpoint that is not there."""

import pytest

from tests.gateway.behaviours import named, status
from tests.gateway.conftest import World
from tests.gateway.engines import Engine

TOO_LONG = (
    b'{"error":{"message":"This model\'s maximum context length is 8192 tokens. However, you requested 12000 tokens",'
    b'"type":"BadRequestError","param":"input_tokens","code":400}}'
)


async def chain(world: World, run, engine: Engine, other_engine: Engine, first: int | None, second: int | None):
    engine.behaviour, other_engine.behaviour = status(400, TOO_LONG), named("longer")
    world.serve("short", engine, max_model_len=first)
    world.serve("long", other_engine, max_model_len=second)
    world.alias("m", short=1, long=0)
    return await run()


@pytest.mark.parametrize(("first", "second"), [(8192, 131072), (None, None), (8192, None), (None, 8192)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_too_long_for_the_first_goes_to_one_with_a_longer_context(
    world: World, run, engine: Engine, other_engine: Engine, first: int | None, second: int | None, stream: bool
) -> None:
    gateway = await chain(world, run, engine, other_engine, first, second)
    answer = await gateway.chat("m", stream=stream)
    assert (answer.status_code, answer.json()["id"]) == (200, "longer")
    await gateway.app._flush()
    assert [(record.served_name, record.outcome) for record in world.usage] == [("long", "ok")]


async def test_one_with_no_longer_context_is_not_asked(world: World, run, engine: Engine, other_engine: Engine) -> None:
    gateway = await chain(world, run, engine, other_engine, 8192, 8192)
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.content) == (400, TOO_LONG)
    assert not other_engine.seen
    await gateway.app._flush()
    assert [(record.outcome, record.usage) for record in world.usage] == [("engine_refused", (0, 0, 0))]


async def test_where_the_longer_one_cannot_answer_the_first_ones_words_are_told(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    gateway = await chain(world, run, engine, other_engine, 8192, 131072)
    world.change("long", state="stopped")
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.content) == (400, TOO_LONG)


async def test_without_a_fallback_the_engines_words_are_told(world: World, run, engine: Engine) -> None:
    engine.behaviour = status(400, TOO_LONG)
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.content) == (400, TOO_LONG)


async def test_other_mistakes_of_the_caller_are_told_and_nobody_else_is_asked(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    gateway = await chain(world, run, engine, other_engine, 8192, 131072)
    engine.behaviour = status(400, b'{"error":{"message":"temperature must be positive"}}')
    assert (await gateway.chat("m")).status_code == 400
    assert not other_engine.seen


@pytest.mark.parametrize(("code", "words"), [(404, b"Not Found"), (405, b"Method Not Allowed")])
async def test_an_endpoint_that_a_model_does_not_have_is_told_in_a_sentence(
    world: World, run, engine: Engine, code: int, words: bytes
) -> None:
    engine.behaviour = status(code, b'{"detail":"%b"}' % words)
    world.serve("m", engine, capabilities=("chat", "completions"))
    answer = await (await run()).client.post("/v1/embeddings", json={"model": "m", "input": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "endpoint_not_supported", "model")
    assert error["message"] == "the model `m` does not offer /v1/embeddings; it is there for chat, completions"


async def test_an_engines_other_404_is_its_own(world: World, run, engine: Engine) -> None:
    body = b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}'
    engine.behaviour = status(404, body)
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.content) == (404, body)


# --- paths that clients send ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("asked", "engines"),
    [
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/rerank", "/v1/rerank"),
        ("/v2/rerank", "/v1/rerank"),
        ("/score", "/v1/score"),
        ("/tokenize", "/tokenize"),
        ("/detokenize", "/detokenize"),
        ("/pooling", "/pooling"),
        ("/classify/", "/classify"),
    ],
)
async def test_a_path_is_served_as_vllm_serves_it(world: World, run, engine: Engine, asked: str, engines: str) -> None:
    world.serve("m", engine)
    answer = await (await run()).client.post(asked, json={"model": "m"})
    assert (answer.status_code, engine.seen[0].path) == (200, engines)


async def test_a_slash_at_the_end_changes_nothing_of_the_other_paths(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    client = (await run()).client
    for path in ("/v1/models/", "/v1/models/m/", "/health/", "/metrics/"):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.get("/")).status_code == 404
