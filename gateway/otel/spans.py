"""One call as OpenTelemetry spans: the call, its waits, and each attempt at an engine.

Names follow the semantic conventions for HTTP and for generative AI. What was asked, what was answered and keys are
not in them. Of a call that is not sampled nothing is kept: the engine is told so, and no more spans are made.
"""

import asyncio
import sys
import time
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.call import Call
from gateway.errors import InternalError
from gateway.metering.meter import FREE
from gateway.otel.export import Export, from_environment
from gateway.outage import Outage
from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route
from gateway.tracing import Attempt, Trace, Tracing
from gateway.wire.http import Request
from gateway.wire.usage import CHARGED, Usage
from sardeenz.errors import SardeenzError

NAME_LENGTH = 200
CANCELLED = "cancelled"
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/responses/{id}": "stored_response",
    "/v1/messages": "chat",
    "/v1/completions": "text_completion",
}
"""By path; elsewhere its last word."""

_propagator = TraceContextTextMapPropagator()


class Spans:
    """Begins the trace of each call."""

    def __init__(self, provider: TracerProvider, export: Export | None = None) -> None:
        self._tracer = provider.get_tracer("sardeenz.gateway")
        self._export = export
        self.outage = export.outage if export is not None else Outage("exporting traces")

    def trace(self, request: Request) -> Trace:
        """Of a new call. Takes the caller's trace headers out of the request: the engine gets ours, made from them."""
        return CallTrace(self._tracer, _callers(request.headers), request)

    async def end(self) -> None:
        """Send what is left, for a few seconds at most."""
        if self._export is not None:
            await self._export.end()


def open_tracing(gateway_id: str) -> Tracing:
    """As the `OTEL_*` variables want it. Raises ValueError where one of them makes no sense."""
    export = from_environment(gateway_id)
    return Spans(export.provider, export)


def _callers(headers: dict[bytes, bytes]) -> Context:
    """The caller's place in its trace; none where its `traceparent` is not one."""
    given = {
        name: value.decode("latin-1")
        for name in ("traceparent", "tracestate")
        if (value := headers.pop(name.encode(), None)) is not None
    }
    return _propagator.extract(given, Context()) if given else Context()


class CallTrace:
    """The spans of one call."""

    __slots__ = ("_attempts", "_context", "_ids", "_method", "_offset_ns", "_path", "_span", "_tracer", "_url_path")

    def __init__(self, tracer: Tracer, callers: Context, request: Request) -> None:
        self._tracer = tracer
        self._context = callers
        self._method = request.method.decode("latin-1")
        self._url_path = request.path
        self._path = ""
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._attempts = 0
        self._span: Span
        self._ids = b""

    def begin(self, call: Call) -> None:
        """The call is about to be answered."""
        self._path = call.request.endpoint.path
        operation, model = _operation(self._path), call.request.fields.model[:NAME_LENGTH]
        self._span = self._tracer.start_span(
            f"{operation} {model}",
            self._context,
            SpanKind.SERVER,
            {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": "sardeenz",
                "gen_ai.request.model": model,
                "gen_ai.request.stream": call.request.stream,
                "http.request.method": self._method,
                "http.route": self._path,
                "url.path": self._url_path,
            },
            start_time=self._wall_ns(call.clock.began),
        )
        self._context = set_span_in_context(self._span, Context())
        if not self._span.is_recording():
            self._ids = _lines(self._context)

    def waited(self, name: str, began: float) -> None:
        """A wait that began then has ended, by the exception that is being handled if there is one."""
        if self._span.is_recording():
            span = self._tracer.start_span(name, self._context, start_time=self._wall_ns(began))
            _finish(span, sys.exception())

    def attempt(self, route: Route, replica: RoutedReplica) -> Attempt:
        """An engine is about to be asked."""
        if not self._span.is_recording():
            return EngineSpan(None, self._ids)
        pool = replica.pool
        facts: dict[str, Any] = {
            "http.request.method": self._method,
            "server.address": pool.host,
            "server.port": pool.port,
            "sardeenz.deployment": route.row.deployment_name,
            "sardeenz.replica": replica.replica_id,
        }
        if self._attempts:
            facts["http.request.resend_count"] = self._attempts
        self._attempts += 1
        span = self._tracer.start_span(f"{self._method} {self._path}", self._context, SpanKind.CLIENT, facts)
        return EngineSpan(span, _lines(set_span_in_context(span, Context())))

    def end(self, call: Call) -> None:
        """The last byte has left, or none will."""
        span = self._span
        if not span.is_recording():
            return
        outcome, status = call.account.outcome, call.reply.status
        if outcome == "ok" and not call.reply.ended:
            outcome = InternalError.code
        if call.destination.route is None:  # nobody's model: its name is the caller's invention
            span.update_name(_operation(self._path))
        if call.account.tap.content_at is not None:
            span.add_event("first token", timestamp=self._wall_ns(call.account.tap.content_at))
        span.set_attributes(_facts(call, outcome))
        if outcome not in CHARGED:
            span.set_attribute("error.type", outcome)
            if not 400 <= status < 500:
                span.set_status(StatusCode.ERROR)
        span.end()

    def _wall_ns(self, monotonic: float) -> int:
        return int(monotonic * 1e9) + self._offset_ns


class EngineSpan:
    """One request to one engine. Without a span of its own it sends the ids of the call."""

    __slots__ = ("_span", "ids")

    def __init__(self, span: Span | None, ids: bytes) -> None:
        self._span = span
        self.ids = ids

    def end(self, status: int) -> None:
        """It has ended with this status or without any (0), by the exception that is being handled if there is one."""
        if self._span is not None:
            _finish(self._span, sys.exception(), status)


def _facts(call: Call, outcome: str) -> dict[str, Any]:
    """What is known of a call at its end; nothing that is not known."""
    route, replica, team = call.destination.route, call.destination.replica, call.key.team
    usage = Usage() if call.request.endpoint.path in FREE else call.usage
    ttft = call.account.tap.content_at - call.clock.began if call.account.tap.content_at is not None else None
    facts = {
        "http.response.status_code": call.reply.status or None,
        "gen_ai.response.model": route.served_name if route is not None and call.destination.leased else None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "sardeenz.deployment": route.row.deployment_name if route is not None else None,
        "sardeenz.replica": replica.replica_id if replica is not None else None,
        "sardeenz.key_id": call.key.id,
        "sardeenz.team": team.name if team is not None else None,
        "sardeenz.request_id": call.reply.request_id.decode("latin-1"),
        "sardeenz.wake_seconds": call.clock.wake_seconds,
        "sardeenz.queue_seconds": call.clock.queue_seconds,
        "sardeenz.ttft_seconds": ttft,
        "sardeenz.outcome": outcome,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _finish(span: Span, error: BaseException | None, status: int = 0) -> None:
    """End a span inside a call's. What ended because the client left has not failed."""
    if status:
        span.set_attribute("http.response.status_code", status)
    if isinstance(error, asyncio.CancelledError):
        span.set_attribute("sardeenz.outcome", CANCELLED)
    elif error is not None or status >= 400:
        span.set_attribute("error.type", str(status) if error is None else _code(error))
        span.set_status(StatusCode.ERROR)
    span.end()


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, SardeenzError) else InternalError.code


def _operation(path: str) -> str:
    return OPERATIONS.get(path) or path.rpartition("/")[2]


def _lines(context: Context) -> bytes:
    """The headers that tell an engine where in the trace it is."""
    headers: dict[str, str] = {}
    _propagator.inject(headers, context)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
