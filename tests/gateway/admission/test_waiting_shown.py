"""Calls that wait, as operators see them: in the process's report and on the page of metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.gateway.behaviours import Held
from tests.gateway.conftest import Running, World, until
from tests.gateway.engines import Engine

Start = Callable[[], Awaitable[Running]]


async def test_those_in_a_queue_are_counted_by_model(world: World, run: Start, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine, max_concurrency=1)
    world.serve("other", engine)
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m"))]
    await until(lambda: len(held) == 1)
    before = time.time()
    asked += [asyncio.create_task(gateway.chat("m")) for _ in range(2)]
    await until(lambda: gateway.app.admission.waiting == 2)
    await gateway.app.reporter.tell()
    [(deployment_id, told)] = world.waiting.items()
    assert (deployment_id, told["queued"], told["expected_at"]) == (1, 2, None)
    assert before <= float(told["queued_since"] or 0) <= time.time()
    page = (await gateway.client.get("/metrics")).text
    assert 'sardeenz_gateway_waiting_calls{model="m",for="queue"} 2' in page
    assert 'sardeenz_gateway_waiting_calls{model="m",for="ready"} 0' in page
    assert 'sardeenz_gateway_waiting_calls{model="other",for="queue"} 0' in page
    assert 'sardeenz_gateway_longest_wait_seconds{model="other"} 0.0' in page
    engine.behaviour = held.answer
    held.open()
    await asyncio.gather(*asked)
    await gateway.app.reporter.tell()
    assert world.waiting == {}


async def test_those_who_wait_for_a_model_are_counted_by_model(world: World, run: Start, engine: Engine) -> None:
    world.serve("m")
    gateway = await run()
    asked = [asyncio.create_task(gateway.chat("m")) for _ in range(3)]
    await until(lambda: gateway.app.admission.waiting == 3)
    page = (await gateway.client.get("/metrics")).text
    assert 'sardeenz_gateway_waiting_calls{model="m",for="ready"} 3' in page
    world.change("m", engine)
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_a_queue_that_may_take_no_time_refuses_at_once(world: World, run: Start, engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("m", engine, max_concurrency=1, queue_seconds=0.0)
    gateway = await run()
    first = asyncio.create_task(gateway.chat("m"))
    await until(lambda: len(held) == 1)
    answer = await gateway.chat("m")  # would wait as long as any call may: longer than this test may take
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_timeout")
    assert not first.done()
    held.open()
    assert (await first).status_code == 200
