"""What a gateway says about itself, and when: drains and moves believe it."""

import asyncio

from django.db import OperationalError
from redis import ConnectionError as RedisConnectionError

from tests.gateway.conftest import KEY, World, known, until
from tests.gateway.engines import Engine, Exchange, echo


async def test_a_replica_is_reported_before_the_first_request_can_reach_it(world: World, run, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    seen: list[bool] = []
    report = world.report

    async def reporting(gateway_id: str, routes, *more) -> None:
        routes = frozenset(routes)
        if "10:1" in routes:
            seen.append("10:1" in gateway.app.router.table.replicas)
        await report(gateway_id, routes, *more)

    gateway.app.reporter._report = reporting
    world.change("m", engine)
    await until(lambda: len(seen) > 1)
    assert seen[:2] == [False, True]


async def test_a_replica_that_is_no_longer_routed_keeps_its_leases_until_they_end(
    world: World, run, engine: Engine
) -> None:
    go_on = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.answer(b"{}")

    engine.behaviour = slowly
    world.serve("m", engine)
    gateway = await run()
    asked = asyncio.create_task(gateway.chat("m"))
    await engine.arrived.wait()
    world.change("m", state="sleeping")
    await until(lambda: (frozenset(), {"10:1": 1}) in world.reports)
    go_on.set()
    assert (await asked).status_code == 200
    await until(lambda: world.reports[-1] == (frozenset(), {}))


async def test_a_draining_replica_admits_nothing(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    world.change("m", state="sleeping")
    await until(lambda: not gateway.app.router.table.replicas)
    asked = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    assert not engine.seen
    world.change("m", engine)
    assert (await asked).status_code == 200


async def test_connections_to_a_replica_that_is_no_longer_routed_are_closed(world: World, run, engine: Engine) -> None:
    async def answer_and_wait(exchange: Exchange) -> None:
        await exchange.answer(b"{}")
        await exchange.until_hung_up()

    engine.behaviour = answer_and_wait
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    world.change("m", state="sleeping")
    await until(engine.seen[0].hung_up.is_set, 3)


async def test_a_routes_removal_refuses_those_who_wait_for_it(world: World, run) -> None:
    world.serve("m")
    gateway = await run()
    asked = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    world.routes.clear()
    world.changed.set()
    assert (await asked).status_code == 404


async def test_the_last_table_serves_while_postgres_and_redis_are_away(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    world.fault = OperationalError("connection refused")
    world.redis_fault = RedisConnectionError("connection refused")
    world.changed.set()
    await until(lambda: gateway.app.router.loading.lasting and gateway.app.router.listening.lasting)
    await until(lambda: gateway.app.reporter.outage.lasting)
    assert (await gateway.chat("m")).status_code == 200
    world.fault = world.redis_fault = None
    await until(lambda: not gateway.app.router.loading.lasting and not gateway.app.reporter.outage.lasting)
    await until(lambda: any(record.outcome == "ok" for record in world.usage))


async def test_before_the_table_was_ever_read_no_model_is_called_unknown(world: World, run) -> None:
    gateway = await run()
    gateway.app.router._rows = None
    world.fault = OperationalError("connection refused")
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "routes_unavailable")


async def test_a_loop_that_ends_of_a_bug_begins_again(world: World, run, engine: Engine, caplog) -> None:
    gateway = await run()
    world.fault = ZeroDivisionError()
    await until(lambda: any("ended" in record.message for record in caplog.records))
    world.fault = None
    world.serve("m", engine)
    await until(lambda: "m" in gateway.app.router.table.splits)


async def test_use_is_noted_for_the_deployment_and_not_by_looking(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    world.serve("n", engine)
    gateway = await run()
    await gateway.client.get("/v1/models")
    await gateway.chat("m")
    await until(lambda: bool(world.touched))
    assert world.touched == {1}


async def test_calls_of_a_key_that_keeps_nothing_awake_are_no_use(world: World, run, engine: Engine) -> None:
    world.keys = [known(KEY, 1, keeps_awake=False, metered=False)]
    world.serve("m", engine)
    gateway = await run()
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        await echo(exchange)

    engine.behaviours = [slow]
    asking = asyncio.create_task(gateway.chat("m"))
    await until(lambda: any(leases for _, leases in world.reports))
    told = len(world.reports)
    gateway.app.reporter.hurry()
    await until(lambda: len(world.reports) > told + 1)
    go_on.set()
    assert (await asking).status_code == 200
    await until(lambda: bool(world.usage))
    await until(lambda: not world.reports[-1][1])
    assert world.touched == set()
    assert [record.kept for record in world.usage] == [False]
    assert gateway.app.meter.tallies == {}


async def test_a_gateway_that_stops_finishes_its_streams_and_takes_its_report_along(
    world: World, run, engine: Engine
) -> None:
    go_on = asyncio.Event()

    async def slowly(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b"data: 1\n\n")
        await go_on.wait()
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    engine.behaviour = slowly
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(b'{"model":"m","stream":true}')
    await client.until(b"data: 1\n\n")
    stopping = asyncio.create_task(gateway.stop_accepting())
    go_on.set()
    await client.until(b"[DONE]")
    await stopping
    assert world.forgotten == [gateway.app.gateway_id]
    assert [record.outcome for record in world.usage] == ["ok"]
