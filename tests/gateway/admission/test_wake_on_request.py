"""A request for a model that is not ready is held: one wake for all, and everybody's own patience."""

import asyncio
from dataclasses import replace

import pytest

from gateway.admission import holds
from models_app.errors import NoCapacity, ReplicaMoved
from tests.gateway.behaviours import Held
from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange


async def test_two_hundred_waiters_cause_one_wake(world: World, run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    waiters = [asyncio.create_task(gateway.chat("m")) for _ in range(200)]
    await until(lambda: gateway.app.admission.waiting == 200 and bool(world.wakes))
    world.change("m", engine)
    answers = await asyncio.gather(*waiters)
    assert world.wakes == [1]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-sardeenz-state"] for answer in answers} == {"sleeping"}
    assert gateway.app.admission.waiting == gateway.leases() == 0


async def test_the_first_waiters_leaving_changes_nothing_for_the_others(world: World, run, engine: Engine) -> None:
    waking = asyncio.Event()
    world.on_wake = waking.wait
    world.serve("m")
    gateway = await run()
    first = await gateway.open(b'{"model":"m"}')
    await until(lambda: world.wakes == [1])
    second = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 2)
    await first.leave()
    await until(lambda: gateway.app.admission.waiting == 1)
    waking.set()
    world.change("m", engine)
    assert (await second).status_code == 200
    assert world.wakes == [1]


async def test_the_wake_is_asked_for_again_while_anybody_waits(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "ASK_SECONDS", 0.02)
    await it_is_asked_for_again_and_again(world, run, engine)


async def it_is_asked_for_again_and_again(world: World, run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(world.wakes) > 2)
    world.change("m", engine)
    assert (await waiter).status_code == 200


async def test_the_wake_is_asked_for_at_once_when_a_neighbour_idles(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "ASK_SECONDS", 3600.0)
    world.serve("m")
    world.serve("neighbour", engine)
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(world.wakes) == 1)
    assert (await gateway.chat("neighbour")).status_code == 200
    await until(lambda: len(world.wakes) == 2)
    world.change("m", engine)
    assert (await waiter).status_code == 200


async def test_the_wake_is_asked_for_again_when_somebody_may_make_room(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "ASK_SECONDS", 3600.0)
    monkeypatch.setattr(holds, "SHORTEST_PAUSE_SECONDS", 0.01)
    world.wake_again_seconds = 0.0
    await it_is_asked_for_again_and_again(world, run, engine)


async def test_the_wake_is_asked_for_at_once_when_another_model_woke(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "ASK_SECONDS", 3600.0)
    held = engine.behaviour = Held()  # that a call ends is another reason to ask
    world.serve("m")
    world.serve("other")
    gateway = await run()
    waiters = [asyncio.create_task(gateway.chat(name)) for name in ("m", "other")]
    await until(lambda: sorted(world.wakes) == [1, 2])
    world.change("other", engine)
    await until(lambda: len(held) == 1)
    await until(lambda: sorted(world.wakes) == [1, 1, 2])
    world.change("m", engine)
    await until(lambda: len(held) == 2)
    held.open()
    assert {answer.status_code for answer in await asyncio.gather(*waiters)} == {200}


async def test_an_error_of_the_wake_goes_to_every_waiter(world: World, run) -> None:
    world.refusal = NoCapacity("no GPU has room", needed_bytes=2, free_bytes=1)
    world.serve("m", eta_seconds=40.0)
    gateway = await run()
    answers = await asyncio.gather(gateway.chat("m"), gateway.chat("m"))
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_capacity")
        assert answer.headers["retry-after"] == "5"


async def test_a_lost_race_is_no_answer_to_a_waiter_and_soon_asked_about_again(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "ASK_SECONDS", 3600.0)
    monkeypatch.setattr(holds, "SHORTEST_PAUSE_SECONDS", 0.01)
    world.refusal = ReplicaMoved("somebody was first")
    world.serve("m")
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(world.wakes) > 2)
    world.change("m", engine)
    assert (await waiter).status_code == 200


async def test_a_model_that_fails_while_waited_for_is_told_with_its_reason(world: World, run) -> None:
    world.serve("m", state="starting")
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    world.change("m", state="failed", message="out of memory")
    answer = await waiter
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_failed")
    assert "out of memory" in answer.json()["error"]["message"]
    assert answer.headers["x-sardeenz-state"] == "failed"


async def test_a_stopped_model_is_refused_at_once_and_not_woken(world: World, run) -> None:
    world.serve("m", state="stopped")
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_stopped")
    assert answer.headers["x-should-retry"] == "false"
    assert not world.wakes


async def test_patience_ends_with_an_estimate_of_when_to_come_back(world: World, run) -> None:
    world.limits = replace(world.limits, quiet_seconds=0.05)
    world.serve("m", eta_seconds=42.0)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "wake_timeout")
    assert (answer.headers["retry-after"], answer.headers["x-sardeenz-eta-seconds"]) == ("42", "42")


@pytest.mark.parametrize("limits", [{"wait_count": 1}, {"wait_bytes": 100}])
async def test_those_who_wait_are_bounded_in_number_and_bytes(world: World, run, limits: dict[str, int]) -> None:
    world.limits = replace(world.limits, **limits)
    world.serve("m")
    gateway = await run()
    first = await gateway.open(b'{"model":"m"}')
    await until(lambda: gateway.app.admission.waiting == 1)
    answer = await gateway.chat("m", padding="x" * 100)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "wait_limit")
    assert "retry-after" in answer.headers
    await first.leave()


async def test_a_held_stream_is_kept_alive_with_comments(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"n":1}\n\n')
        await exchange.chunk(b"")

    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    engine.behaviour = talk
    world.serve("m", eta_seconds=9.0)
    client = await (await run()).open(b'{"model":"m","stream":true}')
    head = await client.head()
    assert b"200 OK" in head
    assert b"x-sardeenz-state: sleeping" in head
    assert b"x-sardeenz-eta-seconds: 9" in head
    await client.until(b": waiting for the model, it is sleeping\n\n")
    await client.until(b": waiting for the model, it is sleeping\n\n")
    world.change("m", engine)
    assert b'data: {"n":1}' in await client.until(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "words"), [("/v1/chat/completions", b'data: {"error"'), ("/v1/messages", b"event: error\n")]
)
async def test_a_late_failure_of_a_held_stream_is_an_event(
    world: World, run, monkeypatch: pytest.MonkeyPatch, path: str, words: bytes
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    world.serve("m")
    client = await (await run()).open(b'{"model":"m","stream":true}', path=path)
    await client.until(b": waiting")
    world.change("m", state="failed", message="no such file")
    body = await client.until(b"0\r\n\r\n")
    assert words in body
    assert b"no such file" in body


async def test_a_late_refusal_of_the_engine_is_an_event(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b'{"error":{"message":"too long"}}', 400)

    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    engine.behaviour = refuse
    world.serve("m")
    client = await (await run()).open(b'{"model":"m","stream":true}')
    await client.until(b": waiting")
    world.change("m", engine)
    assert b'data: {"error":{"message":"too long"}}\n\n' in await client.until(b"0\r\n\r\n")
