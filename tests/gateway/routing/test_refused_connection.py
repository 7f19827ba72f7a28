"""An engine that accepts no connection was sent nothing: whoever asks waits, as for a model that starts."""

import asyncio
from dataclasses import replace

import pytest

from gateway import proxy
from gateway.routing import reach
from models_app.traffic.routes import RouteReplica
from tests.gateway.conftest import Running, World, until
from tests.gateway.engines import Engine, Exchange


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PROBE_SECONDS", 0.01)


def start_anew(world: World, engine: Engine) -> None:
    """The table has a new generation of the first model's replica."""
    replica = RouteReplica(10, 2, engine.url, "engine-key")
    world.routes[0] = replace(world.routes[0], state="ready", replicas=(replica,))
    world.changed.set()


async def gone(world: World, run, engine: Engine) -> Running:
    """A gateway whose only engine has died; the table does not know it yet."""
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    await engine.stop()
    return gateway


async def test_it_waits_until_the_engine_accepts_connections_again(world: World, run, engine: Engine) -> None:
    gateway = await gone(world, run, engine)
    waiters = [asyncio.create_task(gateway.chat("m")) for _ in range(20)]
    await until(lambda: gateway.app.admission.waiting == 20)
    assert gateway.leases() == 0
    await engine.start()
    answers = await asyncio.gather(*waiters)
    assert {(answer.status_code, answer.headers["x-sardeenz-state"]) for answer in answers} == {(200, "starting")}
    assert len(engine.seen) == 21
    assert gateway.app.admission.waiting == gateway.leases() == 0
    assert (await gateway.chat("m")).headers["x-sardeenz-state"] == "ready"


async def test_it_waits_until_another_engine_is_there(world: World, run, engine: Engine, other_engine: Engine) -> None:
    gateway = await gone(world, run, engine)
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    world.change("m", state="starting")
    await until(lambda: gateway.app.router.table.routes[0].state == "starting")
    assert not waiter.done()
    start_anew(world, other_engine)
    assert (await waiter).status_code == 200
    assert len(other_engine.seen) == 1


async def test_operators_see_it_wait_and_somebody_is_asked_to_see_to_it(world: World, run, engine: Engine) -> None:
    gateway = await gone(world, run, engine)
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: world.waiting.get(1, {}).get("count") == 1)
    assert world.wakes == [1]
    await engine.start()
    assert (await waiter).status_code == 200


async def test_it_is_told_of_a_model_that_failed_for_good(world: World, run, engine: Engine) -> None:
    gateway = await gone(world, run, engine)
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    world.change("m", state="failed")
    answer = await waiter
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_failed")


async def test_one_that_waited_in_vain_is_told_when_to_come_back_and_used_nothing(
    world: World, run, engine: Engine
) -> None:
    world.limits = replace(world.limits, quiet_seconds=0.3)
    gateway = await gone(world, run, engine)
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "wake_timeout")
    assert int(answer.headers["retry-after"]) > 0
    assert str(engine.port) not in answer.text
    await until(lambda: len(world.usage) == 2)
    assert world.usage[-1].usage == (0, 0, 0)


async def test_many_refusals_do_not_make_its_patience_longer(world: World, run, engine: Engine) -> None:
    """It is let go whenever the engine seems to be back, and refused again: all its waits count together."""
    world.limits = replace(world.limits, quiet_seconds=0.5)
    gateway = await gone(world, run, engine)
    waiter = asyncio.create_task(gateway.chat("m"))
    while not waiter.done():
        for replica in gateway.app.router.table.replicas.values():
            replica.health.refuses = False
        gateway.app.holds.look()
        await asyncio.sleep(0.02)
    assert (await waiter).json()["error"]["code"] == "wake_timeout"


async def test_another_replica_answers_at_once(world: World, run, engine: Engine, other_engine: Engine) -> None:
    world.serve("m", engine, other_engine)
    gateway = await run()
    await engine.stop()
    answers = [await gateway.chat("m") for _ in range(6)]
    assert {(answer.status_code, answer.headers["x-sardeenz-state"]) for answer in answers} <= {
        (200, "ready"),
        (200, "starting"),
    }
    assert (len(other_engine.seen), world.wakes) == (6, [])


async def test_a_fallback_answers_at_once(world: World, run, engine: Engine, other_engine: Engine) -> None:
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    await engine.stop()
    assert {(await gateway.chat("m")).status_code for _ in range(4)} == {200}
    assert (len(other_engine.seen), world.wakes) == (4, [])


async def test_a_stream_hears_that_it_waits(world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.admission.holds.HEARTBEAT_SECONDS", 0.05)
    gateway = await gone(world, run, engine)
    client = await gateway.open(b'{"model":"m","stream":true}')
    assert b": waiting for the model" in await client.until(b"\n\n")
    await engine.start()
    assert b'"usage"' in await client.until(b"}}}")


async def test_a_stored_response_goes_with_its_engine(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    marker = next(iter(gateway.app.router.table.replicas))
    gateway.app.stored.remember("resp_1", marker, world.keys[0])
    await engine.stop()
    answer = await gateway.client.get("/v1/responses/resp_1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unreachable")


async def refuse_the_key(exchange: Exchange) -> None:
    """Another installation's engine, on the port of one that has died."""
    await exchange.answer(b'{"error":"Unauthorized"}', 401)


async def test_a_stranger_on_the_engines_port_is_not_the_engine(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = refuse_the_key
    world.serve("m", engine)
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(engine.seen) > 1)
    start_anew(world, other_engine)
    assert (await waiter).status_code == 200
    assert len(other_engine.seen) == 1
    await until(lambda: len(world.usage) == 1)
    assert world.usage[0].outcome == "ok"


async def test_an_engine_that_keeps_refusing_our_key_is_not_waited_for(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "STRANGER_SECONDS", 0.1)
    engine.behaviour = refuse_the_key
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_refused")
    await until(lambda: len(world.usage) == 1)
    assert (world.usage[0].outcome, world.usage[0].usage) == ("engine_refused", (0, 0, 0))
