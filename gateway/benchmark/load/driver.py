"""Makes the calls of streams at their times, and notes what became of them."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.benchmark.load import arrivals
from gateway.benchmark.load.answer import Answer
from gateway.benchmark.load.bodies import Bodies
from gateway.benchmark.load.connection import Address, Pool
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Moment, Plan, Stream

LONGEST_SECONDS = 3600.0
LONG_SECONDS = 1.0
PAUSE_SECONDS = 0.05
"""A caller of a closed loop that was refused at once waits so long before asking again."""


@dataclass(slots=True)
class Second:
    """What happened within one second of a run."""

    sent: int = 0
    ended: int = 0
    failed: int = 0
    tokens: int = 0
    ttft_sum: float = 0.0
    ttft_count: int = 0


@dataclass(slots=True)
class Course:
    """A stream under way: where its calls go, what they say, and what has become of them."""

    stream: Stream
    address: Address
    bodies: Bodies
    ledger: Ledger
    seed: str
    role: str = "load"
    """`probe` for one-token calls to a neighbour."""
    planned: int = 0
    """Calls so far, without those of the warm-up."""
    in_flight: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    """Of all calls, those of the warm-up included."""
    seconds: dict[int, Second] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether calls are made at their times, whatever became of those before them."""
        return self.stream.arrival.pattern != "closed"

    def second(self, elapsed: float) -> Second:
        """The second that this moment belongs to."""
        return self.seconds.setdefault(max(int(elapsed), 0), Second())


class Driver:
    """One run of some courses at once."""

    def __init__(self, plan: Plan, courses: list[Course]) -> None:
        self._plan = plan
        self._courses = courses
        self._pool = Pool()
        self._calls: set[asyncio.Task[None]] = set()
        self.began_at = 0.0
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Make every call, wait for the answers, and cut off what is not answered in time. Cancelled, it hangs up."""
        self.began_at = time.monotonic()
        open_loops = [asyncio.create_task(self._ask_in_time(course)) for course in self._of("load") if course.is_open]
        closed = [asyncio.create_task(self._ask_in_turn(course)) for course in self._of("load") if not course.is_open]
        probes = [asyncio.create_task(self._ask_in_time(course)) for course in self._of("probe")]
        try:
            await asyncio.gather(*open_loops, self._until_over(closed))
            await self._stop(probes)
            if self._calls:
                await asyncio.wait(self._calls, timeout=self._plan.drain_seconds)
        finally:
            await self._stop([*open_loops, *closed, *probes, *self._calls])
            self._pool.close()

    def _of(self, role: str) -> list[Course]:
        return [course for course in self._courses if course.role == role]

    async def _until_over(self, callers: list[asyncio.Task[None]]) -> None:
        """Callers of closed loops stop asking when the time is over; the calls that they wait for go on."""
        if not callers:
            return
        plan = self._plan
        limit = LONGEST_SECONDS if plan.seconds is None else plan.warmup_seconds + plan.seconds
        done, _ = await asyncio.wait(callers, timeout=limit, return_when=asyncio.FIRST_EXCEPTION)
        for caller in done:
            caller.result()

    def finish(self) -> None:
        """End the load before its time; what was asked is waited for."""
        self._over.set()

    @property
    def elapsed(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.began_at

    async def _ask_in_time(self, course: Course) -> None:
        """An open loop: whoever is not answered keeps nobody from being sent."""
        for offset, moment in _moments(course):
            if self._is_over(course, offset):
                return
            planned_at = self.began_at + offset
            body = course.bodies.take(moment)
            if (ahead := planned_at - time.monotonic()) > 0:
                await self._sleep(ahead)
            if self._is_over(course, offset):
                return
            course.planned += offset >= self._plan.warmup_seconds
            call = asyncio.create_task(self._call(course, planned_at, body))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _ask_in_turn(self, course: Course) -> None:
        """A closed loop: so many callers, each of which asks again when it was answered."""
        callers = range(course.stream.arrival.concurrency)
        await asyncio.gather(*(self._ask_again_and_again(course) for _ in callers))

    async def _ask_again_and_again(self, course: Course) -> None:
        while not self._is_over(course, self.elapsed):
            course.planned += self.elapsed >= self._plan.warmup_seconds
            body = course.bodies.take()
            answer = await self._in_its_own_task(course, body)
            if not answer.ok and answer.first_at is None:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _in_its_own_task(self, course: Course, body: bytes) -> Answer:
        """The end of the run waits for calls, not for callers."""
        answer = Answer(time.monotonic(), course.stream.kind)
        call = asyncio.create_task(self._call(course, answer.planned_at, body, answer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        await asyncio.wait([call])
        return answer

    async def _sleep(self, seconds: float) -> None:
        """Shorter where the load ends before its time; probes go on to the end of the last answer."""
        if seconds < LONG_SECONDS:
            await asyncio.sleep(seconds)  # the cheaper one, and nearly always enough
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def _is_over(self, course: Course, offset: float) -> bool:
        """Calls are counted without those of the warm-up; a probe goes on as long as there is load."""
        plan = self._plan
        if course.role == "probe":
            return False
        if self._over.is_set():
            return True
        if plan.seconds is not None and offset >= plan.warmup_seconds + plan.seconds:
            return True
        return plan.calls is not None and course.planned >= plan.calls

    async def _call(self, course: Course, planned_at: float, body: bytes, answer: Answer | None = None) -> None:
        answer = answer or Answer(planned_at, course.stream.kind)
        course.in_flight += 1
        course.second(self.elapsed).sent += 1
        try:
            await self._pool.ask(course.address, body, answer)
        finally:
            course.in_flight -= 1
            self._note(course, answer)

    def _note(self, course: Course, answer: Answer) -> None:
        course.codes[answer.code or "ok"] += 1
        ended = course.second(answer.ended_at - self.began_at)
        ended.ended += 1
        ended.failed += not answer.ok
        ended.tokens += answer.completion_tokens or 0
        if answer.first_at is not None:
            first = course.second(answer.first_at - self.began_at)
            first.ttft_sum += answer.first_at - answer.planned_at
            first.ttft_count += 1
        if answer.planned_at >= self.began_at + self._plan.warmup_seconds:
            course.ledger.note(answer)

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _moments(course: Course) -> Iterator[tuple[float, Moment | None]]:
    arrival = course.stream.arrival
    offsets = arrivals.offsets(arrival, random.Random(f"{course.seed}:arrivals"))  # noqa: S311
    if arrival.pattern == "trace":
        yield from zip(offsets, arrival.trace, strict=True)
    else:
        yield from ((offset, None) for offset in offsets)
