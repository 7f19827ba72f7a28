"""Carries out a plan: who is asked where, the load itself, and what all on those GPUs held meanwhile."""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

from asgiref.sync import sync_to_async

from gateway.benchmark import surroundings
from gateway.benchmark.load import health
from gateway.benchmark.load.bodies import PATHS, Bodies
from gateway.benchmark.load.connection import Address
from gateway.benchmark.load.driver import Course, Driver, Second
from gateway.benchmark.load.figures import Figures, Ledger
from gateway.benchmark.load.health import Health
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Probe, Stream
from gateway.benchmark.surroundings import Moment

LOOK_SECONDS = 1.0
MOMENTS = 1200


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment as calls reach it; without a ready replica there is no engine to go straight to."""

    served_name: str
    engine_url: str = ""
    engine_key: str = ""


class StreamResult(TypedDict):
    """What became of one stream or of one neighbour's probes."""

    deployment: str
    role: str
    way: str
    pattern: str
    began_seconds: float
    distinct_prompts_ratio: float
    figures: Figures
    seconds: list[list[float | None]]
    """By the second: sent, ended, failed, tokens of answers that ended, mean TTFT."""


class Result(TypedDict):
    """All that one run of a plan came to."""

    seed: int
    streams: list[StreamResult]
    runner: Health
    moments: list[Moment]
    """GPUs and engines, second by second."""


class StreamProgress(TypedDict):
    """How a stream does, by its last whole second."""

    deployment: str
    role: str
    planned: int
    in_flight: int
    ok: int
    failed: int
    calls_per_second: int
    tokens_per_second: int
    ttft_seconds: float | None


class Progress(TypedDict, total=False):
    """How far a run is; empty before it begins."""

    elapsed_seconds: float
    total_seconds: float | None
    calls: int | None
    streams: list[StreamProgress]


class Measuring:
    """One run of one plan. `result` may be asked at any time, also of one that was cut short."""

    def __init__(
        self,
        plan: Plan,
        url: str,
        key: str,
        targets: dict[str, Target],
        gpus: set[str],
        ledger_of: Callable[[int], Ledger] | None = None,
    ) -> None:
        self.plan = plan
        self.seed = plan.seed if plan.seed is not None else secrets.randbelow(2**31)
        self._url, self._key, self._targets, self._gpus = url, key, targets, gpus
        self._ledger_of = ledger_of
        """Where the calls of each stream are noted, if they are part of something larger."""
        self._courses: list[Course] = []
        self._began: list[float] = []
        self._watch = health.Watch()
        self._driver: Driver | None = None
        self._moments: list[Moment] = []
        self._every = 1
        self._looks = 0
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()

    async def run(self) -> None:
        """Make every call of the plan."""
        looking = asyncio.create_task(self._look())
        try:
            for streams in [self.plan.streams] if self.plan.together else [(one,) for one in self.plan.streams]:
                courses = [self._load(stream, number) for number, stream in enumerate(streams)]
                courses += [self._probe(probe) for probe in self.plan.probes]
                self._courses += courses
                self._began += [self.elapsed] * len(courses)
                self._driver = Driver(self.plan, courses)
                await self._driver.run()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def finish(self) -> None:
        """Ask for no more; what was asked is waited for, as at the end of a plan."""
        if self._driver is not None:
            self._driver.finish()

    @property
    def elapsed(self) -> float:
        """Seconds since the measuring began."""
        return self._clock() - self._began_at

    def result(self) -> Result:
        """What came of it so far."""
        lags = [
            course.ledger.samples["send_lag"].distribution()["p99"]
            for course in self._courses
            if course.role == "load" and course.is_open
        ]
        known = [lag for lag in lags if lag is not None]
        return Result(
            seed=self.seed,
            streams=[_told(course, began) for course, began in zip(self._courses, self._began, strict=True)],
            runner=health.judge(max(known, default=None), self._watch.cpu_ratio()),
            moments=self._moments,
        )

    def progress(self) -> Progress:
        """How far it is, for whoever looks on."""
        plan = self.plan
        rounds = 1 if plan.together else len(plan.streams)
        total = None if plan.seconds is None else (plan.warmup_seconds + plan.seconds) * rounds
        return {
            "elapsed_seconds": round(self.elapsed, 1),
            "total_seconds": total,
            "calls": plan.calls,
            "streams": [self._shown(course) for course in self._courses],
        }

    def _shown(self, course: Course) -> StreamProgress:
        last = course.seconds.get(int(self._driver.elapsed) - 1 if self._driver else 0, Second())
        failed = sum(count for code, count in course.codes.items() if code != "ok")
        return {
            "deployment": course.stream.deployment,
            "role": course.role,
            "planned": course.planned,
            "in_flight": course.in_flight,
            "ok": course.codes["ok"],
            "failed": failed,
            "calls_per_second": last.ended,
            "tokens_per_second": last.tokens,
            "ttft_seconds": last.ttft_sum / last.ttft_count if last.ttft_count else None,
        }

    def _load(self, stream: Stream, number: int) -> Course:
        course = self._course(stream, number)
        return course if self._ledger_of is None else replace(course, ledger=self._ledger_of(number))

    def _course(self, stream: Stream, number: int) -> Course:
        seed = f"{self.seed}:{number}:{stream.deployment}"
        target = self._targets[stream.deployment]
        return Course(
            stream,
            self._address(stream, target),
            Bodies(stream, target.served_name, seed),
            Ledger(stream.slo),
            seed,
        )

    def _probe(self, probe: Probe) -> Course:
        """One word in, one token out, at even times that begin at a moment of their own."""
        one, rate = Lengths(tokens=1), 1 / probe.every_seconds
        stream = Stream(probe.deployment, Arrival("constant", rate=rate), one, one)
        return replace(self._course(stream, random.Random(self.seed).randrange(1000)), role="probe")  # noqa: S311

    def _address(self, stream: Stream, target: Target) -> Address:
        path = PATHS[stream.kind]
        if stream.way == "engine":
            return Address(target.engine_url, target.engine_key, path)
        return Address(self._url, self._key, path)

    async def _look(self) -> None:
        """Once a second; of a long run fewer moments are kept."""
        while True:
            seen = await sync_to_async(surroundings.moment)(self._gpus, self.elapsed)
            self._looks += 1
            if seen is not None and self._looks % self._every == 0:
                self._moments.append(seen)
            if len(self._moments) > MOMENTS:
                self._moments, self._every = self._moments[::2], self._every * 2
            await asyncio.sleep(LOOK_SECONDS)


def _told(course: Course, began: float) -> StreamResult:
    return StreamResult(
        deployment=course.stream.deployment,
        role=course.role,
        way=course.stream.way,
        pattern=course.stream.arrival.pattern,
        began_seconds=round(began, 3),
        distinct_prompts_ratio=course.bodies.prompts.distinct_ratio,
        figures=course.ledger.figures(),
        seconds=[_second(course.seconds.get(number)) for number in range(max(course.seconds, default=-1) + 1)],
    )


def _second(second: Second | None) -> list[float | None]:
    if second is None:
        return [0, 0, 0, 0, None]
    mean = second.ttft_sum / second.ttft_count if second.ttft_count else None
    return [second.sent, second.ended, second.failed, second.tokens, mean]
