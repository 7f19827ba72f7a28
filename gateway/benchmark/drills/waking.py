"""Asleep or stopped, and one call waits for the first token; then again."""

import asyncio
import time
from collections.abc import Callable

import msgspec
from asgiref.sync import sync_to_async

from gateway.benchmark.drills.drill import (
    LOOK_SECONDS,
    STUCK_SECONDS,
    Drill,
    Drilled,
    DrillProgress,
    DrillResult,
    Measure,
    milliseconds,
    progress,
)
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Arrival, Plan
from gateway.benchmark.load.sample import Sample
from gateway.benchmark.measuring import Measuring
from gateway.errors import DrillStuck
from models_app.lifecycle import verbs
from models_app.models import Replica
from models_app.states import Goal, State


class Waking:
    """Every replica sleeps (`wakes`) or stops (`cold_starts`), and one call is made; then again."""

    def __init__(self, plan: Plan, drill: Drill, actor: str, measure: Measure) -> None:
        once = msgspec.structs.replace(plan.streams[0], arrival=Arrival("closed", concurrency=1))
        self._plan = msgspec.structs.replace(plan, streams=(once,), calls=1, seconds=None)
        self._drill, self._actor, self._measure = drill, actor, measure
        self._ledger = Ledger(once.slo)
        self._downs = Sample()
        self._measuring: Measuring | None = None
        self._done = 0

    async def run(self) -> None:
        """Raises DrillStuck, or what the sleep is refused with."""
        name = self._plan.streams[0].deployment
        for _ in range(self._drill.cycles):
            began = time.monotonic()
            if self._drill.kind == "wakes":
                await sync_to_async(_put_to_sleep)(name, self._drill.level, self._actor)
                await _until(lambda: _all_are(name, State.SLEEPING), f"{name} did not fall asleep")
            else:
                await sync_to_async(_stop)(name, self._actor)
                await _until(lambda: _gone(name), f"{name} did not stop")
            self._downs.add(time.monotonic() - began)
            if self._drill.kind == "cold_starts":
                await sync_to_async(_start)(name, self._actor)
            self._measuring = self._measure(self._plan, lambda _: self._ledger)
            await self._measuring.run()
            self._done += 1

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first call."""
        if self._measuring is None:
            return None
        kind = self._drill.kind
        drilled = Drilled(kind=kind, cycles=self._done, words=self._words())
        if kind == "wakes":
            drilled["level"], drilled["sleep_seconds"] = self._drill.level, self._downs.distribution()
        else:
            drilled["stop_seconds"] = self._downs.distribution()
        return DrillResult(**self._measuring.result(), drill=drilled)

    def _words(self) -> str:
        first = self._ledger.samples["ttft"].distribution()
        half, most = milliseconds(first["p50"]), milliseconds(first["p99"])
        what = f"A wake from level {self._drill.level}" if self._drill.kind == "wakes" else "A cold start"
        return f"{what} gives the first token after {half} (p50) and {most} (p99)."

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""
        return progress(self._measuring, self._done, self._drill.cycles)


async def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    began = time.monotonic()
    while not await sync_to_async(is_so)():
        if time.monotonic() - began > STUCK_SECONDS:
            raise DrillStuck(f"{otherwise} within {STUCK_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


def _put_to_sleep(name: str, level: int, actor: str) -> None:
    """Each of its replicas that serves; a wake that was just asked for is waited for by the verb itself."""
    for row in Replica.objects.filter(deployment__name=name, state=State.READY, goal=Goal.READY):
        verbs.sleep(row, actor=actor, level=level, message="a drill puts it to sleep")


def _stop(name: str, actor: str) -> None:
    for row in Replica.objects.filter(deployment__name=name):
        verbs.stop(row, actor=actor)


def _start(name: str, actor: str) -> None:
    for row in Replica.objects.filter(deployment__name=name):
        verbs.start(row, actor=actor)


def _all_are(name: str, state: State) -> bool:
    states = list(Replica.objects.filter(deployment__name=name).values_list("state", flat=True))
    return bool(states) and all(each == state for each in states)


def _gone(name: str) -> bool:
    """Stopped, and nothing is left of the engines."""
    rows = list(Replica.objects.filter(deployment__name=name).values_list("state", "port"))
    return bool(rows) and all(state == State.STOPPED and port is None for state, port in rows)
