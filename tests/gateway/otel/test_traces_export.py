"""From the variables of the environment to a collector, and without one."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway import tracing
from gateway.otel import export
from sardeenz import checks, otel
from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange, Seen

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, world: World) -> Callable[..., None]:
    """Sets the variables a gateway of this test begins with."""
    monkeypatch.setenv("NO_PROXY", "*")
    world.open_tracing = tracing.from_environment

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


async def take(exchange: Exchange) -> None:
    """What a collector answers."""
    await exchange.answer(b"", content_type="application/x-protobuf")


def decoded(collector: Engine) -> tuple[dict[str, str], list[Span]]:
    """The resource's attributes, and the spans of all requests."""
    resource: dict[str, str] = {}
    spans: list[Span] = []
    for seen in collector.seen:
        for group in ExportTraceServiceRequest.FromString(seen.body).resource_spans:
            resource = {pair.key: pair.value.string_value for pair in group.resource.attributes}
            spans += [span for scope in group.scope_spans for span in scope.spans]
    return resource, spans


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


async def test_spans_reach_a_collector_at_the_end_of_the_process(
    world: World, run, engine: Engine, other_engine: Engine, environ
) -> None:
    other_engine.behaviour = take
    environ(
        OTEL_EXPORTER_OTLP_ENDPOINT=other_engine.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    await gateway.stop_accepting()
    seen: Seen = other_engine.seen[0]
    assert (seen.method, seen.path, seen.headers["x-tenant"]) == ("POST", "/v1/traces", "blue")
    assert seen.headers["content-type"] == "application/x-protobuf"
    resource, spans = decoded(other_engine)
    assert resource["service.name"] == "sardeenz-gateway"
    assert resource["service.instance.id"] == gateway.app.gateway_id
    assert resource["deployment.environment.name"] == "test"
    call, attempt = sorted(spans, key=lambda span: span.kind)
    assert (call.name, call.kind, attempt.kind) == ("chat m", Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert attempt.parent_span_id == call.span_id
    assert call.status.code == Status.STATUS_CODE_UNSET
    assert {pair.key: pair.value.int_value for pair in call.attributes}["gen_ai.usage.input_tokens"] == 7
    assert engine.seen[0].headers["traceparent"].split("-")[2] == attempt.span_id.hex()


async def test_the_environment_names_the_service_and_the_sampler(
    world: World, run, engine: Engine, other_engine: Engine, environ
) -> None:
    other_engine.behaviour = take
    environ(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{other_engine.url}/elsewhere",
        OTEL_SERVICE_NAME="front-door",
        OTEL_TRACES_SAMPLER="parentbased_always_off",
    )
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    gateway.client.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
    assert (await gateway.chat("m")).status_code == 200
    await gateway.stop_accepting()
    resource, spans = decoded(other_engine)
    assert resource["service.name"] == "front-door"
    assert other_engine.seen[0].path == "/elsewhere"
    assert {span.trace_id.hex() for span in spans} == {"a" * 32}


async def test_a_collector_that_is_away_is_logged_once_and_hurts_no_call(
    world: World, run, engine: Engine, other_engine: Engine, environ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.outage")
    await other_engine.stop()
    environ(
        OTEL_EXPORTER_OTLP_ENDPOINT=other_engine.url, OTEL_EXPORTER_OTLP_TIMEOUT="0.5", OTEL_BSP_SCHEDULE_DELAY="10"
    )
    world.serve("m", engine)
    gateway = await run()
    outage = gateway.app.tracing.outage
    for times in range(1, 4):
        assert (await gateway.chat("m")).status_code == 200
        await until(lambda times=times: outage.times >= times)
    assert len(lines(caplog, "exporting traces failed")) == 1
    assert lines(caplog, "batch") == lines(caplog, "exporting traces failed")
    other_engine.behaviour = take
    await other_engine.start()
    assert (await gateway.chat("m")).status_code == 200
    await until(lambda: bool(other_engine.seen))
    await until(lambda: not outage.lasting)
    assert len(lines(caplog, "exporting traces works again")) == 1
    assert 'faults_total{what="exporting traces"}' in (await gateway.client.get("/metrics")).text


async def test_a_collector_that_does_not_answer_holds_up_neither_calls_nor_the_end(
    world: World,
    run,
    engine: Engine,
    other_engine: Engine,
    environ,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "END_SECONDS", 0.05)
    answer = asyncio.Event()
    other_engine.behaviour = lambda _: answer.wait()
    environ(
        OTEL_EXPORTER_OTLP_ENDPOINT=other_engine.url,
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_BSP_MAX_QUEUE_SIZE="4",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2",
    )
    world.serve("m", engine)
    gateway = await run()
    for _ in range(20):
        assert (await gateway.chat("m")).status_code == 200
    await gateway.stop_accepting()
    assert not answer.is_set()
    assert len(other_engine.seen) == 1
    assert len(lines(caplog, "Queue full")) == 1
    assert len(lines(caplog, "the last traces were not sent")) == 1
    assert logging.getLogger("opentelemetry").propagate


async def test_what_callers_send_is_no_outage(
    world: World, run, engine: Engine, other_engine: Engine, environ, caplog: pytest.LogCaptureFixture
) -> None:
    other_engine.behaviour = take
    environ(OTEL_EXPORTER_OTLP_ENDPOINT=other_engine.url)
    world.serve("m", engine)
    gateway = await run()
    gateway.client.headers["traceparent"] = "00-" + "4" * 4000
    assert (await gateway.chat("m")).status_code == 200
    await gateway.stop_accepting()
    assert len(other_engine.seen) == 1
    assert gateway.app.tracing.outage.times == 0
    assert lines(caplog, "traceparent") == []


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["unset", "empty", "disabled", "no exporter"],
)
def test_off_unless_an_endpoint_is_set(variables: dict[str, str], environ, caplog: pytest.LogCaptureFixture) -> None:
    environ(**variables)
    assert tracing.from_environment("id") is None
    assert checks.traces(None) == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("variables", "hint"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT} must begin with http:// or https://"),
        ({ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc"),
    ],
    ids=["no scheme", "grpc"],
)
def test_variables_that_make_no_sense_are_said_and_lived_without(
    variables: dict[str, str], hint: str, environ, caplog: pytest.LogCaptureFixture
) -> None:
    environ(**variables)
    assert tracing.from_environment("id") is None
    assert len(lines(caplog, hint)) == 1
    (message,) = checks.traces(None)
    assert message.id == "sardeenz.W004"
    assert hint in str(message.hint)


def test_missing_packages_are_said_and_lived_without(
    environ, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otel, "PACKAGES", ("opentelemetry-sdk", "opentelemetry-that-is-not-there"))
    environ(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert tracing.from_environment("id") is None
    hint = "opentelemetry-that-is-not-there not installed: install `sardeenz[otel]`"
    assert lines(caplog, "not traced") == [f"calls are not traced: {hint}"]
    assert [message.hint for message in checks.traces(None)] == [hint]


async def test_a_variable_the_sdk_refuses_costs_the_traces_only(
    world: World, run, engine: Engine, environ, caplog: pytest.LogCaptureFixture
) -> None:
    environ(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", OTEL_BSP_MAX_QUEUE_SIZE="0")
    world.serve("m", engine)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    assert gateway.app.tracing is None
    assert len(lines(caplog, "calls are not traced")) == 1
