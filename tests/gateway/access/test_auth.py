"""Keys are checked in memory; a database that is away never looks like a wrong key."""

import time

from django.db import OperationalError

from tests.gateway.conftest import KEY, READ_KEY, World, known, until
from tests.gateway.engines import Engine


async def ask(gateway, key: str | None):
    headers = {"authorization": f"Bearer {key}"} if key else {"authorization": ""}
    return await gateway.client.post("/v1/chat/completions", json={"model": "m"}, headers=headers)


async def test_a_missing_or_unknown_key_is_unauthorised(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    for key in (None, "sk-srdz-nonsense", KEY + "x"):
        answer = await ask(gateway, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.json()["error"]["type"] == "authentication_error"
    assert not engine.seen


async def test_a_key_without_the_inference_scope_is_forbidden(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    answer = await ask(await run(), READ_KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")


async def test_an_expired_key_is_unauthorised(world: World, run, engine: Engine) -> None:
    world.keys.append(known("sk-old", 3, expires_at=time.time() - 1))
    world.serve("m", engine)
    assert (await ask(await run(), "sk-old")).status_code == 401


async def test_an_anthropic_client_may_send_its_own_header(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    del gateway.client.headers["authorization"]
    answer = await gateway.client.post("/v1/messages", json={"model": "m"}, headers=headers)
    assert answer.status_code == 200
    assert engine.seen[0].headers["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in engine.seen[0].headers


async def test_a_new_key_works_at_once_and_a_revoked_one_ends(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    world.keys.append(known("sk-new", 3))
    await until(lambda: gateway.app.keys.loaded)
    deadline = time.monotonic() + 60
    while (await ask(gateway, "sk-new")).status_code != 200:
        assert time.monotonic() < deadline
    world.keys.pop()
    while (await ask(gateway, "sk-new")).status_code != 401:
        assert time.monotonic() < deadline


async def test_known_keys_keep_working_while_the_database_is_away(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    world.fault = OperationalError("connection refused")
    await until(lambda: gateway.app.keys.outage.lasting)
    assert (await ask(gateway, KEY)).status_code == 200
    unknown = await ask(gateway, "sk-unknown")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (503, "keys_unavailable")


async def test_before_the_keys_were_ever_read_nobody_is_called_a_stranger(world: World, run) -> None:
    world.fault = OperationalError("connection refused")
    answer = await ask(await run(), KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "keys_unavailable")
    assert "retry-after" in answer.headers
