"""Errors come in the caller's own envelope, and an engine's own words are left alone."""

from dataclasses import replace

import pytest

from tests.gateway.conftest import World
from tests.gateway.engines import Engine, Exchange


async def test_an_unknown_model_is_not_found(world: World, run) -> None:
    answer = await (await run()).chat("nobody")
    assert answer.status_code == 404
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "not_found_error")
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"{", None), (b"", None), (b"[]", None), (b"{}", "model"), (b'{"model":1}', "model"), (b'{"model":""}', "model")],
)
async def test_a_body_without_a_model_is_a_bad_request(world: World, run, body: bytes, param: str | None) -> None:
    answer = await (await run()).client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_body", param)


async def test_anthropics_paths_have_anthropics_envelope(world: World, run) -> None:
    answer = await (await run()).client.post("/v1/messages", json={"model": "nobody"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "not_found_error"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("status", [400, 404, 422, 500])
async def test_an_engines_own_refusal_passes_untouched(world: World, run, engine: Engine, status: int) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b'{"object":"error", "message":"mine"}', status, x_reason="r")

    engine.behaviour = refuse
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.content) == (status, b'{"object":"error", "message":"mine"}')
    assert answer.headers["x-reason"] == "r"
    assert len(engine.seen) == 1


async def test_a_wrong_method_is_told_which_is_right(world: World, run) -> None:
    answer = await (await run()).client.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(world: World, run, engine: Engine, *, chunked: bool) -> None:
    async def pieces():
        for _ in range(4):
            yield b"x" * 1000

    world.limits = replace(world.limits, body_bytes=2000)
    world.serve("m", engine)
    gateway = await run()
    answer = await gateway.client.post("/v1/completions", content=pieces() if chunked else b"x" * 4000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert not engine.seen


async def test_a_form_without_a_model_is_a_bad_request(world: World, run) -> None:
    gateway = await run()
    answer = await gateway.client.post("/v1/audio/transcriptions", files={"file": ("a.wav", b"x", "audio/wav")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    answer = await gateway.client.post("/v1/audio/transcriptions", json={"model": "m"})
    assert answer.status_code == 400
