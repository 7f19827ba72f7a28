"""Pages of origins that an operator names may call from a browser; others may not."""

import httpx2
import pytest

from tests.gateway.conftest import World
from tests.gateway.engines import Engine

PAGE = "http://chat.example"
PATH = "/v1/chat/completions"


async def preflight(client: httpx2.AsyncClient, origin: str = PAGE) -> httpx2.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "authorization": "",
    }
    return await client.options(PATH, headers=headers)


@pytest.mark.parametrize(("allowed", "named"), [(PAGE, PAGE), ("*", "*")])
async def test_a_page_may_ask_and_read_answers(world: World, run, engine: Engine, allowed: str, named: str) -> None:
    world.origins = frozenset({allowed.encode()})
    world.serve("m", engine)
    client = (await run()).client
    asked = await preflight(client)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, named)
    assert "x-stainless-os" in asked.headers["access-control-allow-headers"]
    assert "POST" in asked.headers["access-control-allow-methods"]
    answer = await client.post(PATH, json={"model": "m"}, headers={"origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, named)
    assert answer.headers["access-control-expose-headers"] == "*"
    listed = await client.get("/v1/models", headers={"origin": PAGE})
    assert listed.headers["access-control-allow-origin"] == named


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        (PATH, b'{"model":"none"}', None, 404),
        (PATH, b"{", None, 400),
        (PATH, b'{"model":"m"}', "Bearer wrong", 401),
        ("/v1/nothing", b"{}", None, 404),
    ],
)
async def test_errors_may_be_read_too(
    world: World, run, engine: Engine, path: str, body: bytes, key: str | None, status: int
) -> None:
    world.origins = frozenset({PAGE.encode()})
    world.serve("m", engine)
    headers = {"origin": PAGE} | ({"authorization": key} if key else {})
    answer = await (await run()).client.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)


async def test_a_page_of_another_origin_may_not(world: World, run, engine: Engine) -> None:
    world.origins = frozenset({PAGE.encode()})
    world.serve("m", engine)
    client = (await run()).client
    asked = await preflight(client, "http://evil.example")
    assert asked.status_code == 405
    answer = await client.post(PATH, json={"model": "m"}, headers={"origin": "http://evil.example"})
    assert answer.headers["vary"] == "origin"
    assert not [name for name in (*asked.headers, *answer.headers) if name.startswith("access-control")]


async def test_nobody_may_unless_an_operator_says_so(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    client = (await run()).client
    assert (await preflight(client)).status_code == 405
    answer = await client.post(PATH, json={"model": "m"}, headers={"origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


async def test_limits_are_told_beside_it(world: World, run, engine: Engine) -> None:
    world.origins = frozenset({PAGE.encode()})
    world.serve("m", engine)
    key = world.keys[0]
    world.keys[0] = key._replace(quota=key.quota._replace(requests_per_minute=10))
    answer = await (await run()).client.post(PATH, json={"model": "m"}, headers={"origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["x-ratelimit-limit-requests"] == "10"
