"""The client of the streams: the product's own connections, each answer checked to its last event.

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

from gateway.benchmark.load import answer
from gateway.benchmark.load.bodies import PATHS
from gateway.benchmark.load.connection import Address, Pool
from tests.bench.gateway.machine import Watch

CHUNKS = 128
MODEL = "bench"
PAUSE_SECONDS = 0.05
_CLOCK = re.compile(rb'"content": ?"(\d{19})"')


def address(port: int, key: str) -> Address:
    """Where a contestant takes chat completions."""
    return Address(f"http://127.0.0.1:{port}", key, PATHS["chat"])


def body(*, prompt: str = "Hello", **more: object) -> bytes:
    """What a call asks for."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt}], **more}).encode()


def stream_body(chunks: int = CHUNKS, pace: int = 0, *, usage: bool = False) -> bytes:
    """It asks for a stream of `chunks` chunks, `pace` per second or as fast as can be."""
    more = {"stream_options": {"include_usage": True}} if usage else {}
    prompt = f"Tell me something, pace={pace}" if pace else "Tell me something"
    return body(prompt=prompt, stream=True, max_tokens=chunks, **more)


@dataclass(slots=True)
class Tally:
    """What all connections of one measurement saw."""

    chunks: int = 0
    ended: int = 0
    failures: int = 0
    recording: bool = False
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    ttfts: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, stream: "Stream", chunks: int) -> None:
        """A stream came to an end, good or bad."""
        self.ended += 1
        if stream.whole(chunks) and stream.first_at is not None:
            self.ttfts.append(stream.first_at - stream.sent_at)
        else:
            self.failures += 1


class Stream(answer.Answer):
    """A streamed answer of which only the clocks are read: less work than for an answer that is measured whole."""

    __slots__ = ("_rest", "_tally", "chunks")

    def __init__(self, tally: Tally) -> None:
        super().__init__(time.monotonic())
        self._tally = tally
        self._rest = b""
        self.chunks = 0

    def read(self, body: bytes, now: float) -> None:
        """Some bytes of the body arrived."""
        if self.status != 200:
            super().read(body, now)
            return
        text = self._rest + body if self._rest else body
        lines = text.rfind(b"\n") + 1
        self._rest = text[lines:]
        clocks = _CLOCK.findall(text, 0, lines)
        if clocks:
            self.first_at = self.first_at or now
            self.chunks += len(clocks)
            self._tally.chunks += len(clocks)
            if self._tally.recording:
                self._tally.delays.extend([now - int(clock) / 1e9 for clock in clocks])
        if text.find(b"[DONE]", 0, lines) >= 0:
            self.done = True

    def whole(self, chunks: int) -> bool:
        """Whether it came to its last event."""
        return self.ok and self.chunks == chunks


class Whole(answer.Answer):
    """An answer that is no stream."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__(time.monotonic())
        self.streams = False
        self.size = 0

    def read(self, body: bytes, now: float) -> None:
        """Some bytes of the body arrived."""
        self.size += len(body)
        super().read(body, now)


class Caller:
    """One call after the other to one contestant, on a connection that is kept. Cancelled, it leaves without a word."""

    def __init__(self, port: int, key: str, tally: Tally) -> None:
        self._address = address(port, key)
        self._pool = Pool()
        self._tally = tally

    async def stream(self, asked: bytes) -> Stream:
        """A streamed call to its end."""
        stream = Stream(self._tally)
        await self._pool.ask(self._address, asked, stream)
        return stream

    async def call(self, asked: bytes) -> Whole:
        """A call to the end of its whole answer."""
        whole = Whole()
        await self._pool.ask(self._address, asked, whole)
        return whole

    def leave(self) -> None:
        """Keep the connection no longer."""
        self._pool.close()


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
    asked = stream_body()
    callers = [Caller(port, key, tally) for _ in range(connections)]

    async def ask(caller: Caller) -> None:
        while True:
            stream = await caller.stream(asked)
            tally.add(stream, CHUNKS)
            if not stream.ok:
                await asyncio.sleep(PAUSE_SECONDS)

    with undisturbed():
        tasks = [asyncio.create_task(ask(caller)) for caller in callers]
        await asyncio.sleep(0.2)
        tally.chunks = 0
        watch.begin()
        await asyncio.sleep(seconds)
        watch.end()
        chunks = tally.chunks
        await _end(tasks, callers)
    tally.chunks = chunks
    return tally


async def paced(
    port: int, key: str, watch: Watch, *, streams: int, pace: int, seconds: float, ramp_seconds: float
) -> Tally:
    """`streams` streams opened within the ramp, all of them open for `seconds` after it; only those are recorded."""
    tally = Tally()
    chunks = int(pace * (ramp_seconds + seconds))
    asked = stream_body(chunks, pace)
    callers = [Caller(port, key, tally) for _ in range(streams)]
    starts = random.Random(streams)  # the same in every run

    async def ask(caller: Caller, start: float) -> None:
        await asyncio.sleep(start)
        tally.add(await caller.stream(asked), chunks)

    with undisturbed():
        tasks = [asyncio.create_task(ask(each, starts.uniform(0, ramp_seconds))) for each in callers]
        await asyncio.sleep(ramp_seconds)
        tally.recording = True
        watch.begin()
        await asyncio.sleep(seconds)
        watch.end()
        tally.recording = False
        await asyncio.wait(tasks, timeout=2 * ramp_seconds + 30)
        unfinished = sum(not task.done() for task in tasks)
        await _end(tasks, callers)
    tally.failures += unfinished
    return tally


async def _end(tasks: list[asyncio.Task[None]], callers: list[Caller]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for caller in callers:
        caller.leave()
    await asyncio.sleep(0)
