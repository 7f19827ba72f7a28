"""Which calls are captured, and what a capture tells of them; bytes go over real sockets."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from redis import ConnectionError as RedisAway

from gateway.capture import recorder
from gateway.capture.captured import Capture
from gateway.limits.limiter import KnownTeam, Quota
from gateway.wire import copies
from tests.gateway.conftest import KEY, World, known, until
from tests.gateway.engines import Engine, Exchange

SECRET = "sk-live-0123456789abcdefghijklmnop"


def soon() -> float:
    return time.time() + 60


async def captures(world: World, count: int = 1) -> list[Capture]:
    await until(lambda: len(world.captures) >= count)
    return world.captures


def event(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def streaming(*pieces: str) -> Any:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for piece in pieces:
            await exchange.chunk(event(content=piece))
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        await exchange.chunk(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    return answer


async def test_a_call_is_kept_with_what_became_of_it(world: World, run, engine: Engine) -> None:
    team = KnownTeam(3, "blue", 1, 0, Quota())
    world.keys += [known("k", 11, team=team)]
    world.serve("m", engine, capture_until=soon())
    headers = {
        "authorization": "Bearer k",
        "cookie": "session=abc",
        "x-api-key": SECRET,
        "user-agent": "tests/1 bob@example.com",
        "x-session-id": "s1",
        "traceparent": "00-1-2-01",
        "x-request-id": "req-1",
    }
    body = {"model": "m", "messages": [{"role": "user", "content": f"hello {SECRET}"}]}
    answer = await (await run()).client.post("/v1/chat/completions", json=body, headers=headers)
    [found] = await captures(world)
    assert (found.deployment, found.served_name, found.asked_name, found.key_id, found.team) == (1, "m", "m", 11, 3)
    assert (found.request_id, found.method, found.path) == ("req-1", "POST", "/v1/chat/completions")
    assert (found.stream, found.status, found.outcome, found.replica_id) == (False, 200, "ok", 10)
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (7, 3, 5)
    assert (found.queue_seconds, found.wake_seconds, found.ttft_seconds) == (0.0, 0.0, None)
    assert 0 < found.e2e_seconds < 30 and abs(found.at - time.time()) < 30
    assert found.headers == {
        "content-type": "application/json",
        "user-agent": "tests/1 [e-mail]",
        "x-session-id": "s1",
        "traceparent": "00-1-2-01",
    }
    assert json.loads(found.request) == body | {"messages": [{"role": "user", "content": "hello [redacted]"}]}
    assert found.request_bytes == len(answer.request.content)
    assert (json.loads(found.response), found.response_bytes) == (answer.json(), len(answer.content))


@pytest.mark.parametrize("until_when", [None, 1.0])
async def test_nothing_is_kept_unless_asked_for(world: World, run, engine: Engine, until_when: float | None) -> None:
    world.serve("m", engine, capture_until=until_when)
    world.serve("other", engine, capture_until=soon())
    gateway = await run()
    await gateway.chat("m")
    await gateway.chat("other")
    assert [found.served_name for found in await captures(world)] == ["other"]
    assert gateway.app.recorder.counts == {"kept": 1, "missed": 0, "dropped": 0}


async def test_a_stream_is_kept_as_one_text_without_what_was_split(world: World, run, engine: Engine) -> None:
    engine.behaviour = streaming("take ", SECRET[:5], SECRET[5:9], SECRET[9:], " and ", "go")
    world.serve("m", engine, capture_until=soon())
    answer = await (await run()).chat("m", stream=True)
    [found] = await captures(world)
    first = json.loads(found.response)
    assert first["choices"][0]["delta"]["content"] == "take [redacted] and go"
    assert "usage" not in first  # the client did not ask for it
    assert (found.stream, found.completion_tokens, found.response_bytes) == (True, 5, len(answer.content))
    assert found.ttft_seconds is not None


async def test_a_refusal_is_kept(world: World, run, engine: Engine) -> None:
    world.keys += [known("k", 11, quota=Quota(requests_per_minute=1))]
    world.serve("m", engine, capture_until=soon())
    world.serve("gone", state="stopped", capture_until=soon())
    gateway = await run()
    for _ in range(2):
        body = {"model": "m", "messages": []}
        await gateway.client.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer k"})
    await gateway.chat("gone")
    _, limited, stopped = await captures(world, 3)
    assert (limited.status, limited.outcome, limited.replica_id) == (429, "request_limit", None)
    assert json.loads(limited.response)["error"]["code"] == "request_limit"
    assert (stopped.status, stopped.outcome, stopped.deployment) == (503, "model_stopped", 2)
    assert "hi" in stopped.request


async def test_a_client_that_leaves_is_kept_with_what_it_got(world: World, run, engine: Engine) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(event(content="as far as this"))
        await exchange.until_hung_up()

    engine.behaviour = answer
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    socket = await gateway.open(b'{"model":"m","stream":true,"messages":[]}')
    await socket.until(b"as far as this")
    await socket.leave()
    [found] = await captures(world)
    assert (found.outcome, found.status) == ("cancelled", 200)
    assert "as far as this" in found.response


async def test_a_fallback_is_kept_by_the_last_that_captures(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.answer(b"{}", 500)

    engine.behaviour = fail
    world.serve("chat", engine, capture_until=soon())
    world.serve("backup", other_engine)
    world.alias("gpt-4", chat=1, backup=0)
    gateway = await run()
    await gateway.chat("gpt-4")
    [found] = await captures(world)
    assert (found.deployment, found.served_name, found.asked_name) == (1, "backup", "gpt-4")
    assert (found.status, found.outcome) == (200, "ok")
    world.change("backup", other_engine, capture_until=soon())
    await until(lambda: gateway.app.router.table.splits["backup"].captures)
    await gateway.chat("gpt-4")
    assert (await captures(world, 2))[1].deployment == 2


async def test_a_call_that_never_reached_what_captures_is_not_kept(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    world.serve("chat", engine)
    world.serve("backup", other_engine, capture_until=soon())
    world.alias("gpt-4", chat=1, backup=0)
    gateway = await run()
    await gateway.chat("gpt-4")
    await gateway.chat("backup")
    assert [found.asked_name for found in await captures(world)] == ["backup"]
    assert gateway.app.recorder.counts["missed"] == 0


async def test_while_redis_is_away_calls_go_on_and_the_latest_are_kept(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MOST_UNWRITTEN", 3)
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    world.redis_fault = RedisAway("away")
    for number in range(5):
        answer = await gateway.chat("m", user=f"call-{number}")
        assert answer.status_code == 200
    counts = gateway.app.recorder.counts
    await until(lambda: counts["dropped"] == 2 and gateway.app.recorder.outage.lasting)
    world.redis_fault = None
    found = await captures(world, 3)
    assert [json.loads(each.request)["user"] for each in found] == ["call-2", "call-3", "call-4"]
    await until(lambda: counts == {"kept": 3, "missed": 0, "dropped": 2})
    page = (await gateway.client.get("/metrics")).text
    assert 'sardeenz_gateway_captures_total{result="kept"} 3' in page
    assert 'sardeenz_gateway_captures_total{result="dropped"} 2' in page


async def test_only_so_many_are_copied_at_once(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MOST_CALLS", 2)
    gate = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.answer(b"{}")

    engine.behaviour = answer
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    calls = [asyncio.create_task(gateway.chat("m")) for _ in range(5)]
    await until(lambda: len(engine.seen) == 5)
    gate.set()
    assert [(await call).status_code for call in calls] == [200] * 5
    assert len(await captures(world, 2)) == 2
    assert gateway.app.recorder.counts["missed"] == 3
    await until(lambda: gateway.app.recorder._copying == 0)
    await gateway.chat("m")
    await captures(world, 3)


async def test_only_so_many_bytes_are_held(world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_BYTES", 300_000)

    async def answer(exchange: Exchange) -> None:
        size = 400_000 if b"long" in exchange.seen.body else 10
        await exchange.answer(json.dumps("x y " * (size // 4)).encode())

    engine.behaviour = answer
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    assert len((await gateway.chat("m", user="long")).content) > 400_000
    await gateway.chat("m", user="u " * 200_000)
    [found] = await captures(world)
    assert gateway.app.recorder.counts["missed"] == 1
    assert found.request_bytes > 400_000
    assert "bytes left out" in found.request
    assert len(found.request.encode()) <= 17_000
    await until(lambda: gateway.app.recorder._bytes == 0)


async def test_a_long_answer_keeps_both_its_ends(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "END_BYTES", 4096)
    words = [f"word-{number} " for number in range(1000)]
    engine.behaviour = streaming(*words)
    world.serve("m", engine, capture_until=soon())
    answer = await (await run()).chat("m", stream=True)
    [found] = await captures(world)
    assert found.response_bytes == len(answer.content) > 60_000
    assert "word-0 word-1 " in found.response
    assert "word-998 word-999" in found.response
    assert "word-500 " not in found.response


async def test_what_is_left_is_written_at_the_end(world: World, run, engine: Engine) -> None:
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    for _ in range(3):
        await gateway.chat("m")
    await gateway.stop_accepting()
    assert len(world.captures) == 3


async def test_a_call_that_is_redacted_as_the_process_ends_is_written_once(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, redact = threading.Event(), threading.Event(), recorder._captured

    def slowly_at_first(finished: recorder.Finished) -> tuple[Capture, float]:
        if not begun.is_set():
            begun.set()
            may_end.wait(20)
        return redact(finished)

    monkeypatch.setattr(recorder, "_captured", slowly_at_first)
    world.serve("m", engine, capture_until=soon())
    gateway = await run()
    await gateway.chat("m")
    await until(begun.is_set)
    await gateway.stop_accepting()  # the thread that redacts is still at it
    may_end.set()
    assert len(world.captures) == 1
    assert (gateway.app.recorder._copying, gateway.app.recorder._bytes) == (0, 0)


async def test_a_form_is_told_without_its_file(world: World, run, engine: Engine) -> None:
    world.serve("m", engine, capture_until=soon())
    files = {"file": ("a.wav", bytes(range(256)) * 100, "audio/wav")}
    form = {"model": "m", "api_key": "hunter2", "prompt": "listen"}
    await (await run()).client.post("/v1/audio/transcriptions", data=form, files=files)
    [found] = await captures(world)
    told = {"model": "m", "api_key": "[redacted]", "prompt": "listen", "file": "[audio/wav, 25600 bytes]"}
    assert json.loads(found.request) == told


async def test_the_key_is_nowhere(world: World, run, engine: Engine) -> None:
    world.serve("m", engine, capture_until=soon())
    await (await run()).chat("m", user=KEY)
    [found] = await captures(world)
    assert KEY not in str(found)
