"""HTTP/1.1 towards engines: a keep-alive pool per replica on bare asyncio protocols.

Ours because the best client library costs half of the gateway's throughput. It does what engines need and no more: one
request at a time per connection, bodies by length or in chunks, and a reader that stops when nobody takes the bytes.
"""

import asyncio
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools

from models_app.errors import EngineProtocolError, EngineTimeout, EngineUnreachable

KEEP_SECONDS = 4  # vLLM closes a connection that was idle for 5 s
CONNECT_SECONDS = 5.0
HIGH_WATER_BYTES = 128 * 1024
JOINED_BYTES = 64 * 1024
"""A body up to this size is copied, so that it leaves in one write."""


class NothingAnswered(EngineUnreachable):
    """The connection ended before the first byte of the answer: asking once more is safe."""


class NotConnected(NothingAnswered):
    """There was no connection, so nothing was sent: the call has not reached an engine."""


class Stranger(NotConnected):
    """Who listens there does not know the engine's key: its port is somebody else's now, and nothing was done."""


class Connection(asyncio.Protocol):
    """One connection to one engine. `ticks` counts seconds of silence; the pool's sweep advances it."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self.transport: asyncio.Transport
        self.closed = False
        self.busy = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_done = False
        self.complete = False
        self.keep = False
        self.ticks = 0
        self._answered = False
        self._until_closed = False
        self._paused = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: EngineUnreachable | EngineTimeout | EngineProtocolError | None = None

    # --- what a caller does -------------------------------------------------------------------------------------
    def request(self, head: bytes, body: bytes | memoryview, tail: bytes) -> asyncio.Future[None]:
        """Send a request; done when the answer's head is there. Then `release` the connection, come what may."""
        if self._error is not None:  # the engine hung up as soon as the connection was made
            raise NotConnected("the engine accepts no connection") from self._error
        self.busy = True
        self.ticks = 0
        self.headers = []  # a kept connection's answer was read to its end: this is what it leaves behind
        self.status = 0
        self.head_done = self.complete = self._answered = False
        if len(body) < JOINED_BYTES:
            self.transport.write(b"".join((head, body, tail)))
        else:
            self.transport.writelines((head, body, tail))
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def read(self) -> bytes:
        """All body bytes that are there, waiting for the first; empty at the end."""
        while (data := self.take()) is None:
            await self._news()
        return data

    def take(self) -> bytes | None:
        """All body bytes that are there; None when there are none yet, empty at the end."""
        chunks = self._chunks
        if not chunks:
            return b"" if self.complete else None
        self._chunks = []
        self._size = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def flow(self, sink: Callable[[bytes], bool]) -> None:
        """Hand bytes to `sink` as they come, without waking anybody; back when it wants no more for now, or at the end.

        What comes together with the end is left to be taken.
        """
        if self.complete:
            return
        data = self.take()
        if data and not sink(data):
            return
        self._sink = sink
        try:
            await self._news()
        finally:
            self._sink = None

    @property
    def drained(self) -> bool:
        """The answer is complete and all of it was read."""
        return self.complete and not self._chunks

    def abort(self) -> None:
        """Hang up now; vLLM then stops generating."""
        self.closed = True
        self.transport.abort()

    async def _news(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._chunks and not self.complete:
            raise self._error

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.head_done:
            waiter.set_result(None)
        elif self._error is not None:
            waiter.set_exception(self._error)

    def fail(self, error: EngineUnreachable | EngineTimeout | EngineProtocolError) -> None:
        """End the exchange with an error, once what was received has been read."""
        if not self.complete:
            self._error = self._error or error
        self.abort()
        self._wake()

    # --- asyncio's protocol -------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._answered = True
        self.ticks = 0
        if not self.busy:  # nobody asked: such a connection cannot be trusted with the next request
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(EngineProtocolError(f"the engine's answer is not HTTP: {error}"))
        sink = self._sink
        if sink is None or self.complete or self._error is not None:
            self._wake()
            return
        piece = self.take()
        if piece and not sink(piece):
            self._sink = None
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        if self.head_done and self._until_closed and exc is None:
            self.complete = True
        elif not self.complete and self._error is None:
            if self._answered:
                self._error = EngineUnreachable("the engine closed the connection in the middle of its answer")
            else:
                self._error = NothingAnswered("the engine closed the connection before it answered")
        self._wake()

    # --- httptools' callbacks -----------------------------------------------------------------------------------
    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        self.status = status
        self._until_closed = not self._parser.should_keep_alive() and not any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        )
        self.head_done = True

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self._paused and not self.closed:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.status < 200:  # 100 Continue and its like come before the answer
            return
        self.complete = True
        self.keep = self._parser.should_keep_alive()

    def tick(self, idle_seconds: float) -> None:
        """A second passed: drop what is idle, end what was silent too long; a slow client is not the engine's fault."""
        self.ticks = 0 if self.busy and self._paused else self.ticks + 1
        if not self.busy and self.ticks >= KEEP_SECONDS:
            self.abort()
        elif self.busy and self.ticks > idle_seconds and not self.complete:
            self.fail(EngineTimeout(f"the engine sent nothing for {idle_seconds:.0f} s"))


class Pool:
    """The connections to one engine."""

    def __init__(self, url: str, *, idle_seconds: float) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 80
        self.authority = parts.netloc.encode()
        self._idle_seconds = idle_seconds
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    def idle(self) -> Connection | None:
        """A kept connection, the newest first: it is the least likely to be closed by the engine soon."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                return connection
        return None

    async def connect(self) -> Connection:
        """A new connection is made for the caller, or NotConnected is raised after at most CONNECT_SECONDS."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self), self.host, self.port
                )
        except OSError as error:  # TimeoutError is one
            raise NotConnected("the engine accepts no connection") from error
        self._all.add(made)
        return made

    def release(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to the end; hang up on any other."""
        connection.busy = False
        connection.ticks = 0
        if connection.keep and connection.drained and not connection.closed:
            self._idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        if not connection.busy and connection in self._idle:
            self._idle.remove(connection)

    def tick(self) -> None:
        """The router calls this once a second, so that connections end that were idle or silent too long."""
        for connection in tuple(self._all):
            connection.tick(self._idle_seconds)

    def close_idle(self) -> None:
        """The replica is no longer routed: its engine should not see us linger."""
        for connection in tuple(self._idle):
            connection.abort()
        self._idle.clear()
