"""Elastic KV memory beside fixed parts of it: the same bursts, once with limits that follow demand, once without."""

import asyncio

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings

from gateway.benchmark.drills import caps
from gateway.benchmark.drills.drill import (
    Drill,
    Drilled,
    DrillProgress,
    DrillResult,
    Measure,
    Sides,
    milliseconds,
    progress,
)
from gateway.benchmark.drills.turns import in_turns
from gateway.benchmark.load.plan import Plan
from gateway.benchmark.measuring import Measuring
from gateway.errors import NothingElastic
from gpus import kvcached
from models_app.memory import governor
from models_app.models import Deployment, Replica
from models_app.states import State
from sardeenz import sizes
from sardeenz.errors import InvalidSpec

FIXED, ELASTIC = "fixed parts", "elastic"
SETTLE_SECONDS = governor.BUSY_SECONDS + 3.0
"""By then no engine keeps the wish of the side before, every limit is set, and idle ones gave back what is above it."""


class Elastic:
    """Both sides in each cycle, with the same calls; who comes first changes from one to the next."""

    def __init__(self, number: int, plan: Plan, drill: Drill, actor: str, measure: Measure) -> None:
        self._number = number
        self._plan = in_turns(plan, drill.turn_seconds, 1)
        self._drill, self._actor, self._measure = drill, actor, measure
        self._sides = Sides()
        self._measuring: Measuring | None = None
        self._done = 0
        self._whole = 0

    async def run(self) -> None:
        """Raises NothingElastic or InvalidSpec. Whoever writes the end of the run gives the caps from before back."""
        names = sorted({stream.deployment for stream in self._plan.streams})
        self._whole = self._drill.kv_bytes or await sync_to_async(whole)(names)
        await sync_to_async(refuse_below_floors)(names, self._whole // len(names))
        await sync_to_async(caps.remember)(self._number, names)
        by_side = {FIXED: self._whole // len(names), ELASTIC: self._whole}
        for cycle in range(self._drill.cycles):
            for side in (ELASTIC, FIXED) if cycle % 2 else (FIXED, ELASTIC):
                await sync_to_async(caps.set_all)(dict.fromkeys(names, by_side[side]), self._actor)
                await asyncio.sleep(SETTLE_SECONDS)
                plan = self._plan
                if plan.seed is not None:  # so that no prefix cache answers for the side before
                    plan = msgspec.structs.replace(plan, seed=plan.seed + self._done * 2 + (side == ELASTIC))
                self._measuring = self._measure(plan, self._sides.of(side, plan))
                await self._measuring.run()
            self._done += 1

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first call."""
        if self._measuring is None:
            return None
        drilled = Drilled(kind="elastic", cycles=self._done, parts=self._sides.parts(), words=self._words())
        return DrillResult(**self._measuring.result(), drill=drilled)

    def _words(self) -> str:
        whole = f"Of {sizes.shown(self._whole)} of KV memory"
        said = []
        for name, ledger in ((each, self._sides.ledgers.get(each)) for each in (ELASTIC, FIXED)):
            if ledger is not None:
                first = ledger.samples["ttft"].distribution()
                said.append(f"{name}: first token p50 {milliseconds(first['p50'])}, p99 {milliseconds(first['p99'])}")
        return f"{whole}, {'; '.join(said)}."

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""
        return progress(self._measuring, self._done, self._drill.cycles)


def refuse_below_floors(names: list[str], part: int) -> None:
    """A model is never held below its KV floor, so that such a part would be none. Raises InvalidSpec."""
    for row in Deployment.objects.filter(name__in=names, kv_floor_bytes__gt=part).order_by("name"):
        raise InvalidSpec(
            f"a fixed part of {sizes.shown(part)} is below the KV floor of {row.name}, "
            f"{sizes.shown(row.kv_floor_bytes)}: let them share more, or lower the floor",
            field="drill",
        )


def whole(names: list[str]) -> int:
    """The KV memory that the least of these engines may map: each alone could have it all. Raises NothingElastic."""
    limits = []
    for name in names:
        rows = Replica.objects.filter(deployment__name=name, state=State.READY)
        segments = [kvcached.read(settings.SEGMENT_DIR, row.ipc_name) for row in rows if row.ipc_name]
        found = [segment.limit_bytes for segment in segments if segment is not None]
        if not found:
            raise NothingElastic(f"{name} has no ready engine with kvcached: its KV memory is not elastic")
        limits.append(min(found))
    return min(limits)
