"""A stored response is asked of the replica that made it."""

import json

from gateway.limits.limiter import KnownTeam, Quota
from tests.gateway.conftest import World, known
from tests.gateway.engines import Engine, Exchange


def keeper(number: int):
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(json.dumps({"id": f"resp_{number}", "object": "response"}).encode())

    return answer


async def test_a_response_is_fetched_cancelled_and_deleted_where_it_was_made(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour, other_engine.behaviour = keeper(1), keeper(2)
    world.serve("m", engine, other_engine)
    client = (await run()).client
    made = [(await client.post("/v1/responses", json={"model": "m"})).json()["id"] for _ in range(2)]
    assert sorted(made) == ["resp_1", "resp_2"]
    assert (await client.get("/v1/responses/resp_2?include=x")).json()["id"] == "resp_2"
    assert (await client.post("/v1/responses/resp_2/cancel")).json()["id"] == "resp_2"
    assert (await client.delete("/v1/responses/resp_1")).json()["id"] == "resp_1"
    assert [(seen.method, seen.path) for seen in other_engine.seen[1:]] == [
        ("GET", "/v1/responses/resp_2?include=x"),
        ("POST", "/v1/responses/resp_2/cancel"),
    ]


async def test_a_query_does_not_make_it_forgotten(world: World, run, engine: Engine) -> None:
    engine.behaviour = keeper(1)
    world.serve("m", engine)
    client = (await run()).client
    assert (await client.post("/v1/responses?x=1", json={"model": "m"})).status_code == 200
    assert (await client.get("/v1/responses/resp_1")).status_code == 200


async def test_a_conversation_goes_on_where_it_began(world: World, run, engine: Engine, other_engine: Engine) -> None:
    engine.behaviour, other_engine.behaviour = keeper(1), keeper(2)
    world.serve("m", engine, other_engine)
    client = (await run()).client
    first = (await client.post("/v1/responses", json={"model": "m"})).json()["id"]
    for _ in range(3):
        more = await client.post("/v1/responses", json={"model": "m", "previous_response_id": first})
        assert more.json()["id"] == first


async def test_another_process_finds_it_too(world: World, run, engine: Engine, other_engine: Engine) -> None:
    engine.behaviour, other_engine.behaviour = keeper(1), keeper(2)
    world.serve("m", engine, other_engine)
    made = (await (await run()).client.post("/v1/responses", json={"model": "m"})).json()["id"]
    assert (await (await run()).client.get(f"/v1/responses/{made}")).json()["id"] == made


async def test_what_nobody_made_is_not_found(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    answer = await (await run()).client.get("/v1/responses/resp_9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
    assert not engine.seen


async def test_a_response_is_its_teams_own(world: World, run, engine: Engine) -> None:
    engine.behaviour = keeper(1)
    world.serve("m", engine)
    ours, theirs = (KnownTeam(number, f"team-{number}", 1, 0, Quota()) for number in (1, 2))
    world.keys += [known("a", 11, team=ours), known("b", 12, team=ours), known("c", 13, team=theirs), known("d", 14)]
    client = (await run()).client
    made = await client.post("/v1/responses", json={"model": "m"}, headers={"authorization": "Bearer a"})
    path = f"/v1/responses/{made.json()['id']}"
    statuses = [(await client.get(path, headers={"authorization": f"Bearer {key}"})).status_code for key in "abcd"]
    assert statuses == [200, 200, 404, 404]
    more = {"model": "m", "previous_response_id": made.json()["id"]}
    answer = await client.post("/v1/responses", json=more, headers={"authorization": "Bearer c"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")


async def test_an_id_cannot_carry_a_path(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    client = (await run()).client
    for path in ("/v1/responses/a%0d%0ax", "/v1/responses/%2e%2e%2fsleep", "/v1/responses/a/b"):
        assert (await client.get(path)).status_code == 404
    assert not engine.seen


async def test_one_that_cannot_be_looked_up_is_not_said_to_be_missing(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    client = (await run()).client
    world.redis_fault = ConnectionError("away")
    answer = await client.get("/v1/responses/resp_9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "responses_unavailable")
