"""The client of the streams: raw connections on uvloop, each answer checked to its last event.

Delays are from the clock that the engine wrote in a chunk to the moment the bytes of that chunk were here.
"""

import asyncio
import gc
import json
import random
import re
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httptools

from tests.bench.gateway.machine import Watch

CHUNKS = 128
CONNECT_SECONDS = 10.0
MODEL = "bench"
_CLOCK = re.compile(rb'"content": ?"(\d{19})"')


def request(key: str, *, prompt: str = "Hello", **more: object) -> bytes:
    """A chat completion as bytes on the wire."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **more}
    text = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"authorization: Bearer {key}", f"content-length: {len(text)}", "", ""]
    return "\r\n".join(lines).encode() + text


def stream_request(key: str, chunks: int = CHUNKS, pace: int = 0, *, usage: bool = False) -> bytes:
    """A stream of `chunks` chunks, `pace` per second or as fast as can be."""
    more = {"stream_options": {"include_usage": True}} if usage else {}
    prompt = f"Tell me something, pace={pace}" if pace else "Tell me something"
    return request(key, prompt=prompt, stream=True, max_tokens=chunks, **more)


@dataclass(slots=True)
class Answer:
    """How one request was answered. Times are nanoseconds of the monotonic clock."""

    sent: int
    status: int = 0
    first: int = 0
    chunks: int = 0
    size: int = 0
    done: bool = False
    ended: bool = False

    def whole(self, chunks: int) -> bool:
        """A stream that came to its last event."""
        return self.status == 200 and self.ended and self.done and self.chunks == chunks

    @property
    def ttft_seconds(self) -> float:
        """Until the first content."""
        return (self.first - self.sent) / 1e9


@dataclass(slots=True)
class Tally:
    """What all connections of one measurement saw."""

    chunks: int = 0
    ended: int = 0
    failures: int = 0
    recording: bool = False
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    ttfts: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, answer: Answer, chunks: int) -> None:
        """A stream came to an end, good or bad."""
        self.ended += 1
        if answer.whole(chunks):
            self.ttfts.append(answer.ttft_seconds)
        else:
            self.failures += 1


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._left = b""
        self._now = 0
        self._answer = Answer(0)
        self._over: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self.open = False

    async def ask(self, port: int, data: bytes) -> Answer:
        """Send a request and wait for the end of its answer, or of the connection."""
        loop = asyncio.get_running_loop()
        if not self.open:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: self, "127.0.0.1", port)
        self._over = loop.create_future()
        self._left = b""
        self._answer = answer = Answer(time.monotonic_ns())
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(data)
        await self._over
        return answer

    def leave(self) -> None:
        """Go without a word, as a client that was closed does."""
        if self.open:
            self._transport.abort()

    # --- asyncio ------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._finish()

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # --- httptools ----------------------------------------------------------------------------------------------
    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        answer, tally = self._answer, self._tally
        answer.size += len(body)
        text = self._left + body if self._left else body
        lines = text.rfind(b"\n") + 1
        self._left = text[lines:]
        clocks = _CLOCK.findall(text, 0, lines)
        if clocks:
            answer.first = answer.first or self._now
            answer.chunks += len(clocks)
            tally.chunks += len(clocks)
            if tally.recording:
                tally.delays.extend([(self._now - int(clock)) / 1e9 for clock in clocks])
        if text.find(b"[DONE]", 0, lines) >= 0:
            answer.done = True

    def on_message_complete(self) -> None:
        self._answer.ended = True
        if not self._parser.should_keep_alive():
            self._transport.close()
            self.open = False
        self._finish()

    def _finish(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No pauses of our own garbage collector in what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def throughput(port: int, key: str, watch: Watch, *, seconds: float, connections: int) -> Tally:
    """Streams one after the other on each connection, as fast as they come, until the time is over."""
    tally = Tally()
    data = stream_request(key)
    clients = [Connection(tally) for _ in range(connections)]

    async def client(connection: Connection) -> None:
        while True:
            try:
                answer = await connection.ask(port, data)
            except OSError:
                answer = Answer(0)
                await asyncio.sleep(0.05)
            tally.add(answer, CHUNKS)

    with undisturbed():
        tasks = [asyncio.create_task(client(connection)) for connection in clients]
        await asyncio.sleep(0.2)
        tally.chunks = 0
        watch.begin()
        await asyncio.sleep(seconds)
        watch.end()
        chunks = tally.chunks
        await _end(tasks, clients)
    tally.chunks = chunks
    return tally


async def paced(
    port: int, key: str, watch: Watch, *, streams: int, pace: int, seconds: float, ramp_seconds: float
) -> Tally:
    """`streams` streams opened within the ramp, all of them open for `seconds` after it; only those are recorded."""
    tally = Tally()
    chunks = int(pace * (ramp_seconds + seconds))
    data = stream_request(key, chunks, pace)
    clients = [Connection(tally) for _ in range(streams)]
    starts = random.Random(streams)  # the same in every run

    async def client(connection: Connection, start: float) -> None:
        await asyncio.sleep(start)
        try:
            tally.add(await connection.ask(port, data), chunks)
        except OSError:
            tally.add(Answer(0), chunks)

    with undisturbed():
        tasks = [asyncio.create_task(client(each, starts.uniform(0, ramp_seconds))) for each in clients]
        await asyncio.sleep(ramp_seconds)
        tally.recording = True
        watch.begin()
        await asyncio.sleep(seconds)
        watch.end()
        tally.recording = False
        await asyncio.wait(tasks, timeout=2 * ramp_seconds + 30)
        unfinished = sum(not task.done() for task in tasks)
        await _end(tasks, clients)
    tally.failures += unfinished
    return tally


async def _end(tasks: list[asyncio.Task[None]], clients: list[Connection]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        client.leave()
    await asyncio.sleep(0)
