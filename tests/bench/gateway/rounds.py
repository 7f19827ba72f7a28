"""The first table: every contestant measured in every round, so that whatever else the machine does meets them all."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench.gateway import client, whole
from tests.bench.gateway.contestants import Contestant
from tests.bench.gateway.machine import Use

SETTLE_SECONDS = 0.5
PACED_STREAMS = 32
PACE = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One contestant in one round. None: not a single good answer, so there is nothing to tell."""

    contestant: str
    round: int
    requests_per_second: float
    request_failures: int
    requests: int
    request_use: Use
    p50_seconds: float | None
    p99_seconds: float | None
    latency_failures: int
    chunks_per_second: float
    stream_failures: int
    chunk_use: Use
    ttft_p50_seconds: float | None
    delay_p50_seconds: float | None
    paced_failures: int

    @property
    def failures(self) -> int:
        """Of every kind."""
        return self.request_failures + self.latency_failures + self.stream_failures + self.paced_failures

    @property
    def cpu_seconds_per_request(self) -> float | None:
        """What one request costs, whoever else wants the core."""
        return 1 / self.requests_per_cpu_second if self.requests_per_cpu_second else None

    @property
    def requests_per_cpu_second(self) -> float | None:
        """Requests through a core that does nothing else."""
        return _per(self.requests, self.request_use)

    @property
    def cpu_seconds_per_chunk(self) -> float | None:
        """What one chunk costs."""
        return 1 / self.chunks_per_cpu_second if self.chunks_per_cpu_second else None

    @property
    def chunks_per_cpu_second(self) -> float | None:
        """Chunks through a core that does nothing else."""
        return _per(self.chunks_per_second * self.chunk_use.seconds, self.chunk_use)


def _per(count: float, use: Use) -> float | None:
    return count / use.cpu_seconds if use.cpu_seconds else None


def run(contestants: Sequence[Contestant], *, rounds: int, seconds: int, place: Path, say: Say) -> list[Sample]:
    """Measure in rounds; each begins with another contestant."""
    samples = []
    for number in range(rounds):
        for place_in_round in range(len(contestants)):
            contestant = contestants[(number + place_in_round) % len(contestants)]
            sample = measure(contestant, number, seconds=seconds, place=place)
            say(
                f"round {number + 1}/{rounds} {contestant.name}: {sample.requests_per_second:.0f} requests/s, "
                f"{sample.chunks_per_second:.0f} chunks/s, {sample.failures} failures"
            )
            samples.append(sample)
    return samples


def measure(contestant: Contestant, number: int, *, seconds: int, place: Path) -> Sample:
    """All figures of one contestant, once."""
    port, key = contestant.port, contestant.key
    request_watch, chunk_watch, paced_watch = (contestant.watch() for _ in range(3))
    time.sleep(SETTLE_SECONDS)
    rate = whole.rate(port, key, request_watch, seconds=seconds, cores=contestant.cores.load, place=place)
    time.sleep(SETTLE_SECONDS)
    taken, latency_failures = whole.latencies(port, key, seconds=seconds / 2)
    streams = client.throughput(port, key, chunk_watch, seconds=seconds / 2, connections=whole.CONNECTIONS)
    tally = uvloop.run(streams)
    time.sleep(SETTLE_SECONDS)
    paced = uvloop.run(
        client.paced(
            port, key, paced_watch, streams=PACED_STREAMS, pace=PACE, seconds=seconds / 4, ramp_seconds=seconds / 4
        )
    )
    return Sample(
        contestant=contestant.name,
        round=number,
        requests_per_second=rate.per_second,
        request_failures=rate.failures,
        requests=rate.good,
        request_use=request_watch.use,
        p50_seconds=share(taken, 0.5),
        p99_seconds=share(taken, 0.99),
        latency_failures=latency_failures,
        chunks_per_second=tally.chunks / chunk_watch.use.seconds,
        stream_failures=tally.failures,
        chunk_use=chunk_watch.use,
        ttft_p50_seconds=share(paced.ttfts, 0.5),
        delay_p50_seconds=share(paced.delays, 0.5),
        paced_failures=paced.failures,
    )


def share(values: Sequence[float], part: float) -> float | None:
    """The value that `part` of the values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
