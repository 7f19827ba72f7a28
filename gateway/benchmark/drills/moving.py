"""A replica moves to another GPU while calls come: what they feel before, meanwhile and afterwards."""

import asyncio
import time

import msgspec
from asgiref.sync import sync_to_async
from django.db.models import Q

from gateway.benchmark.drills.drill import (
    LOOK_SECONDS,
    STUCK_SECONDS,
    Drill,
    Drilled,
    DrillProgress,
    DrillResult,
    Measure,
    Part,
    milliseconds,
    progress,
)
from gateway.benchmark.load.answer import Answer
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Plan, Slo
from gateway.benchmark.load.sample import Sample
from gateway.benchmark.measuring import Measuring
from gateway.errors import DrillStuck
from gpus.models import GPU
from models_app.errors import NoCapacity
from models_app.lifecycle import verbs
from models_app.models import Replica
from models_app.states import Goal, State

PHASES = ("before", "while it moved", "after")


class Phases(Ledger):
    """Each call belongs to the phase in which it was planned."""

    def __init__(self, slo: Slo) -> None:
        super().__init__(slo)
        self.of = {name: Ledger(slo) for name in PHASES}
        self._since: list[tuple[float, str]] = []

    def begin(self, name: str, now: float) -> None:
        """From now on, calls are of this phase."""
        self._since.append((now, name))

    def note(self, answer: Answer) -> None:
        """Each call that has ended counts where it belongs, and in the whole."""
        super().note(answer)
        begun = [name for since, name in self._since if since <= answer.planned_at]
        self.of[begun[-1] if begun else PHASES[0]].note(answer)


class Moving:
    """There and, with another cycle, back: `cycles` moves, each with a calm time before and after it."""

    def __init__(self, plan: Plan, drill: Drill, actor: str, measure: Measure) -> None:
        self._plan = msgspec.structs.replace(plan, calls=None, seconds=None)
        self._drill, self._actor, self._measure = drill, actor, measure
        self._ledger = Phases(plan.streams[0].slo)
        self._moves = Sample()
        self._measuring: Measuring | None = None
        self._done = 0

    async def run(self) -> None:
        """Raises DrillStuck, or why it may not move."""
        self._measuring = self._measure(self._plan, lambda _: self._ledger)
        load = asyncio.create_task(self._measuring.run())
        moves = asyncio.create_task(self._move_on())
        try:
            await asyncio.wait([load, moves], return_when=asyncio.FIRST_COMPLETED)
            if load.done():
                load.result()
            await moves
            self._measuring.finish()
            await load
        finally:
            for task in (load, moves):
                task.cancel()
            await asyncio.gather(load, moves, return_exceptions=True)

    async def _move_on(self) -> None:
        self._ledger.begin("before", time.monotonic())
        for _ in range(self._drill.cycles):
            await asyncio.sleep(self._drill.turn_seconds)
            began = time.monotonic()
            self._ledger.begin("while it moved", began)
            source, target = await sync_to_async(_move)(self._plan.streams[0].deployment, self._actor)
            while not await sync_to_async(_moved)(source, target):
                if time.monotonic() - began > STUCK_SECONDS:
                    raise DrillStuck(f"the move was not done within {STUCK_SECONDS:.0f} s")
                await asyncio.sleep(LOOK_SECONDS)
            self._moves.add(time.monotonic() - began)
            self._ledger.begin("after", time.monotonic())
            self._done += 1
        await asyncio.sleep(self._drill.turn_seconds)

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first call."""
        if self._measuring is None:
            return None
        parts = [Part(name=name, figures=ledger.figures()) for name, ledger in self._ledger.of.items()]
        drilled = Drilled(
            kind="move",
            cycles=self._done,
            move_seconds=self._moves.distribution(),
            parts=parts,
            words=self._words(parts),
        )
        return DrillResult(**self._measuring.result(), drill=drilled)

    def _words(self, parts: list[Part]) -> str:
        meanwhile = parts[1]["figures"]
        failed = sum(meanwhile["failed"].values())
        took = milliseconds(self._moves.distribution()["p50"])
        first = [milliseconds(part["figures"]["times"]["ttft"]["p99"]) for part in parts]
        lost = "no call failed" if not failed else f"{failed} of {meanwhile['calls']} calls failed"
        return f"A move took {took} and {lost} meanwhile; first token p99 was {first[0]} before, {first[1]} meanwhile."

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""
        return progress(self._measuring, self._done, self._drill.cycles)


def _move(name: str, actor: str) -> tuple[int, int]:
    """The first replica that serves, to the first GPU that takes it. Raises NoCapacity or DrillStuck."""
    row = Replica.objects.filter(deployment__name=name, state=State.READY, goal=Goal.READY).first()
    if row is None:
        raise DrillStuck(f"{name} has no ready replica to move")
    refused: NoCapacity | None = None
    for gpu in GPU.objects.exclude(pk=row.gpu_id).order_by("node", "index"):
        try:
            return row.pk, verbs.move(row, gpu, actor=actor).pk
        except NoCapacity as error:
            refused = error
    raise refused or DrillStuck(f"there is no other GPU to move {name} to")


def _moved(source: int, target: int) -> bool:
    """Whether the copy serves and the old one is gone. Raises DrillStuck where the copy is gone instead."""
    copy = Replica.objects.filter(pk=target).first()
    if copy is None or copy.goal == Goal.STOPPED or copy.state == State.FAILED:
        raise DrillStuck("the copy that was to take over failed" + (f": {copy.message}" if copy else ""))
    old = Replica.objects.filter(Q(pk=source) & ~Q(state=State.STOPPED)).exists()
    return copy.state == State.READY and not old
