"""One call, one trace: what is in it, where it hangs, and what the engine is told of it."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from gateway.limits.limiter import UNLIMITED, KnownTeam
from gateway.otel.spans import Spans
from tests.gateway.conftest import KEY, World, known, until
from tests.gateway.engines import Engine, Exchange

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
ROOT = Path(__file__).resolve().parents[3]


class Traced:
    """What was traced."""

    def __init__(self, world: World, sampler: Sampler | None = None) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        world.open_tracing = lambda _: Spans(provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._kept.get_finished_spans()

    def of(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is kind]

    async def call(self) -> ReadableSpan:
        """The span of the one call, which may end a moment after its answer."""
        await until(lambda: bool(self.of(SpanKind.SERVER)))
        (span,) = self.of(SpanKind.SERVER)
        return span


@pytest.fixture
def traced(world: World) -> Traced:
    return Traced(world)


def facts(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> str:
    context = span.get_span_context()
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"


def parent(span: ReadableSpan) -> str | None:
    return format_span_id(span.parent.span_id) if span.parent else None


def inside(span: ReadableSpan, call: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == call.get_span_context().span_id


async def hang_up(exchange: Exchange) -> None:
    exchange.writer.close()


async def stream(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.chunk(b'data: {"choices":[{"delta":{"content":"a secret answer"}}]}\n\n')
    await exchange.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n')
    await exchange.chunk(b"data: [DONE]\n\n")
    await exchange.chunk(b"")


async def test_a_call_hangs_below_its_caller_and_the_engine_below_the_attempt(
    world: World, run, engine: Engine, traced: Traced
) -> None:
    world.serve("m", engine)
    gateway = await run()
    gateway.client.headers.update({"traceparent": TRACEPARENT, "tracestate": "vendor=1,other=2"})
    assert (await gateway.chat("m")).status_code == 200
    call = await traced.call()
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert (format_trace_id(call.get_span_context().trace_id), parent(call)) == (TRACE, CALLER)
    assert inside(attempt, call)
    assert engine.seen[0].headers["traceparent"] == ids(attempt)
    assert engine.seen[0].headers["tracestate"] == "vendor=1,other=2"


async def test_what_a_call_says_of_itself(world: World, run, engine: Engine, traced: Traced) -> None:
    world.keys = [known(KEY, 7, team=KnownTeam(3, "blue", 1, 0, UNLIMITED))]
    world.serve("m", engine)
    world.alias("other-name", m=1)
    answer = await (await run()).chat("other-name")
    call = await traced.call()
    assert call.name == "chat other-name"
    assert facts(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "sardeenz",
        "gen_ai.request.model": "other-name",
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "sardeenz.deployment": "m",
        "sardeenz.replica": 10,
        "sardeenz.key_id": 7,
        "sardeenz.team": "blue",
        "sardeenz.request_id": answer.headers["x-request-id"],
        "sardeenz.wake_seconds": 0.0,
        "sardeenz.queue_seconds": 0.0,
        "sardeenz.outcome": "ok",
    }
    assert call.status.status_code is StatusCode.UNSET
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert attempt.name == "POST /v1/chat/completions"
    assert facts(attempt) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": engine.port,
        "sardeenz.deployment": "m",
        "sardeenz.replica": 10,
    }


async def test_a_stream_ends_with_its_last_byte_and_tells_of_its_first_token(
    world: World, run, engine: Engine, traced: Traced
) -> None:
    engine.behaviour = stream
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m", stream=True)).status_code == 200
    call = await traced.call()
    (event,) = call.events
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert event.name == "first token"
    assert call.start_time <= attempt.start_time <= event.timestamp <= attempt.end_time <= call.end_time
    found = facts(call)
    assert (found["gen_ai.request.stream"], found["gen_ai.usage.output_tokens"]) == (True, 2)
    assert 0 < found["sardeenz.ttft_seconds"] <= (call.end_time - call.start_time) / 1e9


async def test_neither_prompts_nor_answers_nor_keys_are_in_a_span(
    world: World, run, engine: Engine, traced: Traced
) -> None:
    engine.behaviour = stream
    world.serve("m", engine)
    gateway = await run()
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"a secret question"}]}'
    client = await gateway.open(body, path="/v1/chat/completions?api_key=a-secret-key")
    await client.until(b"0\r\n\r\n")
    await traced.call()
    text = "".join(span.to_json() for span in traced.spans)
    assert "secret" not in text
    assert KEY not in text
    assert "engine-key" not in text


async def test_each_attempt_is_a_span(world: World, run, engine: Engine, traced: Traced) -> None:
    engine.behaviours = [hang_up]
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    call = await traced.call()
    first, second = traced.of(SpanKind.CLIENT)
    assert facts(first)["error.type"] == "engine_unreachable"
    assert first.status.status_code is StatusCode.ERROR
    assert "http.request.resend_count" not in facts(first)
    assert facts(second)["http.request.resend_count"] == 1
    assert second.status.status_code is StatusCode.UNSET
    assert [seen.headers["traceparent"] for seen in engine.seen] == [ids(first), ids(second)]
    assert facts(call)["sardeenz.outcome"] == "ok"


async def test_a_fallback_shows_both_deployments(
    world: World, run, engine: Engine, other_engine: Engine, traced: Traced
) -> None:
    engine.behaviour = lambda exchange: exchange.answer(b"{}", 503)
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    call = await traced.call()
    attempts = [facts(span) for span in traced.of(SpanKind.CLIENT)]
    assert [found["sardeenz.deployment"] for found in attempts] == ["first", "second"]
    assert (attempts[0]["http.response.status_code"], attempts[0]["error.type"]) == (503, "engine_failed")
    assert facts(call)["sardeenz.deployment"] == facts(call)["gen_ai.response.model"] == "second"


async def test_our_failure_is_an_error_with_its_code(world: World, run, engine: Engine, traced: Traced) -> None:
    engine.behaviour = hang_up
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 502
    call = await traced.call()
    assert facts(call)["error.type"] == facts(call)["sardeenz.outcome"] == "engine_unreachable"
    assert facts(call)["http.response.status_code"] == 502
    assert call.status.status_code is StatusCode.ERROR


async def test_the_callers_mistake_is_no_error_of_the_gateway(
    world: World, run, engine: Engine, traced: Traced
) -> None:
    engine.behaviour = lambda exchange: exchange.answer(b"{}", 400)
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 400
    call = await traced.call()
    assert (facts(call)["error.type"], call.status.status_code) == ("engine_refused", StatusCode.UNSET)
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert (facts(attempt)["error.type"], attempt.status.status_code) == ("400", StatusCode.ERROR)


async def test_a_model_that_does_not_exist_names_no_span(world: World, run, traced: Traced) -> None:
    gateway = await run()
    assert (await gateway.chat("x" * 5000)).status_code == 404
    call = await traced.call()
    assert call.name == "chat"
    assert facts(call)["error.type"] == "model_not_found"
    assert facts(call)["gen_ai.request.model"] == "x" * 200


async def test_the_wait_for_a_model_is_a_span(world: World, run, engine: Engine, traced: Traced) -> None:
    world.serve("m")
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: bool(world.wakes))
    world.change("m", engine)
    assert (await waiter).status_code == 200
    call = await traced.call()
    (wait,) = traced.of(SpanKind.INTERNAL)
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert wait.name == "wait for model"
    assert inside(wait, call)
    assert call.start_time <= wait.start_time < wait.end_time <= attempt.start_time
    assert facts(call)["sardeenz.wake_seconds"] > 0


async def test_the_wait_for_a_place_is_a_span(world: World, run, engine: Engine, traced: Traced) -> None:
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.answer(b"{}")

    engine.behaviours = [slow]
    world.serve("m", engine, max_concurrency=1)
    gateway = await run()
    first = asyncio.create_task(gateway.chat("m"))
    await engine.arrived.wait()
    second = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(first, second)] == [200, 200]
    await until(lambda: len(traced.of(SpanKind.SERVER)) == 2)
    (wait,) = traced.of(SpanKind.INTERNAL)
    assert wait.name == "wait for seat"
    (waited,) = [call for call in traced.of(SpanKind.SERVER) if inside(wait, call)]
    assert facts(waited)["sardeenz.queue_seconds"] > 0


async def test_a_wait_in_vain_says_why(world: World, run, traced: Traced) -> None:
    world.serve("m")
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: bool(world.wakes))
    world.change("m", state="stopped")
    assert (await waiter).status_code == 503
    call = await traced.call()
    (wait,) = traced.of(SpanKind.INTERNAL)
    assert facts(wait)["error.type"] == facts(call)["error.type"] == "model_stopped"
    assert traced.of(SpanKind.CLIENT) == []


async def test_a_client_that_leaves_cancels_its_spans(world: World, run, engine: Engine, traced: Traced) -> None:
    engine.behaviour = Exchange.until_hung_up
    world.serve("m", engine)
    gateway = await run()
    client = await gateway.open(b'{"model":"m"}')
    await engine.arrived.wait()
    await client.leave()
    call = await traced.call()
    (attempt,) = traced.of(SpanKind.CLIENT)
    for span in (call, attempt):
        assert facts(span)["sardeenz.outcome"] == "cancelled"
        assert "error.type" not in facts(span)
        assert span.status.status_code is StatusCode.UNSET
    assert "http.response.status_code" not in facts(call)


async def test_a_stored_response_is_traced_by_its_path(world: World, run, engine: Engine, traced: Traced) -> None:
    engine.behaviour = lambda exchange: exchange.answer(b'{"id":"resp_1","usage":{"input_tokens":7}}')
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.client.post("/v1/responses", json={"model": "m", "input": "hi"})).status_code == 200
    assert (await gateway.client.get("/v1/responses/resp_1")).status_code == 200
    await until(lambda: len(traced.of(SpanKind.SERVER)) == 2)
    made, asked = traced.of(SpanKind.SERVER)
    assert (made.name, asked.name) == ("chat m", "stored_response m")
    assert (facts(asked)["http.request.method"], facts(asked)["url.path"]) == ("GET", "/v1/responses/resp_1")
    assert facts(made)["gen_ai.usage.input_tokens"] == 7
    assert "gen_ai.usage.input_tokens" not in facts(asked)  # it would be counted twice
    assert traced.of(SpanKind.CLIENT)[-1].name == "GET /v1/responses/{id}"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)], ids=["never", "as the caller"])
async def test_what_is_not_sampled_leaves_no_span_and_says_so_to_the_engine(
    world: World, run, engine: Engine, sampler: Sampler
) -> None:
    traced = Traced(world, sampler)
    engine.behaviours = [hang_up]
    world.serve("m", engine)
    gateway = await run()
    gateway.client.headers.update({"traceparent": f"00-{TRACE}-{CALLER}-00", "tracestate": "vendor=1"})
    assert (await gateway.chat("m")).status_code == 200
    await until(lambda: gateway.leases() == 0)
    assert traced.spans == ()
    for seen in engine.seen:
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", seen.headers["traceparent"])
        assert seen.headers["tracestate"] == "vendor=1"
    assert len(engine.seen) == 2


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        f"00-{TRACE}-{CALLER}",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE.upper()}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}-01-more",
        "00-" + "4" * 4000,
    ],
    ids=lambda given: given[:12],
)
async def test_a_malformed_traceparent_begins_a_new_trace(
    world: World, run, engine: Engine, traced: Traced, given: str
) -> None:
    world.serve("m", engine)
    gateway = await run()
    gateway.client.headers.update({"traceparent": given, "tracestate": "vendor=1"})
    assert (await gateway.chat("m")).status_code == 200
    call = await traced.call()
    (attempt,) = traced.of(SpanKind.CLIENT)
    assert call.parent is None
    assert engine.seen[0].headers["traceparent"] == ids(attempt)
    assert format_trace_id(call.get_span_context().trace_id) != TRACE
    assert "tracestate" not in engine.seen[0].headers


async def test_without_tracing_the_callers_headers_pass_as_they_came(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    gateway.client.headers.update({"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
    assert (await gateway.chat("m")).status_code == 200
    assert gateway.app.tracing is None
    assert engine.seen[0].headers["traceparent"] == TRACEPARENT
    assert engine.seen[0].headers["tracestate"] == "vendor=1"


def test_without_tracing_nothing_that_traces_is_imported() -> None:
    code = (
        "import sys, sardeenz.asgi\nfrom gateway import tracing\nprint(tracing.from_environment('id'))\n"
        "makers = {'gateway.otel.spans', 'gateway.otel.export', 'opentelemetry.sdk.trace', 'opentelemetry.exporter'}\n"
        "print(makers & {*sys.modules})"
    )
    environment = {"SARDEENZ_SECRET_KEY": "x", "SARDEENZ_DATABASE_URL": "postgresql://nobody@127.0.0.1/x"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "None\nset()\n"
