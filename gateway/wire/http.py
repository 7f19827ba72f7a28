"""A request as it arrives and the reply as it leaves: HTTP/1.1 without the socket."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote, urlsplit

from gateway.wire import envelopes
from gateway.wire.copies import Copy
from gateway.wire.envelopes import Headers
from sardeenz.errors import SardeenzError

EVENT_STREAM = b"text/event-stream"
_STATUS = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

_BEGINS = b"HTTP/1.1 "
"""How every answer begins."""


class ResponseBroken(Exception):
    """The answer had begun and cannot be completed: the connection to the client must end as visibly as it broke."""


class Wire(Protocol):
    """The client's connection, as a reply uses it."""

    full: bool
    keep: bool
    speaks_chunks: bool

    @property
    def write(self) -> Callable[[bytes], None]:
        """Send bytes; they wait in memory while the client does not take them, so look at `full`."""

    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent."""

    def closing_lines(self) -> bytes:
        """The end of every head."""

    def abandon(self) -> None:
        """End the task that serves the request, as when the client has left."""


class Request:
    """One request; its body may still be on its way when it is served."""

    whole = False
    taken = False
    """By the service, perhaps before its body is whole."""
    refusal: SardeenzError | None = None
    size_bytes = 0
    """Of the body, as far as it is here."""
    _arrived: asyncio.Future[None] | None = None

    def __init__(self, method: bytes, target: bytes, headers: dict[bytes, bytes], *, keep_alive: bool) -> None:
        self.method = method
        self.headers = headers
        self.keep_alive = keep_alive
        if not target.startswith(b"/"):  # absolute form, as clients send it to proxies
            parts = urlsplit(target)
            target = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
        path, _, self.query = target.partition(b"?")
        self.path = unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1")
        self.pieces: list[bytes] = []

    async def body(self) -> bytes:
        """The whole body, waiting for it. Raises BodyTooLarge, RequestTimeout or WaitLimit."""
        while not self.whole and self.refusal is None:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self.refusal is not None:
            raise self.refusal
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def complete(self) -> None:
        """All of it is here."""
        self.whole = True
        if self._arrived is not None:
            self._wake()

    def refuse(self, error: SardeenzError) -> None:
        """It will not be taken to its end."""
        if not self.whole:
            self.refusal = error
            self.pieces.clear()
            self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class Reply:
    """What the client is told, in its dialect, and how much of it has been said. Writing never waits: see `drained`."""

    # Values of the class, as long as nothing else is so.
    dialect: envelopes.Dialect = "openai"
    extra = b""
    """More header lines."""
    state = b"ready"
    status = 0
    started = False
    held_open = False
    relayed = False
    """Whether some of an engine's answer was sent."""
    ended = False
    last = b""
    """The newest piece of a stream."""
    events = False
    """Whether that is an event stream."""
    copy: Copy | None = None
    _chunked = False
    _begun = 0
    """Bytes of the head that were sent ahead of it."""

    def __init__(self, client: Wire, request_id: bytes, *, silent: bool = False) -> None:
        self._client = client
        self._silent = silent  # the answer to HEAD has no body
        self.request_id = request_id

    @property
    def committed(self) -> bool:
        """Whether some of the answer itself was sent, so that no other replica may be asked."""
        return self.started and (self.relayed or not self.held_open)

    def start(self, status: int, headers: Headers, size: int | None = None) -> None:
        """Send the head of an answer that comes in pieces, `size` bytes in all where that is known."""
        self._client.write(self._head(status, headers, size))
        self.events = any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers)

    def probe(self) -> bool:
        """Send what comes in any case, so that a client that has left is noticed. False where nothing fits.

        Of an answer that has not begun this is the next byte of its head, as long as all heads are alike.
        """
        client = self._client
        if not self.started:
            if self._begun < len(_BEGINS):
                client.write(_BEGINS[self._begun : self._begun + 1])
                self._begun += 1
            return True
        if not self.events or not (self.last or b"\n\n").endswith((b"\n\n", b"\r\n\r\n")):
            return False
        client.write(b"3\r\n:\n\n\r\n" if self._chunked else b":\n\n")
        return True

    def abandon(self) -> None:
        """Whoever makes this reply is interrupted where it waits, and has the last word."""
        self._client.abandon()

    def write(self, data: bytes) -> bool:
        """Send a piece. False while the client has not taken enough of what it was sent before."""
        client = self._client
        if self.copy is not None:
            self.copy.see(data)
        if data and not self._silent:
            self.last = data
            client.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return not client.full

    def finish(self, data: bytes = b"") -> None:
        """The last piece ends the reply; nothing may be written after the last piece."""
        self.ended = True
        if self.copy is not None:
            self.copy.see(data)
        if self._silent:
            return
        if not self._chunked:
            self._client.write(data)
        elif data:
            self._client.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        else:
            self._client.write(b"0\r\n\r\n")

    def whole(self, status: int, headers: Headers, data: bytes) -> None:
        """Head and body are sent in one write, and the reply is ended."""
        self.ended = True
        if self.copy is not None:
            self.copy.see(data)
        head = self._head(status, headers, len(data))
        self._client.write(head if self._silent else head + data)

    @property
    def crowded(self) -> bool:
        """Whether the client has not taken enough of what it was sent."""
        return self._client.full

    async def drained(self) -> None:
        """This waits until the client has taken most of what was sent, or has left."""
        await self._client.drained()

    def hold_open(self, why: bytes, eta_seconds: float | None) -> None:
        """Begin, or keep up, an event stream that has no event yet: comments are what proxies and SDKs let pass."""
        if not self.started:
            self.held_open = True
            eta = [(b"x-sardeenz-eta-seconds", b"%d" % round(eta_seconds))] if eta_seconds is not None else []
            self.start(
                200,
                [
                    (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
                    (b"cache-control", b"no-cache"),
                    (b"x-accel-buffering", b"no"),
                    (b"x-sardeenz-state", self.state),
                    *eta,
                ],
            )
        self.write(b": waiting for the model, %s\n\n" % why)

    def refuse(self, error: SardeenzError) -> None:
        """Tell the error: as a body, or as an event where a stream was already held open."""
        if not self.started:
            data = envelopes.body(error, self.dialect, self.request_id.decode())
            self.whole(error.status, envelopes.headers(error), data)
        elif self.held_open:
            self.finish(envelopes.event(error, self.dialect, self.request_id.decode()))
        else:
            raise ResponseBroken(error.code) from error

    def _head(self, status: int, headers: Headers, size: int | None) -> bytes:
        self.started = True
        self.status = status
        client = self._client
        head = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
        for pair in headers:
            head += b"%b: %b\r\n" % pair
        length = b""
        if size is not None:
            length = b"content-length: %d\r\n" % size
        elif client.speaks_chunks:
            self._chunked = True
            length = b"transfer-encoding: chunked\r\n"
        else:
            client.keep = False
        rest = head[self._begun :] if self._begun else head
        return b"%b%b%bx-request-id: %b\r\n%b" % (rest, self.extra, length, self.request_id, client.closing_lines())
