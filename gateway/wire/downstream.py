"""HTTP/1.1 towards clients: uvicorn's protocol hook, so that a request costs a parse, a task and a write.

Not ASGI, because scope, receive, send and their messages cost as much again as all the rest of a call, and because only
who holds the connection can end one that sends too slowly, or does not read its answer.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools

from gateway.errors import BadRequest, BodyTooLarge, HeadTooLarge, InternalError, RequestTimeout, WaitLimit
from gateway.wire.http import Reply, Request
from sardeenz import request_ids, sizes
from sardeenz.errors import SardeenzError

KEEP_SECONDS = 75.0
LINGER_SECONDS = 2.0
PROBE_SECONDS = 0.05
"""After a first word to a client that has closed its sending side, until a second shows whether it has left."""
HEAD_BYTES = 64 * 1024
EARLY_BYTES = 64 * 1024  # a body larger than this is not waited for before the key is looked at
SLOWEST_BYTES_PER_SECOND = 64 * 1024

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Bounds:
    """What clients may ask of one gateway process. `held_bytes` is what their unfinished bodies take now."""

    body_bytes: int
    bodies_bytes: int
    slow_seconds: float
    held_bytes: int = 0


class Service(Protocol):
    """A Service answers the requests of all connections; the gateway's server is the Service in use."""

    bounds: Bounds
    clients: "set[Client]"

    async def serve(self, request: "Request", reply: "Reply") -> None:
        """Answer one request, or leave the reply unfinished by ResponseBroken."""

    def new_request_id(self) -> bytes:
        """For a request that brings none."""


def _nowhere(_: bytes) -> None:
    """This function drops what is written before the client has connected or after the client has left."""


class Client(asyncio.Protocol):
    """One client's connection. Requests are served one at a time, each in a task that ends when the client leaves."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._server = server_state
        self._service: Service = app_state["service"]
        self._bounds = self._service.bounds
        self._loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._since = self._loop.time()
        self._given: Any = None
        self._closing = b""
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._reading: Request | None = None
        self._serving: asyncio.Task[None] | None = None
        self._reply: Reply | None = None
        self._next: deque[Request] = deque()
        self._spoilt: SardeenzError | None = None
        self._discarding = False
        self._gone = False
        self._half_closed = False
        self._half_closed_at = self._probe_at = 0.0
        self._second_probe: asyncio.TimerHandle | None = None
        self._stalled: tuple[int, float] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.write: Callable[[bytes], None] = _nowhere
        """Send bytes; they wait in memory while the client does not take them, so look at `full`."""
        self.full = False
        self.keep = True
        self.speaks_chunks = True

    # --- what a reply does --------------------------------------------------------------------------------------
    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent."""
        while self.full and not self._gone:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def closing_lines(self) -> bytes:
        """The end of every head: the date, and whether this is the last answer here."""
        given = self._server.default_headers
        if given is not self._given:  # a new list each second
            self._given = given
            self._closing = b"".join([b"%b: %b\r\n" % pair for pair in given]) + b"\r\n"
        return self._closing if self.keep else b"connection: close\r\n" + self._closing

    def abandon(self) -> None:
        """End the task that serves the request, as when the client has left."""
        if self._serving is not None:
            self._serving.cancel()

    # --- asyncio's protocol -------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write  # bound once: a stream calls it for every piece
        self._server.connections.add(self)
        self._service.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self.write = _nowhere
        self._server.connections.discard(self)
        self._service.clients.discard(self)
        self._next.clear()
        if self._second_probe is not None:
            self._second_probe.cancel()
        if self._reading is not None:
            self._release(self._reading)
        if self._serving is not None:
            self._serving.cancel()
            # One that had not begun yet never reaches its own `finally`.
            self._serving.add_done_callback(self._server.tasks.discard)
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client sends nothing more. Whether it still reads, only an answer to something that is sent can tell."""
        reply = self._reply
        if self._serving is None or self._reading is not None or reply is None:
            return False
        if not reply.ended and not reply.probe():
            return False
        self._half_closed = True
        self._half_closed_at = self._loop.time()
        self._second_probe = self._loop.call_later(PROBE_SECONDS, self._probe)
        return True

    def _probe(self) -> None:
        """Whether a client that sends nothing more is still there; else the connection turns out to be lost.

        What can be sent ahead of an answer is little, so each probe comes after twice the time of the one before.
        """
        reply = self._reply
        if self._serving is None or reply is None or self._gone or reply.ended:
            return
        now = self._loop.time()
        if reply.started or now >= self._probe_at:
            self._probe_at = 2 * now - self._half_closed_at
            reply.probe()

    def data_received(self, data: bytes) -> None:
        if self._spoilt or self._discarding:
            return
        reading, head_bytes = self._reading, self._head_bytes
        if reading is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            self._reject(BadRequest(f"this is not an HTTP/1.1 request: {error}"))
        # Most requests are whole by now: only of those that are not, the clock has to be asked.
        if self._reading is not None:
            if self._reading is not reading:
                self._since = self._loop.time()
        elif self._head_bytes:
            if not head_bytes:
                self._since = self._loop.time()
            if self._head_bytes > HEAD_BYTES and self._spoilt is None:
                self._reject(HeadTooLarge(f"the request's headers are larger than {sizes.shown(HEAD_BYTES)}"))

    def pause_writing(self) -> None:
        self.full = True
        self._stalled = (self._transport.get_write_buffer_size(), self._loop.time())

    def resume_writing(self) -> None:
        self.full = False
        self._stalled = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def shutdown(self) -> None:
        """The server ends: finish what is being served, take nothing more."""
        self.keep = False
        if self._serving is None:
            self._transport.close()

    # --- httptools' callbacks -----------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is None:
            self._headers[name.lower()] = value
            return
        self._head_bytes += len(name) + len(value)  # after the last chunk: too late to change anything
        if self._head_bytes > HEAD_BYTES:
            self._turn_away(
                self._reading, HeadTooLarge(f"the fields after the body are larger than {sizes.shown(HEAD_BYTES)}")
            )

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if self._parser.should_upgrade():
            return
        headers, parser = self._headers, self._parser
        request = Request(parser.get_method(), self._target, headers, keep_alive=parser.should_keep_alive())
        self._reading = request
        self.speaks_chunks = parser.get_http_version() != "1.0"
        declared = headers.get(b"content-length")
        size = int(declared) if declared is not None and declared.isdigit() else 0
        if size > self._bounds.body_bytes:
            self._refuse_body(request)
        elif b"expect" in headers and self._serving is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if size > EARLY_BYTES or b"transfer-encoding" in headers:
            self._enqueue(request)

    def on_body(self, data: bytes) -> None:
        request = self._reading
        if request is None or request.refusal is not None:
            return
        size, bounds = len(data), self._bounds
        request.pieces.append(data)
        request.size_bytes += size
        bounds.held_bytes += size
        if request.size_bytes > bounds.body_bytes:
            self._refuse_body(request)
        elif bounds.held_bytes > bounds.bodies_bytes:
            self._turn_away(request, WaitLimit("the gateway holds as much of waiting requests as it may already"))

    def on_message_complete(self) -> None:
        request = self._reading
        if request is None:
            return
        self._reading = None
        if request.refusal is None:
            self._bounds.held_bytes -= request.size_bytes
        request.complete()
        if not request.taken:
            self._enqueue(request)

    def _decline(self, rest: bytes) -> None:
        """Another protocol was offered, and the parser stopped: go on in this one, as if nothing had been offered."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            return self._reject(BadRequest("this is no proxy to connect through"))
        fields = {name: value for name, value in self._headers.items() if name not in (b"connection", b"upgrade")}
        lines = [b"%b: %b\r\n" % field for field in fields.items()]
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._target, b"".join(lines), rest))

    def _refuse_body(self, request: Request) -> None:
        limit = self._bounds.body_bytes
        self._turn_away(request, BodyTooLarge(f"the body is larger than {sizes.shown(limit)}", limit_bytes=limit))

    def _turn_away(self, request: Request, error: SardeenzError) -> None:
        self._release(request)
        request.refuse(error)
        self.keep = False

    def _release(self, request: Request) -> None:
        """The bytes of this body are no longer those of an unfinished one."""
        if request.refusal is None:
            self._bounds.held_bytes -= request.size_bytes

    # --- serving ------------------------------------------------------------------------------------------------
    def _enqueue(self, request: Request) -> None:
        request.taken = True
        if self._serving is None:
            self._serve(request)
        else:
            self._next.append(request)
            self._transport.pause_reading()  # one at a time: the rest of the pipeline stays in the socket

    def _serve(self, request: Request) -> None:
        if not request.keep_alive:
            self.keep = False
        given = request.headers.get(b"x-request-id")
        reply = Reply(
            self,
            given if given is not None and request_ids.ACCEPTED(given) else self._service.new_request_id(),
            silent=request.method == b"HEAD",
        )
        self._reply = reply
        task = self._loop.create_task(self._run(request, reply))
        self._serving = task
        self._server.tasks.add(task)

    async def _run(self, request: Request, reply: Reply) -> None:
        try:
            await self._service.serve(request, reply)
        except Exception:  # a bug costs one request, and is told
            logger.exception("a request failed: request_id=%s", reply.request_id.decode())
            if not reply.started:
                reply.refuse(InternalError("the gateway failed; its log says why"))
        finally:
            self._server.tasks.discard(self._serving)
            self._serving = self._reply = None
            if not self._gone:
                self._after(request, reply)

    def _after(self, request: Request, reply: Reply) -> None:
        """The answer is out, or broken off: on to the next request, or to the end."""
        self._since = self._loop.time()
        if not reply.ended:
            self._transport.close()
        elif not request.whole:
            self._linger()
        elif not self.keep or (self._half_closed and not self._next):
            self._transport.close()
        elif self._next:
            self._serve(self._next.popleft())
            if not self._next and not self._spoilt and not self._half_closed:
                self._transport.resume_reading()
        elif self._spoilt is not None:
            self._hang_up(self._spoilt)

    def _reject(self, error: SardeenzError) -> None:
        """Not a request at all: say why, after those before it were answered, and hang up once that was read."""
        self._spoilt = error
        if self._reading is not None and self._reading.taken:
            self._turn_away(self._reading, error)
        elif self._serving is None:
            self._hang_up(error)
        else:
            self._transport.pause_reading()  # nothing that follows can be understood

    def _hang_up(self, error: SardeenzError) -> None:
        self.keep = False
        Reply(self, self._service.new_request_id()).refuse(error)
        self._linger()

    def _linger(self) -> None:
        """The client may still be sending: closing now would take the answer from it (RFC 9112, 9.6)."""
        self._discarding = True
        self._since = self._loop.time()
        if self._reading is not None:
            self._release(self._reading)
            self._reading = None
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- the clock ----------------------------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """Once a second: who takes too long to send, to read, or to say anything, goes."""
        passed = now - self._since
        if self._half_closed:
            self._probe()
        if self._discarding:
            if passed > LINGER_SECONDS:
                self._transport.abort()
        elif self.full:
            self._check_reader(now)
        elif self._reading is not None:
            if passed > self._bounds.slow_seconds + self._reading.size_bytes / SLOWEST_BYTES_PER_SECOND:
                self._time_out(self._reading)
        elif self._serving is None:
            if self._head_bytes and passed > self._bounds.slow_seconds:
                self._reject(RequestTimeout("the request's headers took too long"))
            elif not self._head_bytes and passed > KEEP_SECONDS:
                self._transport.close()

    def _time_out(self, request: Request) -> None:
        error = RequestTimeout("the request's body took too long")
        self._turn_away(request, error)
        if self._serving is None:
            self._reject(error)

    def _check_reader(self, now: float) -> None:
        """A client that takes nothing for long holds a seat at an engine for nothing."""
        size = self._transport.get_write_buffer_size()
        if self._stalled is None or size < self._stalled[0]:
            self._stalled = (size, now)
        elif now - self._stalled[1] > self._bounds.slow_seconds:
            self._transport.abort()
