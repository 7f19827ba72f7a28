"""HTTP towards what is measured: raw connections that stay open, one call at a time on each."""

import asyncio
import ssl
import time
from collections import defaultdict, deque
from urllib.parse import urlsplit

import httptools

from gateway.benchmark.load.answer import Answer

CONNECT_SECONDS = 10.0


class Address:
    """Where calls go, and the part of a request that is the same in all of them."""

    def __init__(self, url: str, key: str, path: str) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or (443 if self.secure else 80)
        lines = [f"POST {parts.path.rstrip('/')}{path} HTTP/1.1", f"host: {parts.netloc.rpartition('@')[2]}"]
        lines += ["content-type: application/json", f"authorization: Bearer {key}"]
        self._head = "\r\n".join(lines).encode() + b"\r\ncontent-length: "

    def request(self, body: bytes) -> bytes:
        """A request as bytes on the wire."""
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)


class Connection(asyncio.Protocol):
    """A connection to the server, on which one call follows another."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._over: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self._now = 0.0
        self.open = False
        self.began = False
        """Whether a byte of the present answer came."""

    async def ask(self, data: bytes, answer: Answer) -> None:
        """Send a request; returns when its answer or the connection has ended. Who is cancelled hangs up."""
        self._over = asyncio.get_running_loop().create_future()
        self._answer, self.began = answer, False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(data)
        try:
            await self._over
        finally:
            self._answer = None
            if not self._over.done() or self._over.cancelled():
                self.leave()

    def leave(self) -> None:
        """End the connection at once."""
        if self.open:
            self.open = False
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._finish("connection_lost", str(error or ""))

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic()
        self.began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish("unreadable_answer", str(error))
            self.leave()

    def on_headers_complete(self) -> None:
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._answer is not None:
            self._answer.read(body, self._now)

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._answer.end(self._now)
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        self._finish()

    def _finish(self, code: str = "", message: str = "") -> None:
        if self._over is None or self._over.done():
            return
        if code and self._answer is not None:
            self._answer.fail(code, time.monotonic(), message)
        self._over.set_result(None)


class Pool:
    """Connections that wait for their next call, by address."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, int], deque[Connection]] = defaultdict(deque)

    async def ask(self, address: Address, body: bytes, answer: Answer) -> None:
        """Make one call; whatever happens stands in the answer. Cancelled, it ends the connection and says so.

        A connection that had waited may have been ended at the other side meanwhile: then nobody has answered, and the
        call is sent once more, over a new one.
        """
        data = address.request(body)
        answer.sent_at = time.monotonic()  # a connection that has to be made first is part of the service
        try:
            connection, reused = await self._connection(address)
            await connection.ask(data, answer)
            if reused and not connection.began and answer.code == "connection_lost":
                answer.code = answer.message = ""
                connection = await self._open(address)
                await connection.ask(data, answer)
        except (OSError, TimeoutError) as error:
            answer.fail("not_connected", time.monotonic(), str(error))
            return
        except asyncio.CancelledError:
            answer.fail("cut_off", time.monotonic())
            raise
        if connection.open:
            self._idle[address.host, address.port].append(connection)

    def close(self) -> None:
        """End the connections that wait."""
        for waiting in self._idle.values():
            for connection in waiting:
                connection.leave()
        self._idle.clear()

    async def _connection(self, address: Address) -> tuple[Connection, bool]:
        waiting = self._idle[address.host, address.port]
        while waiting:
            connection = waiting.pop()
            if connection.open:
                return connection, True
        return await self._open(address), False

    async def _open(self, address: Address) -> Connection:
        secure = ssl.create_default_context() if address.secure else None
        connect = asyncio.get_running_loop().create_connection(Connection, address.host, address.port, ssl=secure)
        _, connection = await asyncio.wait_for(connect, CONNECT_SECONDS)
        return connection
