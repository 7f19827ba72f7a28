"""Success is more than a 200: an answer that says itself that it failed, or just stops, is recorded as what it is."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.limits.accounts import Quota
from gateway.metering.meter import DROPPED, Record
from gateway.wire.usage import NOTHING, Usage
from tests.gateway.behaviours import events, hang_up, status
from tests.gateway.conftest import KEY, LIMITS, World, known, until
from tests.gateway.engines import Behaviour, Engine, Exchange

WORD = b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5}}\n\n'
ERROR = b'data: {"error": {"message": "it failed", "type": "InternalServerError", "code": 500}}\n\n'
REFUSAL = ERROR.replace(b"500", b"400")
DONE = b"data: [DONE]\n\n"


def stream(*pieces: bytes, kind: str = "text/event-stream") -> Behaviour:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin_stream(kind)
        for piece in pieces:
            await exchange.chunk(piece)
        await exchange.chunk(b"")

    return answer


def whole(answer: object) -> Behaviour:
    return status(200, json.dumps(answer).encode())


async def cut(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(WORD)
    exchange.writer.close()


def calls(world: World) -> list[Record]:
    """What is recorded of calls, not of engines that were asked in vain."""
    return [each for each in world.usage if each.outcome != DROPPED]


async def outcome(world: World) -> str:
    await until(lambda: bool(calls(world)))
    [record] = calls(world)
    world.usage.clear()
    return record.outcome


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([WORD, ERROR, DONE], "engine_failed"),
        ([ERROR, DONE], "engine_failed"),
        ([REFUSAL, DONE], "engine_refused"),
        ([WORD, USAGE, DONE], "ok"),
    ],
)
async def test_an_error_inside_a_stream_passes_as_it_came_and_is_recorded(
    world: World, run, engine: Engine, pieces: list[bytes], code: str
) -> None:
    engine.behaviour = stream(*pieces)
    world.serve("m", engine)
    gateway = await run()
    answer = await gateway.chat("m", stream=True, stream_options={"include_usage": True})
    assert (answer.status_code, answer.content) == (200, b"".join(pieces))
    assert await outcome(world) == code
    page = (await gateway.client.get("/metrics")).text
    assert f'status="200",outcome="{code}"}} 1' in page


@pytest.mark.parametrize("more", [[], [DONE.rstrip()[:-3]]])
async def test_a_stream_that_just_stops_is_told_to_its_client_and_recorded(
    world: World, run, engine: Engine, more: list[bytes]
) -> None:
    engine.behaviour = stream(WORD, *more)
    world.serve("m", engine)
    client = await (await run()).open(b'{"model":"m","stream":true}')
    await client.head()
    text = await asyncio.wait_for(client.reader.read(), 10) if more else await client.until(b"\r\n0\r\n\r\n")
    assert b"half" in text
    assert (b"answer_incomplete" in text) == (not more)  # an event cannot follow half of another: the end is missing
    assert await outcome(world) == "answer_incomplete"


async def test_what_is_no_event_stream_needs_no_mark_at_its_end(world: World, run, engine: Engine) -> None:
    engine.behaviour = stream(b'{"choices":[],', b'"usage":{"prompt_tokens":7,"completion_tokens":5}}', kind="x/json")
    world.serve("m", engine)
    gateway = await run()
    for streamed in (True, False):
        await gateway.chat("m", stream=streamed)
        await until(lambda: bool(world.usage))
        record = world.usage.pop()
        assert (record.outcome, record.usage) == ("ok", Usage(7, 5))


async def test_a_whole_answer_that_is_an_error_is_recorded(world: World, run, engine: Engine) -> None:
    engine.behaviour = whole({"error": {"message": "no", "code": 500}})
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["message"]) == (200, "no")
    assert await outcome(world) == "engine_failed"


@pytest.mark.parametrize(
    "bad",
    [
        stream(ERROR, DONE),
        stream(b": a comment\n\n", ERROR[:30], ERROR[30:], DONE),
        stream(REFUSAL, DONE),
        stream(),
        stream(b": a comment\n\n"),
        stream(b'{"error": {"message": "no"}}', kind="application/json"),
    ],
)
async def test_a_stream_that_begins_with_an_error_is_answered_by_the_fallback(
    world: World, run, engine: Engine, other_engine: Engine, bad: Behaviour
) -> None:
    engine.behaviour, other_engine.behaviour = bad, events("whole")
    world.serve("one", engine)
    world.serve("two", other_engine)
    world.alias("a", one=1, two=0)
    answer = await (await run()).chat("a", stream=True)
    assert answer.status_code == 200
    assert b"whole" in answer.content
    assert b"error" not in answer.content
    await until(lambda: bool(calls(world)))
    assert [(each.outcome, each.served_name, each.usage) for each in calls(world)] == [("ok", "two", Usage(7, 5))]


async def test_a_whole_answer_that_is_an_error_sends_the_call_to_the_fallback(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = whole({"error": {"message": "no", "code": 500}})
    world.serve("one", engine)
    world.serve("two", other_engine)
    world.alias("a", one=1, two=0)
    assert (await (await run()).chat("a")).json()["id"] == "chatcmpl-1"
    assert await outcome(world) == "ok"


async def test_an_error_after_the_first_event_is_not_answered_twice(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = stream(WORD, ERROR, DONE)
    world.serve("one", engine)
    world.serve("two", other_engine)
    world.alias("a", one=1, two=0)
    answer = await (await run()).chat("a", stream=True)
    assert answer.content == WORD + ERROR + DONE
    assert not other_engine.seen
    assert await outcome(world) == "engine_failed"


@pytest.mark.parametrize(
    ("bad", "failures"), [(stream(WORD, ERROR, DONE), 3), (stream(WORD), 3), (stream(WORD, REFUSAL, DONE), 0)]
)
async def test_failures_inside_a_200_count_against_the_replica_and_refusals_do_not(
    world: World, run, engine: Engine, bad: Behaviour, failures: int
) -> None:
    engine.behaviour = bad
    world.serve("m", engine)
    gateway = await run()
    for _ in range(3):
        await gateway.chat("m", stream=True)
    [replica] = gateway.app.router.table.replicas.values()
    assert replica.health.failures == failures
    engine.behaviour = events("whole")
    await gateway.chat("m", stream=True)
    assert replica.health.failures == 0


@pytest.mark.parametrize("bad", [status(500), status(503), hang_up, cut, stream(WORD, ERROR, DONE), stream(WORD)])
@pytest.mark.parametrize("quota", [Quota(tokens_per_minute=5000), Quota(tokens_per_day=100)])
async def test_an_engines_failure_costs_no_tokens(
    world: World, run, engine: Engine, bad: Behaviour, quota: Quota
) -> None:
    world.keys = [known(KEY, 1, quota=quota)]
    engine.behaviour = bad
    world.serve("m", engine)
    gateway = await run()
    for _ in range(4):
        messages = [{"role": "user", "content": "x" * 16000}]
        answer = await gateway.chat("m", stream=bad is not hang_up, messages=messages)
        assert answer.status_code != 429, answer.text
    await until(lambda: len(calls(world)) == 4)
    assert {each.usage for each in calls(world)} == {Usage()}  # what it did use is not known


async def test_a_refused_connection_used_nothing(world: World, run, engine: Engine) -> None:
    world.limits = replace(LIMITS, quiet_seconds=0.3)
    world.serve("m", engine)
    await engine.stop()
    assert (await (await run()).chat("m")).status_code >= 500
    await until(lambda: bool(world.usage))
    assert world.usage[0].usage == NOTHING


async def test_a_call_that_was_left_is_no_part_of_a_budget_until_it_is_counted(
    world: World, run, engine: Engine
) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(WORD)
        await exchange.until_hung_up()

    world.keys = [known(KEY, 1, quota=Quota(tokens_per_day=1000))]
    engine.behaviour = endless
    world.serve("m", engine)
    gateway = await run()
    body = json.dumps({"model": "m", "stream": True, "x": "x" * 16000}).encode()
    for number in range(3):
        client = await gateway.open(body)
        await client.until(b"half")
        await client.leave()
        await until(lambda left=number + 1: len(world.usage) == left)
    assert {(each.outcome, each.usage) for each in world.usage} == {("cancelled", Usage())}


async def test_what_was_asked_of_an_engine_in_vain_makes_its_account_doubtful(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    world.serve("one", engine)
    world.serve("two", other_engine)
    world.alias("a", one=1, two=0)
    gateway = await run()
    for bad in (status(500), stream(ERROR, DONE), hang_up):
        engine.behaviour = bad
        await gateway.chat("a", stream=True)
        await until(lambda: len(world.usage) >= 2)
        said = {(each.replica_id, each.outcome) for each in world.usage}
        assert said == {(10, DROPPED), (20, "ok")}
        world.usage.clear()
    assert gateway.app.meter.dropped == 0
    await engine.stop()  # it gets no request at all
    await gateway.chat("a", stream=True)
    await until(lambda: bool(world.usage))
    assert {(each.replica_id, each.outcome) for each in world.usage} == {(20, "ok")}


@pytest.mark.parametrize(
    ("path", "body", "choices", "apart"),
    [
        ("/v1/chat/completions", {"n": 3}, 3, False),
        ("/v1/completions", {"n": 3, "use_beam_search": True}, 3, True),
        ("/v1/completions", {"use_beam_search": False}, 1, False),
        ("/v1/embeddings", {"n": 3, "use_beam_search": True}, 1, False),
        ("/v1/messages", {"n": 3}, 1, False),
        ("/v1/responses", {"n": 3}, 1, False),
    ],
)
async def test_only_where_several_answers_are_made_their_prompts_count_for_each(
    world: World, run, engine: Engine, path: str, body: dict[str, object], choices: int, apart: bool
) -> None:
    world.serve("m", engine)
    await (await run()).client.post(path, json={"model": "m", **body})
    await until(lambda: bool(world.usage))
    assert (world.usage[0].choices, world.usage[0].apart) == (choices, apart)


async def test_usage_on_every_piece_is_not_asked_for_in_the_callers_name(world: World, run, engine: Engine) -> None:
    engine.behaviour = events("a")
    world.serve("m", engine)
    gateway = await run()
    await gateway.chat("m", stream=True, stream_options={"continuous_usage_stats": True})
    assert json.loads(engine.seen[0].body)["stream_options"] == {
        "continuous_usage_stats": False,
        "include_usage": True,
    }
    asked = {"continuous_usage_stats": True, "include_usage": True}
    await gateway.chat("m", stream=True, stream_options=asked)
    assert json.loads(engine.seen[1].body)["stream_options"] == asked
