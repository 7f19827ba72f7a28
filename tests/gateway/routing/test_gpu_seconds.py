"""GPU-seconds: whoever is in flight at a replica shares its GPUs, through whichever gateway process it came."""

import asyncio

import pytest

from gateway.routing.replicas import RoutedReplica
from models_app.traffic.routes import RouteReplica
from tests.gateway.behaviours import Held
from tests.gateway.conftest import Running, World, until
from tests.gateway.engines import Engine


async def replica() -> RoutedReplica:
    return RoutedReplica(RouteReplica(1, 1, "http://127.0.0.1:1", "k"), 1, gpus=1, idle_seconds=1.0)


async def test_two_processes_with_a_call_each_count_the_time_once() -> None:
    here, there = await replica(), await replica()
    entered = here.enter(0.0), there.enter(0.0)
    for each in (here, there):
        each.hear(1, 0.0)
    assert here.leave(entered[0], 10.0) + there.leave(entered[1], 10.0) == pytest.approx(10.0)


async def test_what_begins_elsewhere_in_the_middle_takes_its_part_from_then_on() -> None:
    one = await replica()
    entered = one.enter(0.0)
    one.hear(1, 6.0)
    one.hear(3, 8.0)
    one.hear(0, 12.0)
    assert one.leave(entered, 20.0) == pytest.approx(6 + 2 / 2 + 4 / 4 + 8)


async def test_what_was_elsewhere_before_nobody_was_here_is_not_counted() -> None:
    one = await replica()
    one.hear(4, 1.0)
    one.hear(0, 5.0)
    entered = one.enter(9.0)
    assert one.leave(entered, 10.0) == pytest.approx(1.0)


async def test_processes_tell_each_other_what_they_have_in_flight(world: World, run, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine)
    gateways: list[Running] = [await run(), await run()]
    asked = [asyncio.create_task(gateway.chat("m")) for gateway in gateways for _ in range(2)]
    replicas = [gateway.app.router.table.replicas["10:1"] for gateway in gateways]
    await until(lambda: [each.in_flight for each in replicas] == [2, 2])
    await until(lambda: [each.elsewhere for each in replicas] == [2, 2])
    held.open()
    await asyncio.gather(*asked)
    await until(lambda: [each.elsewhere for each in replicas] == [0, 0])


async def test_a_process_that_is_cut_off_counts_by_itself(world: World, run, engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr("gateway.admission.peers.STALE_SECONDS", 0.3)
    held = engine.behaviour = Held()
    world.serve("m", engine)
    gateways: list[Running] = [await run(), await run()]
    asked = asyncio.create_task(gateways[0].chat("m"))
    elsewhere = gateways[1].app.router.table.replicas["10:1"]
    await until(lambda: elsewhere.elsewhere == 1)
    world.redis_fault = ConnectionError("gone")
    await until(lambda: elsewhere.elsewhere == 0)
    world.redis_fault = None
    held.open()
    assert (await asked).status_code == 200
