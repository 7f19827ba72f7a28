"""Drills: what the fleet itself does, again and again. So far: sleep, and be woken by a request through the gateway."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
from asgiref.sync import sync_to_async

from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Arrival, Plan
from gateway.benchmark.load.sample import Distribution, Sample
from gateway.benchmark.measuring import Measuring, Result
from gateway.errors import DrillStuck
from models_app.lifecycle import verbs
from models_app.models import Replica
from models_app.states import Goal, State

LOOK_SECONDS = 0.05
STUCK_SECONDS = 600.0

Measure = Callable[[Plan, Ledger], Measuring]


class Wakes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many times asleep at this level, and awake again."""

    level: int = 1
    cycles: int = 10


class Drilled(TypedDict):
    """What a drill saw beside its calls."""

    level: int
    cycles: int
    sleep_seconds: Distribution
    """From the wish to sleep until the engine sleeps and its memory is seen to be free."""


class DrillResult(Result):
    """The calls that woke the model, as a stream's figures: TTFT is from the request to the first token."""

    drill: Drilled


class Waking:
    """Every replica sleeps, one request wakes, and its first token is waited for; then again."""

    def __init__(self, plan: Plan, wakes: Wakes, actor: str, measure: Measure) -> None:
        once = msgspec.structs.replace(plan.streams[0], arrival=Arrival("closed", concurrency=1))
        self._plan = msgspec.structs.replace(plan, streams=(once,), calls=1, seconds=None)
        self._wakes, self._actor, self._measure = wakes, actor, measure
        self._ledger = Ledger(once.slo)
        self._sleeps = Sample()
        self._measuring: Measuring | None = None
        self._done = 0

    async def run(self) -> None:
        """Raises DrillStuck, or what the sleep is refused with."""
        name = self._plan.streams[0].deployment
        for _ in range(self._wakes.cycles):
            began = time.monotonic()
            await sync_to_async(_put_to_sleep)(name, self._wakes.level, self._actor)
            while not await sync_to_async(_asleep)(name):
                if time.monotonic() - began > STUCK_SECONDS:
                    raise DrillStuck(f"{name} did not fall asleep within {STUCK_SECONDS:.0f} s")
                await asyncio.sleep(LOOK_SECONDS)
            self._sleeps.add(time.monotonic() - began)
            self._measuring = self._measure(self._plan, self._ledger)
            await self._measuring.run()
            self._done += 1

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first wake."""
        if self._measuring is None:
            return None
        drilled = Drilled(level=self._wakes.level, cycles=self._done, sleep_seconds=self._sleeps.distribution())
        return DrillResult(**self._measuring.result(), drill=drilled)

    def progress(self) -> dict[str, Any]:
        """The cycles that are done, beside what measuring tells of the present one."""
        present = self._measuring.progress() if self._measuring is not None else {}
        return {**present, "drill": {"done": self._done, "cycles": self._wakes.cycles}}


def _put_to_sleep(name: str, level: int, actor: str) -> None:
    """Each of its replicas that serves; a wake that was just asked for is waited for by the verb itself."""
    for row in Replica.objects.filter(deployment__name=name, state=State.READY, goal=Goal.READY):
        verbs.sleep(row, actor=actor, level=level, message="a drill puts it to sleep")


def _asleep(name: str) -> bool:
    states = list(Replica.objects.filter(deployment__name=name).values_list("state", flat=True))
    return bool(states) and all(state == State.SLEEPING for state in states)
