"""Many open streams at the pace of a chat, and the soak: the same for hours, with clients that leave."""

import asyncio
import statistics
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import uvloop

from tests.bench.gateway import client
from tests.bench.gateway.client import CHUNKS, PAUSE_SECONDS, Caller, Tally
from tests.bench.gateway.contestants import Contestant
from tests.bench.gateway.machine import Use, Watch
from tests.bench.gateway.rounds import PACE, SETTLE_SECONDS, share

RAMP_SECONDS = 5.0
SOAK_STREAMS = 32
SOAK_PACE = 40
SOAK_LEAVERS = 8
SOAK_CALLERS = 8
SOAK_PAUSE_SECONDS = 0.01
WARM_UP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Open:
    """How a contestant held many open streams. Delays are from the engine's write to the client's read."""

    contestant: str
    streams: int
    failures: int
    use: Use
    chunks: int
    ttft_p50_seconds: float | None
    ttft_p99_seconds: float | None
    delay_p50_seconds: float | None
    delay_p99_seconds: float | None


def hold(contestant: Contestant, streams: int, *, seconds: float) -> Open:
    """`streams` streams at PACE chunks per second, all open for `seconds`."""
    time.sleep(SETTLE_SECONDS)
    watch = contestant.watch()
    tally = uvloop.run(
        client.paced(
            contestant.port,
            contestant.key,
            watch,
            streams=streams,
            pace=PACE,
            seconds=seconds,
            ramp_seconds=RAMP_SECONDS * streams / 1000,
        )
    )
    return Open(
        contestant=contestant.name,
        streams=streams,
        failures=tally.failures,
        use=watch.use,
        chunks=len(tally.delays),
        ttft_p50_seconds=share(tally.ttfts, 0.5),
        ttft_p99_seconds=share(tally.ttfts, 0.99),
        delay_p50_seconds=share(tally.delays, 0.5),
        delay_p99_seconds=share(tally.delays, 0.99),
    )


@dataclass(slots=True)
class Soak:
    """Resident memory under a steady mixed load. The first WARM_UP_SHARE of the samples is not counted."""

    seconds: float
    answers: int = 0
    left: int = 0
    failures: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def steady(self) -> list[tuple[float, int]]:
        """Seconds and bytes after the warm-up."""
        return [sample for sample in self.samples if sample[0] >= self.seconds * WARM_UP_SHARE]

    @property
    def growth_bytes(self) -> float:
        """Median of the last tenth less that of the first tenth, after the warm-up."""
        sizes = [size for _, size in self.steady]
        tenth = max(1, len(sizes) // 10)
        return statistics.median(sizes[-tenth:]) - statistics.median(sizes[:tenth])

    @property
    def bytes_per_hour(self) -> float:
        """The slope of a straight line through the samples after the warm-up."""
        times, sizes = zip(*self.steady, strict=True)
        return float(statistics.linear_regression(times, sizes).slope) * 3600


def soak(contestant: Contestant, *, seconds: float) -> Soak:
    """Streams, whole answers and clients that leave in the middle of a stream, all the time."""
    found = Soak(seconds)
    uvloop.run(_Load(contestant, found).run(contestant.watch()))
    return found


class _Load:
    def __init__(self, contestant: Contestant, found: Soak) -> None:
        self._port, self._key = contestant.port, contestant.key
        self._found = found
        self._tally = Tally()
        self._whole = client.body(max_tokens=8)
        self._stream = client.stream_body(CHUNKS, SOAK_PACE)
        self._began = time.monotonic()

    async def run(self, watch: Watch) -> None:
        callers: list[Coroutine[Any, Any, None]] = [
            *(self._streams(place % 2 == 0) for place in range(SOAK_STREAMS)),
            *(self._calls() for _ in range(SOAK_CALLERS)),
            *(self._leaves(place) for place in range(SOAK_LEAVERS)),
        ]
        tasks = [asyncio.create_task(caller) for caller in callers]
        while (now := time.monotonic() - self._began) < self._found.seconds:
            self._found.samples.append((now, watch.rss_bytes()))
            await asyncio.sleep(min(1.0, self._found.seconds / 20))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _caller(self) -> Caller:
        return Caller(self._port, self._key, self._tally)

    async def _streams(self, keep: bool) -> None:
        """One stream after the other, on the same connection or on a new one each time."""
        caller = self._caller()
        while True:
            stream = await caller.stream(self._stream)
            await self._count(stream.whole(CHUNKS))
            if not keep:
                caller.leave()

    async def _calls(self) -> None:
        caller = self._caller()
        while True:
            whole = await caller.call(self._whole)
            await self._count(whole.ok)
            await asyncio.sleep(SOAK_PAUSE_SECONDS)

    async def _leaves(self, place: int) -> None:
        """Leaves earlier or later in the stream, some before its first byte."""
        while True:
            asking = asyncio.create_task(self._caller().stream(self._stream))
            await asyncio.sleep(place * 0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._found.left += 1
            await asyncio.sleep(SOAK_PAUSE_SECONDS)

    async def _count(self, good: bool) -> None:
        """Who is refused waits a moment before asking again."""
        self._found.answers += good
        self._found.failures += not good
        if not good:
            await asyncio.sleep(PAUSE_SECONDS)
