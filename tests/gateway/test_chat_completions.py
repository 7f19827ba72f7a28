"""A request reaches the engine byte for byte, and the answer the client."""

import json

import pytest

from tests.gateway.conftest import KEY, World
from tests.gateway.engines import Engine, Exchange

ODD_BODY = (
    b'{ "messages" : [{"role":"user","content":"h\\u00e9 \\n"}],\n  "model":"m" , "unknown":{"deep":[1e3]}, "n":1.0}'
)


async def test_a_body_reaches_the_engine_untouched(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    answer = await gateway.client.post("/v1/chat/completions", content=ODD_BODY)
    assert answer.status_code == 200
    assert engine.seen[0].body == ODD_BODY
    assert engine.seen[0].path == "/v1/chat/completions"


async def test_an_answer_reaches_the_client_untouched(world: World, run, engine: Engine) -> None:
    body = b'{"id": "x",\n "odd" : [1.0, null]}  '

    async def odd(exchange: Exchange) -> None:
        await exchange.answer(body, 201, x_engine="yes", set_cookie="a=1")

    engine.behaviour = odd
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.content, answer.headers["x-engine"]) == (201, body, "yes")
    assert answer.headers["x-sardeenz-state"] == "ready"


async def test_the_callers_key_and_cookies_stay_here(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    headers = {"x-api-key": KEY, "cookie": "session=1", "x-forwarded-for": "1.2.3.4", "traceparent": "00-1-2-01"}
    await gateway.client.post("/v1/chat/completions", json={"model": "m"}, headers=headers)
    seen = engine.seen[0].headers
    assert seen["authorization"] == "Bearer engine-key-10"
    assert KEY not in str(seen)
    assert seen["traceparent"] == "00-1-2-01"
    assert not {"cookie", "x-api-key", "x-forwarded-for", "user-agent"} & seen.keys()


async def test_a_request_id_is_taken_or_made_and_given_back(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    given = await gateway.client.post("/v1/completions", json={"model": "m"}, headers={"x-request-id": "abc-1"})
    made = await gateway.client.post("/v1/completions", json={"model": "m"}, headers={"x-request-id": "a b"})
    assert given.headers["x-request-id"] == engine.seen[0].headers["x-request-id"] == "abc-1"
    assert made.headers["x-request-id"] == engine.seen[1].headers["x-request-id"] != "a b"


@pytest.mark.parametrize(
    ("path", "at_engine"),
    [
        ("/v1/completions", "/v1/completions"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/v1/responses", "/v1/responses"),
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/rerank", "/v1/rerank"),
        ("/v1/score", "/v1/score"),
        ("/v1/pooling", "/pooling"),
        ("/v1/classify", "/classify"),
        ("/v1/tokenize", "/tokenize"),
        ("/v1/detokenize", "/detokenize"),
    ],
)
async def test_each_path_reaches_the_engines_own(world: World, run, engine: Engine, path: str, at_engine: str) -> None:
    world.serve("m", engine)
    assert (await (await run()).client.post(path, json={"model": "m"})).status_code == 200
    assert engine.seen[0].path == at_engine


@pytest.mark.parametrize("path", ["/sleep", "/v1/load_lora_adapter", "/collective_rpc", "/invocations", "/v1/../sleep"])
async def test_an_engines_other_paths_cannot_be_reached(world: World, run, engine: Engine, path: str) -> None:
    world.serve("m", engine)
    answer = await (await run()).client.post(path, json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_path")
    assert not engine.seen


async def test_a_large_body_passes(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    body = json.dumps({"prompt": "x" * (3 << 20), "model": "m"}).encode()
    assert (await (await run()).client.post("/v1/completions", content=body)).status_code == 200
    assert engine.seen[0].body == body


async def test_audio_is_routed_by_its_form_field_and_not_rebuilt(world: World, run, engine: Engine) -> None:
    world.serve("whisper", engine)
    gateway = await run()
    sound = bytes(range(256)) * 8192
    await gateway.client.post(
        "/v1/audio/transcriptions", files={"file": ("a.wav", sound, "audio/wav")}, data={"model": "whisper"}
    )
    seen = engine.seen[0]
    assert seen.path == "/v1/audio/transcriptions"
    assert sound in seen.body
    assert "boundary=" in seen.headers["content-type"]


async def test_connections_to_the_engine_are_kept(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    for _ in range(5):
        await gateway.chat("m")
    assert (len(engine.seen), engine.connections) == (5, 1)


async def test_the_least_busy_replica_is_chosen(world: World, run, engine: Engine, other_engine: Engine) -> None:
    async def for_ever(exchange: Exchange) -> None:
        await exchange.until_hung_up()

    engine.behaviour = for_ever
    other_engine.behaviours = [for_ever]
    world.serve("m", engine, other_engine)
    gateway = await run()
    busy = [await gateway.open(b'{"model":"m"}') for _ in range(2)]
    await engine.arrived.wait()
    await other_engine.arrived.wait()
    other_engine.behaviours = []
    await busy[0].leave()
    await busy[1].leave()
    assert len(engine.seen) == len(other_engine.seen) == 1


@pytest.mark.parametrize("asked", ["m", "other"])
async def test_a_byte_order_mark_before_the_body_changes_nothing(world: World, run, engine: Engine, asked: str) -> None:
    world.serve("m", engine)
    world.alias("other", m=1)
    body = b'{"model":"%b","stream":true}' % asked.encode()
    answer = await (await run()).client.post("/v1/chat/completions", content=b"\xef\xbb\xbf" + body)
    assert answer.status_code == 200
    sent = json.loads(engine.seen[0].body)
    assert (sent["model"], sent["stream_options"]) == ("m", {"include_usage": True})
