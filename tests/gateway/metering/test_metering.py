"""What a call used is read from the end of its answer, and written later, in batches."""

import asyncio
import time

import msgspec
import pytest
from django.db import DataError

from gateway.metering import meter as metering
from gateway.metering.meter import DROPPED, Meter, Record
from gateway.wire.usage import NOTHING, Usage
from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"delta":{"content":"He said \\"usage\\": {}"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


def record(**changes: object) -> Record:
    given = Record(1, "m", "/v1/completions", 1, 200, "ok", False, Usage(), 0.0, 0.0, None, 0.1, 0.0)
    return msgspec.structs.replace(given, **changes)


async def test_a_stream_is_accounted_with_tokens_and_first_content(world: World, run, engine: Engine) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for chunk in (ROLE, WORD, WORD, USAGE, DONE, b""):
            await exchange.chunk(chunk)

    engine.behaviour = talk
    world.serve("m", engine)
    gateway = await run()
    await gateway.chat("m", stream=True)
    await until(lambda: bool(world.usage))
    (used,) = world.usage
    assert used.usage == Usage(7, 5, None)
    assert (used.key_id, used.served_name, used.replica_id, used.outcome) == (1, "m", 10, "ok")
    assert used.stream
    assert used.ttft_seconds is not None
    assert used.wake_seconds <= used.ttft_seconds <= used.e2e_seconds


async def test_a_whole_answer_is_accounted(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    await (await run()).chat("m")
    await until(lambda: bool(world.usage))
    assert world.usage[0].usage == Usage(7, 5, 3)
    assert world.usage[0].ttft_seconds is None


async def test_who_leaves_without_reading_the_answer_was_answered(world: World, run, engine: Engine) -> None:
    """The engine made it and it was sent: whether anybody looked at it nobody can know."""
    world.serve("m", engine)
    gateway = await run()
    for after in (0.0, 0.05):
        client = await gateway.open(b'{"model":"m"}')
        await client.reader.read(1)
        await asyncio.sleep(after)
        await client.leave()
        await until(lambda: bool(world.usage))
        used = world.usage.pop()
        assert (used.outcome, used.usage) == ("ok", Usage(7, 5, 3))


async def test_records_are_kept_while_the_database_is_away_and_dropped_only_beyond_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metering, "KEPT_RECORDS", 3)
    away, written = True, []

    async def write(records) -> None:
        if away:
            raise OSError("away")
        written.extend(records)

    meter = Meter(write)
    for number in range(5):
        meter.note(record(status=200 + number, at=1000.0 + number, e2e_seconds=10.0))
    await meter.flush()
    assert (written, meter.dropped, meter.written_until) == ([], 2, 990.0)
    away = False
    before = time.time()
    await meter.flush()
    assert [(kept.status, kept.outcome) for kept in written] == [(200, "ok"), (201, "ok"), (202, "ok"), (204, DROPPED)]
    assert before <= meter.written_until <= time.time()


async def test_refused_records_are_counted_and_their_engines_named() -> None:
    tried: list[list[str]] = []

    async def write(records) -> None:
        tried.append([each.outcome for each in records])
        if records[0].outcome != DROPPED:
            raise DataError("a number out of range")

    meter = Meter(write)
    for replica_id in (1, 1, 2, None):
        meter.note(record(replica_id=replica_id))
    await meter.flush()
    await meter.flush()
    assert tried == [["ok"] * 4, [DROPPED] * 2]
    assert meter.dropped == 4


async def test_a_stored_response_that_is_read_again_uses_nothing() -> None:
    written: list[Record] = []

    async def write(records) -> None:
        written.extend(records)

    meter = Meter(write)
    meter.note(record(path="/v1/responses/{id}", usage=Usage(7, 5)))
    meter.note(record(path="/v1/tokenize"))
    await meter.flush()
    assert [kept.usage for kept in written] == [NOTHING, NOTHING]
    assert meter.tallies["m"].prompt == 0


async def test_what_is_written_waits_for_the_call_that_began_first() -> None:
    meter = Meter(None)  # type: ignore[arg-type]
    before = time.time()
    assert before <= meter.written_until <= time.time()
    meter.note(record(at=100.0, e2e_seconds=1.0))
    meter.note(record(at=101.0, e2e_seconds=60.0))
    assert meter.written_until == 41.0
