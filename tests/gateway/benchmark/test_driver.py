"""Calls over real sockets, against an engine that does as it is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.benchmark.load.bodies import PATHS, Bodies
from gateway.benchmark.load.connection import Address
from gateway.benchmark.load.driver import Course, Driver
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Arrival, Lengths, Moment, Plan, Slo, Stream
from tests.gateway.engines import Engine, Exchange


def event(total: int, text: str = "a") -> bytes:
    said = {
        "choices": [{"index": 0, "delta": {"content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": total},
    }
    return b"data: " + json.dumps(said).encode() + b"\n\n"


async def two_tokens(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(event(1))
    await exchange.chunk(event(2) + b"data: [DONE]\n\n")
    await exchange.chunk(b"")


async def never(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(event(1))
    await exchange.until_hung_up()


async def breaks(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(event(1))
    exchange.writer.close()


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    found = await Engine(two_tokens).start()
    yield found
    await found.stop()


def course(engine: Engine, stream: Stream, **more: Any) -> Course:
    address = Address(engine.url, "a-key", PATHS[stream.kind])
    return Course(stream, address, Bodies(stream, "a-model", "1"), Ledger(stream.slo), "1", **more)


async def ran(plan: Plan, *courses: Course) -> dict[str, Any]:
    await Driver(plan, list(courses)).run()
    return dict(courses[0].ledger.figures())


async def test_an_open_loop_asks_for_what_the_plan_says(engine: Engine) -> None:
    stream = Stream("a", Arrival("constant", rate=200.0), Lengths(tokens=9), Lengths(tokens=2), slo=Slo(ttft_seconds=9))
    found = await ran(Plan((stream,), calls=12), course(engine, stream))
    assert (found["calls"], found["ok"], found["completion_tokens"], found["prompt_tokens"]) == (12, 12, 24, 36)
    assert found["goodput_ratio"] == 1.0
    asked = [json.loads(seen.body) for seen in engine.seen]
    assert {(one["model"], one["max_tokens"], one["min_tokens"], one["ignore_eos"]) for one in asked} == {
        ("a-model", 2, 2, True)
    }
    assert {len(one["messages"][0]["content"].split()) for one in asked} == {9}
    assert len({one["messages"][0]["content"] for one in asked}) == 12
    assert engine.seen[0].headers["authorization"] == "Bearer a-key"


async def test_a_closed_loop_never_has_more_in_flight_than_callers(engine: Engine) -> None:
    under_way = most = 0

    async def counting(exchange: Exchange) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        await two_tokens(exchange)

    engine.behaviour = counting
    stream = Stream("a", Arrival("closed", concurrency=3))
    found = await ran(Plan((stream,), calls=30), course(engine, stream))
    assert (found["ok"], most, engine.connections) == (30, 3, 3)


async def test_a_stall_of_the_engine_shows_in_the_calls_that_came_meanwhile(engine: Engine) -> None:
    turn, asked = asyncio.Lock(), 0

    async def one_by_one(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        async with turn:
            if asked == 20:
                await asyncio.sleep(2.0)
            await two_tokens(exchange)

    engine.behaviour = one_by_one
    stream = Stream("a", Arrival("constant", rate=40.0))
    found = await ran(Plan((stream,), calls=100), course(engine, stream))
    assert found["ok"] == 100
    times = found["times"]["ttft"]
    # 80 calls came within the two seconds; the one that stalled has company up to nearly two seconds late.
    assert times["p99"] > 1.8
    assert times["p50"] > 0.5


async def test_a_stall_of_the_runner_is_response_time_and_no_service_time(engine: Engine) -> None:
    stream = Stream("a", Arrival("constant", rate=50.0))
    running = course(engine, stream)
    driving = asyncio.create_task(Driver(Plan((stream,), calls=50), [running]).run())
    await asyncio.sleep(0.2)
    time.sleep(0.5)
    await driving
    times = running.ledger.figures()["times"]
    assert times["send_lag"]["p90"] is not None
    assert times["send_lag"]["p90"] > 0.2
    assert (times["ttft"]["p90"] or 0) > (times["ttft_service"]["p90"] or 0) + 0.1


async def test_calls_of_the_warm_up_are_made_and_not_measured(engine: Engine) -> None:
    moments = tuple(Moment(number / 20, 3, 2) for number in range(10))
    stream = Stream("a", Arrival("trace", trace=moments))
    running = course(engine, stream)
    found = await ran(Plan((stream,), warmup_seconds=0.2), running)
    assert (found["calls"], running.codes["ok"], len(engine.seen)) == (6, 10, 10)


async def test_what_is_not_answered_in_time_is_cut_off_and_counted(engine: Engine) -> None:
    engine.behaviours = [two_tokens, never]
    engine.behaviour = never
    stream = Stream("a", Arrival("constant", rate=100.0))
    found = await ran(Plan((stream,), calls=3, drain_seconds=0.1), course(engine, stream))
    assert (found["calls"], found["ok"], found["failed"]) == (3, 1, {"cut_off": 2})
    assert found["times"]["e2e"]["never"] == 2
    for seen in engine.seen[1:]:
        await asyncio.wait_for(seen.hung_up.wait(), 5)


async def test_callers_of_a_closed_loop_stop_in_time_though_nobody_answers(engine: Engine) -> None:
    engine.behaviour = never
    stream = Stream("a", Arrival("closed", concurrency=2))
    found = await ran(Plan((stream,), seconds=0.2, drain_seconds=0.1), course(engine, stream))
    assert found["failed"] == {"cut_off": 2}


async def test_cancelled_it_leaves_no_load(engine: Engine) -> None:
    engine.behaviour = never
    stream = Stream("a", Arrival("constant", rate=100.0))
    running = course(engine, stream)
    driving = asyncio.create_task(Driver(Plan((stream,)), [running]).run())
    while len(engine.seen) < 5:
        await asyncio.sleep(0.01)
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    assert running.in_flight == 0
    count = len(engine.seen)
    for seen in engine.seen:
        await asyncio.wait_for(seen.hung_up.wait(), 5)
    await asyncio.sleep(0.1)
    assert len(engine.seen) == count


async def test_a_broken_stream_and_a_closed_port_are_told_apart(engine: Engine) -> None:
    engine.behaviour = breaks
    stream = Stream("a", Arrival("constant", rate=100.0))
    assert (await ran(Plan((stream,), calls=1), course(engine, stream)))["failed"] == {"connection_lost": 1}
    gone = course(engine, stream)
    gone.address = Address("http://127.0.0.1:1", "", PATHS["chat"])
    assert (await ran(Plan((stream,), calls=1), gone))["failed"] == {"not_connected": 1}


async def test_probes_go_on_as_long_as_there_is_load(engine: Engine) -> None:
    stream = Stream("a", Arrival("constant", rate=50.0))
    probing = Stream("b", Arrival("constant", rate=20.0), Lengths(tokens=1), Lengths(tokens=1))
    probe = course(engine, probing, role="probe")
    found = await ran(Plan((stream,), calls=25), course(engine, stream), probe)
    assert found["ok"] == 25
    assert probe.ledger.ok >= 5


async def test_embeddings_have_a_duration_and_no_first_token(engine: Engine) -> None:
    async def embed(exchange: Exchange) -> None:
        await exchange.answer(json.dumps({"data": [], "usage": {"prompt_tokens": 4}}).encode())

    engine.behaviour = embed
    stream = Stream("a", Arrival("constant", rate=100.0), kind="embeddings")
    found = await ran(Plan((stream,), calls=2), course(engine, stream))
    assert (found["ok"], found["prompt_tokens"], found["times"]["ttft"]["count"]) == (2, 8, 0)
    assert found["times"]["e2e"]["count"] == 2
