"""Which of several replicas a request goes to."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway.behaviours import Held, named
from tests.gateway.conftest import Running, World, until
from tests.gateway.engines import Engine


@pytest_asyncio.fixture
async def third_engine() -> AsyncIterator[Engine]:
    engine = await Engine(named("third")).start()
    yield engine
    await engine.stop()


@pytest.fixture
def pair(engine: Engine, other_engine: Engine) -> tuple[Engine, Engine]:
    """Two that say which of them answers."""
    engine.behaviour, other_engine.behaviour = named("first"), named("second")
    return engine, other_engine


async def chosen(gateway: Running, session: str, **more: object) -> str:
    """Who answers this session."""
    body = {"model": "m", **more}
    answer = await gateway.client.post("/v1/chat/completions", json=body, headers={"x-session-id": session})
    assert answer.status_code == 200
    return str(answer.json()["id"])


def conversation(number: int, *more: str) -> dict[str, object]:
    """One that begins with a long system prompt of its own."""
    said = [f"You are assistant {number}. " + "Answer well. " * 60, *more]
    return {"messages": [{"role": "user", "content": content} for content in said]}


# --- the least busy ---------------------------------------------------------------------------------------------
async def test_the_least_busy_is_chosen(world: World, run, engine: Engine, other_engine: Engine) -> None:
    one, other = engine.behaviour, other_engine.behaviour = Held(), Held()
    world.serve("m", engine, other_engine)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(10)]
    await until(lambda: (len(one), len(other)) == (5, 5))
    for _ in range(4):
        one.let_go()
    await until(lambda: gateway.leases() == 6)
    asked += [asyncio.create_task(gateway.chat("m")) for _ in range(4)]
    await until(lambda: (len(one), len(other)) == (5, 5))
    one.open()
    other.open()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_idle_replicas_take_turns(world: World, run, pair: tuple[Engine, Engine]) -> None:
    world.serve("m", *pair)
    gateway = await run()
    for _ in range(10):
        await gateway.chat("m")
    assert [len(engine.seen) for engine in pair] == [5, 5]


# --- sessions ---------------------------------------------------------------------------------------------------
async def test_all_processes_send_a_session_to_the_same_replica(
    world: World, run, pair: tuple[Engine, Engine], third_engine: Engine
) -> None:
    world.serve("m", *pair, third_engine)
    one, other = await run(), await run()
    found = {}
    for number in range(24):
        session = f"session-{number}"
        (found[session],) = {await chosen(gateway, session) for gateway in (one, other, one)}
    assert set(found.values()) == {"first", "second", "third"}


async def test_sessions_spread_evenly(world: World, run, pair: tuple[Engine, Engine], third_engine: Engine) -> None:
    world.serve("m", *pair, third_engine)
    gateway = await run()
    found = Counter([await chosen(gateway, f"session-{number}") for number in range(300)])
    assert all(70 <= found[name] <= 130 for name in ("first", "second", "third")), found


async def test_only_the_sessions_of_a_replica_that_goes_move(
    world: World, run, pair: tuple[Engine, Engine], third_engine: Engine
) -> None:
    world.serve("m", *pair, third_engine)
    gateway = await run()
    sessions = [f"session-{number}" for number in range(40)]
    before = [await chosen(gateway, session) for session in sessions]
    world.change("m", *pair)
    await until(lambda: len(gateway.app.router.table.markers) == 2)
    after = [await chosen(gateway, session) for session in sessions]
    assert [one for one, was in zip(after, before, strict=True) if was != "third"] == [
        was for was in before if was != "third"
    ]
    assert {one for one, was in zip(after, before, strict=True) if was == "third"} == {"first", "second"}


# --- how conversations begin ------------------------------------------------------------------------------------
async def test_what_begins_alike_goes_to_the_same_replica(world: World, run, pair: tuple[Engine, Engine]) -> None:
    world.serve("m", *pair, prefix_affinity=True)
    one, other = await run(), await run()
    found = set()
    for number in range(16):
        answers = [await one.chat("m", **conversation(number, *["more"] * turn)) for turn in range(3)]
        answers.append(await other.chat("m", temperature=1, **conversation(number, "else")))
        (replica,) = {answer.json()["id"] for answer in answers}
        found.add(replica)
    assert found == {"first", "second"}


async def test_without_affinity_how_it_begins_does_not_matter(world: World, run, pair: tuple[Engine, Engine]) -> None:
    world.serve("m", *pair)
    gateway = await run()
    answers = [await gateway.chat("m", **conversation(1)) for _ in range(8)]
    assert Counter(answer.json()["id"] for answer in answers) == {"first": 4, "second": 4}


async def test_a_session_counts_for_more_than_how_it_begins(world: World, run, pair: tuple[Engine, Engine]) -> None:
    world.serve("m", *pair, prefix_affinity=True)
    gateway = await run()
    for session in ("a", "b", "c", "d", "e", "f"):
        assert len({await chosen(gateway, session, **conversation(number)) for number in range(8)}) == 1


async def test_a_replica_that_is_a_quarter_busier_gives_way(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    one, other = engine.behaviour, other_engine.behaviour = Held(), Held()
    world.serve("m", engine, other_engine, prefix_affinity=True)
    gateway = await run()
    asked = []
    for number in range(12):
        asked.append(asyncio.create_task(gateway.chat("m", **conversation(1))))
        await until(lambda number=number: len(one) + len(other) == number + 1)
        if number == 2:
            assert sorted((len(one), len(other))) == [0, 3]
        if number == 3:
            assert sorted((len(one), len(other))) == [1, 3]
    assert max(len(one), len(other)) <= 1.25 * 6 + 2
    one.open()
    other.open()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


# --- stored responses -------------------------------------------------------------------------------------------
async def test_a_stored_conversation_goes_on_where_it_began_whatever_else_would_say(
    world: World, run, pair: tuple[Engine, Engine]
) -> None:
    world.serve("m", *pair, prefix_affinity=True)
    client = (await run()).client
    made = set()
    for number in range(16):
        body = {"model": "m", "input": f"{number} " * 200}
        made.add((await client.post("/v1/responses", json=body)).json()["id"])
    assert made == {"first", "second"}
    for name in made:
        for number in range(8):
            body = {"model": "m", "previous_response_id": name, "input": f"{number} " * 200}
            sent = {"json": body, "headers": {"x-session-id": f"session-{number}"}}
            assert (await client.post("/v1/responses", **sent)).json()["id"] == name
    assert {json.loads(seen.body)["model"] for engine in pair for seen in engine.seen} == {"m"}
