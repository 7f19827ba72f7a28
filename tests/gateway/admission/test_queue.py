"""The queue of a deployment that limits how many requests may be in flight, between real sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx2
import pytest

from gateway.admission import holds
from gateway.limits.limiter import UNLIMITED, KnownTeam
from tests.gateway.behaviours import Held, events, hang_up
from tests.gateway.conftest import KEY, Running, World, known, until
from tests.gateway.engines import Engine, Seen

Start = Callable[[], Awaitable[Running]]
ROUTE = {"max_concurrency": 1}


@pytest.fixture
def held(engine: Engine) -> Held:
    """What the engine holds."""
    held = engine.behaviour = Held()
    return held


def team(number: int, *, weight: int = 1, priority: int = 0) -> KnownTeam:
    return KnownTeam(number, f"team-{number}", weight, priority, UNLIMITED)


def label(seen: Seen) -> str:
    return str(json.loads(seen.body)["user"])


class Line:
    """Requests that stand in one queue, in the order in which they came."""

    def __init__(self, gateway: Running, held: Held) -> None:
        self.gateway = gateway
        self.held = held
        self.asked: list[asyncio.Task[httpx2.Response]] = []

    async def occupy(self) -> None:
        """Take the only seat."""
        self._ask("first", KEY)
        await until(lambda: len(self.held) == 1)

    async def stand(self, name: str, key: str = KEY, **more: object) -> None:
        """One more waits."""
        before = self.gateway.app.admission.waiting
        self._ask(name, key, **more)
        await until(lambda: self.gateway.app.admission.waiting == before + 1)

    def _ask(self, name: str, key: str, **more: object) -> None:
        body = {"model": "m", "user": name, **more}
        headers = {"authorization": f"Bearer {key}"}
        post = self.gateway.client.post("/v1/chat/completions", json=body, headers=headers)
        self.asked.append(asyncio.create_task(post))

    async def serve(self) -> list[str]:
        """Let one after the other go; who came to the engine, in that order, without the one that had the seat."""
        order = []
        for _ in self.asked:
            await until(lambda: len(self.held) == 1)
            seen = self.held.let_go()
            order.append(label(seen))
            await until(lambda seen=seen: all(one is not seen for one in self.held.requests))  # type: ignore[misc]
        assert {answer.status_code for answer in await asyncio.gather(*self.asked)} == {200}
        assert order[0] == "first"
        return order[1:]


# --- the limit --------------------------------------------------------------------------------------------------
async def test_no_more_than_may_be_are_at_the_engine(world: World, run: Start, engine: Engine, held: Held) -> None:
    engine.behaviours = [hang_up, held, hang_up]
    world.serve("m", engine, max_concurrency=3)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(16)]
    while not all(task.done() for task in asked):
        await until(lambda: len(held) == 3 or gateway.app.admission.waiting == 0)
        if held:
            held.let_go()
        await asyncio.sleep(0.005)
    assert {task.result().status_code for task in asked} == {200}
    assert held.most == 3
    assert gateway.leases() == gateway.app.admission.waiting == 0


async def test_two_replicas_share_the_limit(world: World, run: Start, engine: Engine, other_engine: Engine) -> None:
    one, other = engine.behaviour, other_engine.behaviour = Held(), Held()
    world.serve("m", engine, other_engine, max_concurrency=3)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(6)]
    await until(lambda: gateway.app.admission.waiting == 3 and len(one) + len(other) == 3)
    assert sorted((len(one), len(other))) == [1, 2]
    one.open()
    other.open()
    await until(lambda: len(one) + len(other) == 3 and gateway.app.admission.waiting == 0)
    one.open()
    other.open()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_two_processes_hold_the_limit_together(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.serve("m", engine, max_concurrency=3)
    gateways = [await run(), await run()]
    await until(lambda: all(gateway.app.peers.count == 2 for gateway in gateways))
    asked = {gateway: [asyncio.create_task(gateway.chat("m")) for _ in range(9)] for gateway in gateways}
    tasks = [task for each in asked.values() for task in each]
    await until(lambda: len(held) == 3)
    for served in range(1, len(tasks) + 1):
        await until(lambda: len(held) > 0)
        held.let_go()
        await until(lambda served=served: sum(task.done() for task in tasks) == served)  # type: ignore[misc]
    assert held.most == 3
    assert [{task.result().status_code for task in asked[gateway]} for gateway in gateways] == [{200}, {200}]


# --- who is next ------------------------------------------------------------------------------------------------
async def test_who_came_first_goes_first(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    for name in ("a", "b", "c"):
        await line.stand(name)
    assert await line.serve() == ["a", "b", "c"]
    assert held.most == 1


async def test_the_more_urgent_goes_first(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.keys += [known("urgent", 11, team=team(1, priority=-5)), known("patient", 12, team=team(2, priority=5))]
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    await line.stand("patient", "patient", priority=-9)  # nobody may ask for more than the team has
    await line.stand("later", priority=3)
    await line.stand("usual")
    await line.stand("urgent", "urgent")
    assert await line.serve() == ["urgent", "usual", "later", "patient"]


async def test_among_equals_teams_have_their_shares(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.keys += [known("large", 11, team=team(1, weight=3)), known("small", 12, team=team(2, weight=1))]
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    for _ in range(2):
        await line.stand("small", "small")
    for _ in range(6):
        await line.stand("large", "large")
    order = await line.serve()
    assert Counter(order[:4]) == Counter(order[4:]) == {"large": 3, "small": 1}


async def test_a_key_that_asks_for_much_does_not_hold_up_another_team(
    world: World, run: Start, engine: Engine, held: Held
) -> None:
    world.keys += [known("busy", 11, team=team(1)), known("quiet", 12, team=team(2))]
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    for number in range(5):
        await line.stand(f"busy-{number}", "busy")
    await line.stand("quiet", "quiet")
    order = await line.serve()
    assert order.index("quiet") <= 1
    assert [name for name in order if name != "quiet"] == [f"busy-{number}" for number in range(5)]


async def test_who_has_waited_too_long_goes_before_all_others(
    world: World, run: Start, engine: Engine, held: Held
) -> None:
    world.limits = replace(world.limits, starved_seconds=0.0)
    world.keys += [known("urgent", 11, team=team(1, priority=-5))]
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    await line.stand("later", priority=9)
    await line.stand("urgent", "urgent")
    await line.stand("usual")
    assert await line.serve() == ["later", "urgent", "usual"]


# --- what the engine hears of it --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("base", "asked", "told"), [(5, 2, 5), (5, 9, 9), (5, None, 5), (-5, None, -5), (None, -3, 0), (None, 4, 4)]
)
async def test_an_engine_that_schedules_by_priority_is_told_no_more_than_the_team_has(
    world: World, run: Start, engine: Engine, base: int | None, asked: int | None, told: int
) -> None:
    world.keys = [known(KEY, 1, team=None if base is None else team(1, priority=base))]
    world.serve("m", engine, schedules_by_priority=True)
    more = {} if asked is None else {"priority": asked}
    assert (await (await run()).chat("m", **more)).status_code == 200
    assert json.loads(engine.seen[0].body).get("priority", 0) == told


@pytest.mark.parametrize("asked", [-3, 0, 4])
async def test_an_engine_that_would_refuse_a_priority_is_told_none(
    world: World, run: Start, engine: Engine, asked: int
) -> None:
    world.keys = [known(KEY, 1, team=team(1, priority=-5))]
    world.serve("m", engine)
    gateway = await run()
    await gateway.chat("m", priority=asked)
    await gateway.chat("m")
    assert [json.loads(seen.body).get("priority", 0) for seen in engine.seen] == [0, 0]


# --- who waits in vain ------------------------------------------------------------------------------------------
async def test_a_full_queue_refuses_and_says_when_to_come_back_once_that_is_known(
    world: World, run: Start, engine: Engine, held: Held
) -> None:
    world.serve("m", engine, max_concurrency=1, queue_limit=1)
    line = Line(await run(), held)
    await line.occupy()
    await line.stand("next")
    refused = await line.gateway.chat("m")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert "x-sardeenz-eta-seconds" not in refused.headers  # no seat was ever given back
    held.let_go()
    await until(lambda: [label(seen) for seen in held.requests] == ["next"])
    await line.stand("third")
    refused = await line.gateway.chat("m", stream=True)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["x-sardeenz-eta-seconds"]) >= 0
    assert (refused.headers["x-sardeenz-state"], int(refused.headers["retry-after"]) >= 1) == ("ready", True)
    held.open()
    await until(lambda: [label(seen) for seen in held.requests] == ["third"])
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*line.asked)} == {200}
    assert len(engine.seen) == 3
    await until(lambda: len(world.usage) == 5)
    assert Counter(record.outcome for record in world.usage) == {"ok": 3, "queue_full": 2}


@pytest.mark.parametrize("seconds", [{"queue_seconds": 0.05}, {}])
async def test_who_waits_too_long_is_told_so_and_never_reaches_the_engine(
    world: World, run: Start, engine: Engine, held: Held, seconds: dict[str, float]
) -> None:
    if not seconds:
        world.limits = replace(world.limits, quiet_seconds=0.05)
    world.serve("m", engine, max_concurrency=1, **seconds)
    line = Line(await run(), held)
    await line.occupy()
    refused = await line.gateway.chat("m")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert "retry-after" in refused.headers
    assert line.gateway.app.admission.waiting == 0
    assert await line.serve() == []
    assert len(engine.seen) == 1


async def test_a_stream_outlasts_what_cannot_be_told_that_it_waits(
    world: World, run: Start, engine: Engine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    world.limits = replace(world.limits, quiet_seconds=0.2)
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    client = await line.gateway.open(b'{"model":"m","stream":true}')
    head = await client.head()
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    await client.until(b": waiting for the model, 1 requests stand in its queue\n\n")
    assert (await line.gateway.chat("m")).json()["error"]["code"] == "queue_timeout"
    await client.until(b": waiting for the model, 1 requests stand in its queue\n\n")
    engine.behaviour = events("hello")
    held.open()
    assert b'"hello"' in await client.until(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "words"), [("/v1/chat/completions", b'"code": "queue_timeout"'), ("/v1/messages", b"event: error\n")]
)
async def test_a_stream_that_waited_in_vain_ends_with_an_event(
    world: World, run: Start, engine: Engine, held: Held, monkeypatch: pytest.MonkeyPatch, path: str, words: bytes
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    world.serve("m", engine, max_concurrency=1, queue_seconds=0.3)
    line = Line(await run(), held)
    await line.occupy()
    client = await line.gateway.open(b'{"model":"m","stream":true}', path=path)
    await client.until(b": waiting for the model")
    assert words in await client.until(b"0\r\n\r\n")
    assert await line.serve() == []


# --- who leaves, and what else frees a seat ---------------------------------------------------------------------
async def test_who_leaves_the_queue_makes_way(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.serve("m", engine, max_concurrency=1, queue_limit=2)
    line = Line(await run(), held)
    await line.occupy()
    gone = await line.gateway.open(b'{"model":"m","user":"gone"}')
    await until(lambda: line.gateway.app.admission.waiting == 1)
    await line.stand("second")
    assert (await line.gateway.chat("m")).json()["error"]["code"] == "queue_full"
    await gone.leave()
    await until(lambda: line.gateway.app.admission.waiting == 1)
    await line.stand("third")
    assert await line.serve() == ["second", "third"]


async def test_who_leaves_the_engine_makes_way(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.serve("m", engine, **ROUTE)
    gateway = await run()
    busy = await gateway.open(b'{"model":"m","user":"busy"}')
    await until(lambda: len(held) == 1)
    waiter = asyncio.create_task(gateway.chat("m", user="next"))
    await until(lambda: gateway.app.admission.waiting == 1)
    await busy.leave()
    await until(lambda: [label(seen) for seen in held.requests] == ["next"])
    held.open()
    assert (await waiter).status_code == 200
    assert gateway.leases() == 0


async def test_who_leaves_as_its_turn_comes_passes_it_on(world: World, run: Start, engine: Engine, held: Held) -> None:
    world.serve("m", engine, **ROUTE)
    gateway = await run()
    line = Line(gateway, held)
    await line.occupy()
    leaving = [await gateway.open(b'{"model":"m","user":"gone"}') for _ in range(3)]
    await until(lambda: gateway.app.admission.waiting == 3)
    await line.stand("last")
    held.let_go()
    for client in leaving:
        client.writer.transport.abort()
    await until(lambda: [label(seen) for seen in held.requests] == ["last"])
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*line.asked)} == {200}
    await until(lambda: gateway.leases() == gateway.app.admission.waiting == 0)


@pytest.mark.parametrize("limit", [4, None])
async def test_a_higher_limit_lets_those_go_who_wait(
    world: World, run: Start, engine: Engine, held: Held, limit: int | None
) -> None:
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    for name in ("a", "b", "c"):
        await line.stand(name)
    world.change("m", engine, max_concurrency=limit)
    await until(lambda: len(held) == 4)
    assert line.gateway.app.admission.waiting == 0
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*line.asked)} == {200}


async def test_a_lower_limit_lets_those_finish_who_are_there(
    world: World, run: Start, engine: Engine, held: Held
) -> None:
    world.serve("m", engine, max_concurrency=3)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(3)]
    await until(lambda: len(held) == 3)
    world.change("m", engine, max_concurrency=1)
    await until(lambda: gateway.app.router.table.routes[0].row.max_concurrency == 1)
    asked += [asyncio.create_task(gateway.chat("m")) for _ in range(2)]
    await until(lambda: gateway.app.admission.waiting == 2)
    for left in (2, 1):
        held.let_go()
        await until(lambda left=left: gateway.leases() == left)  # type: ignore[misc]
        assert gateway.app.admission.waiting == 2
    for _ in range(3):
        await until(lambda: len(held) == 1)
        served = sum(task.done() for task in asked)
        held.let_go()
        await until(lambda served=served: sum(task.done() for task in asked) > served)  # type: ignore[misc]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_those_in_the_queue_of_a_model_that_stops_are_told_so(
    world: World, run: Start, engine: Engine, held: Held
) -> None:
    world.serve("m", engine, **ROUTE)
    line = Line(await run(), held)
    await line.occupy()
    waiter = asyncio.create_task(line.gateway.chat("m"))
    await until(lambda: line.gateway.app.admission.waiting == 1)
    world.change("m", state="stopped", max_concurrency=1)
    answer = await waiter
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_stopped")
    assert await line.serve() == []
