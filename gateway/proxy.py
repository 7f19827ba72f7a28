"""One call from its body to its last byte: lease, ask, relay, account. Bytes pass through; nothing is re-encoded."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway import envelopes
from gateway.admission import Admission
from gateway.envelopes import Headers
from gateway.metering import Meter, Record, Tap, Usage
from gateway.openai import Fields
from gateway.paths import Endpoint
from gateway.routing import Route, Router, Target
from gateway.upstream import Connection, Exchange, NothingAnswered
from models_app.errors import EngineRefused
from sardeenz.errors import EngineError, SardeenzError

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

REMEMBERED_RESPONSES = 10_000
ENGINE_ERROR_BYTES = 64 * 1024
EVENT_STREAM = b"text/event-stream"

_KEPT_BACK = frozenset(
    {
        b"connection",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
        b"x-request-id",
    }
)
"""Response headers that belong to one hop, or that we say ourselves."""


class ResponseBroken(Exception):
    """The answer had begun and cannot be completed: the connection to the client must end as visibly as it broke."""


class Reply:
    """What the client is told, in its dialect; knows how much of it has been said."""

    __slots__ = ("_send", "dialect", "held_open", "request_id", "started", "state", "status")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self.request_id = request_id
        self.dialect: envelopes.Dialect = "openai"
        self.state = b"ready"
        self.status = 0
        self.started = False
        self.held_open = False

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        headers.append((b"x-request-id", self.request_id))
        self.started = True
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes, *, more: bool) -> None:
        """Send a piece; returns when the client's connection has room for another."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(self, status: int, headers: Headers, data: bytes) -> None:
        """Send a complete answer."""
        headers.append((b"content-length", b"%d" % len(data)))
        await self.start(status, headers)
        await self.body(data, more=False)

    async def hold_open(self, route: Route) -> None:
        """Begin, or keep up, an event stream that has no event yet: comments are what proxies and SDKs let pass."""
        if not self.started:
            self.held_open = True
            self.state = route.state.encode("ascii", "replace")
            eta = [(b"x-sardeenz-eta-seconds", b"%d" % round(route.eta_seconds))] if route.eta_seconds else []
            await self.start(
                200,
                [
                    (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
                    (b"cache-control", b"no-cache"),
                    (b"x-accel-buffering", b"no"),
                    (b"x-sardeenz-state", self.state),
                    *eta,
                ],
            )
        await self.body(b": waiting for the model, it is %s\n\n" % route.state.encode(), more=True)

    async def refuse(self, error: SardeenzError) -> None:
        """Tell the error: as a body, or as an event where a stream was already held open."""
        if not self.started:
            data = envelopes.body(error, self.dialect, self.request_id.decode())
            await self.whole(error.status, envelopes.headers(error), data)
        elif self.held_open:
            await self.body(envelopes.event(error, self.dialect, self.request_id.decode()), more=False)
        else:
            raise ResponseBroken(error.code) from error


class Call:
    """One request on its way."""

    __slots__ = (
        "began",
        "body",
        "endpoint",
        "head",
        "key_id",
        "leased",
        "marker",
        "method",
        "outcome",
        "path",
        "pinned",
        "replica_id",
        "reply",
        "served_name",
        "size_bytes",
        "stream",
        "tap",
    )

    def __init__(self, endpoint: Endpoint, fields: Fields, body: bytes, head: bytes, reply: Reply, key_id: int) -> None:
        self.endpoint = endpoint
        self.served_name = fields.model
        self.stream = fields.stream
        self.body = body
        self.size_bytes = len(body)
        self.head = head
        self.reply = reply
        self.key_id = key_id
        self.method = b"POST"
        self.path: bytes | None = None
        self.pinned = False
        self.marker: str | None = None
        self.began = time.monotonic()
        self.leased: float | None = None
        self.replica_id: int | None = None
        self.outcome = "ok"
        self.tap = Tap()

    @property
    def streams_events(self) -> bool:
        """Whether the answer is to be an event stream."""
        return self.stream and not self.endpoint.multipart

    async def still_waiting(self, route: Route) -> None:
        """Admission's word that the wait goes on: only a stream can be told so without lying about the status."""
        if self.streams_events:
            await self.reply.hold_open(route)
        elif not self.reply.started:
            self.reply.state = route.state.encode("ascii", "replace")

    def lines(self, target: Target) -> bytes:
        """The head of the request to this replica's engine."""
        first = target.post_head(self.endpoint) if self.path is None else target.head(self.method, self.path)
        return first + self.head


class Proxy:
    """Carries calls."""

    def __init__(self, router: Router, admission: Admission, meter: Meter) -> None:
        self._router = router
        self._admission = admission
        self._meter = meter
        self._stored: OrderedDict[str, str] = OrderedDict()

    def replica_of(self, response_id: str | None) -> str | None:
        """The marker of the replica that made a stored response, as far as this process remembers."""
        return self._stored.get(response_id) if response_id else None

    async def carry(self, call: Call) -> None:
        """Answer one call; whatever happens is told to the client and accounted."""
        route = self._router.table.by_name.get(call.served_name)
        if route is not None and not route.targets:
            call.reply.state = route.state.encode("ascii", "replace")
        try:
            await self._exchange(call)
        except SardeenzError as error:
            call.outcome = error.code
            await call.reply.refuse(error)
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        finally:
            if route is not None:
                self._meter.note(_record(call))

    async def _exchange(self, call: Call) -> None:
        """Ask one replica; if the connection ends before the first byte, ask once more, elsewhere where possible."""
        failed: Target | None = None
        while True:
            async with self._admission.admit(call, avoid=failed) as target:
                call.leased = call.leased or time.monotonic()
                call.replica_id = target.replica_id
                try:
                    async with Exchange(target.pool, call.lines(target), call.body, fresh=failed is not None) as answer:
                        await self._relay(call, target, answer)
                        return
                except NothingAnswered:
                    self._router.look_again()
                    if failed is not None:
                        raise
                    failed = target

    async def _relay(self, call: Call, target: Target, answer: Connection) -> None:
        reply, tap, stream = call.reply, call.tap, call.stream
        if answer.status >= 400:
            call.outcome = EngineRefused.code
            if answer.status == 401:  # between us and the engine; the caller's key was good
                raise EngineRefused("the engine refused the gateway's key", status=401)
        if reply.started:
            if answer.status != 200:
                await self._late_refusal(call, answer)
                return
        else:
            await reply.start(answer.status, _headers(answer.headers, reply.state))
        while True:
            data = await self._next(call, answer)
            tap.see(data, stream=stream)
            if answer.drained:
                break
            await reply.body(data, more=True)
        # Remember before the last byte leaves: the client may ask for the response at once.
        if call.endpoint.stored and call.path is None:
            self._remember(tap.response_id(), target.marker)
        await reply.body(data, more=False)

    async def _next(self, call: Call, answer: Connection) -> bytes:
        """More of the answer. A stream that breaks between two events can still say why."""
        try:
            return await answer.read()
        except EngineError:
            call.reply.held_open = call.streams_events and answer.status == 200 and call.tap.between_events
            raise

    async def _late_refusal(self, call: Call, answer: Connection) -> None:
        """The engine refused after 200 was said: its own words, as an event."""
        body = b""
        while (data := await answer.read()) and len(body) < ENGINE_ERROR_BYTES:
            body += data
        prefix = b"event: error\n" if call.endpoint.dialect == "anthropic" else b""
        await call.reply.body(prefix + b"data: " + b" ".join(body.splitlines()) + b"\n\n", more=False)

    def _remember(self, response_id: str | None, marker: str) -> None:
        if response_id is not None:
            self._stored[response_id] = marker
            if len(self._stored) > REMEMBERED_RESPONSES:
                self._stored.popitem(last=False)


def _headers(given: Headers, state: bytes) -> Headers:
    kept = [(name, value) for name, value in given if name not in _KEPT_BACK]
    kept.append((b"x-sardeenz-state", state))
    return kept


def _record(call: Call) -> Record:
    now = time.monotonic()
    content_at = call.tap.content_at
    return Record(
        key_id=call.key_id,
        served_name=call.served_name,
        path=call.endpoint.path,
        replica_id=call.replica_id,
        status=call.reply.status,
        outcome=call.outcome,
        stream=call.stream,
        usage=call.tap.usage() if call.leased else Usage(),
        wake_seconds=(call.leased or now) - call.began,
        queue_seconds=0.0,
        ttft_seconds=content_at - call.began if content_at else None,
        e2e_seconds=now - call.began,
        at=time.time(),
    )
