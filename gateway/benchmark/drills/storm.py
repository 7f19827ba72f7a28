"""Models that do not all fit are asked in turn: what calls wait, and what it moves in the fleet."""

from collections import Counter
from datetime import datetime

from asgiref.sync import sync_to_async
from django.utils import timezone

from gateway.benchmark.drills.drill import (
    Drill,
    Drilled,
    DrillProgress,
    DrillResult,
    Happening,
    Measure,
    Sides,
    milliseconds,
    progress,
)
from gateway.benchmark.drills.turns import in_turns
from gateway.benchmark.load.plan import Plan
from gateway.benchmark.measuring import Measuring
from models_app.models import Transition

MOST = 500
_WORDS = {"sleeping": "fell asleep", "waking": "began to wake", "starting": "began to load", "ready": "was ready"}
_WORDS |= {"stopped": "was stopped", "failed": "failed"}


class Storm:
    """A trace as it was given, or bursts in turn; beside the calls stands what every replica did meanwhile."""

    def __init__(self, plan: Plan, drill: Drill, actor: str, measure: Measure) -> None:
        replays = any(stream.arrival.trace for stream in plan.streams)
        self._plan = plan if replays else in_turns(plan, drill.turn_seconds, drill.cycles)
        self._sides = Sides()
        self._measure = measure
        self._measuring: Measuring | None = None
        self._happenings: list[Happening] = []
        self._done = 0

    async def run(self) -> None:
        """Make the calls, and look what replicas did."""
        began = timezone.now()
        self._measuring = self._measure(self._plan, self._sides.of("all", self._plan))
        try:
            await self._measuring.run()
            self._done = 1
        finally:
            self._happenings = await sync_to_async(happenings)(began)

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first call."""
        if self._measuring is None:
            return None
        parts = self._sides.parts()
        counted = Counter(one["words"] for one in self._happenings)
        first = parts[0]["figures"]["times"]["ttft"]
        words = (
            f"{counted['began to wake']} wakes, {counted['began to load']} loads and {counted['fell asleep']} sleeps; "
            f"first token p50 {milliseconds(first['p50'])}, p99 {milliseconds(first['p99'])}."
        )
        drilled = Drilled(kind="storm", cycles=1, parts=parts, happenings=self._happenings[:MOST], words=words)
        return DrillResult(**self._measuring.result(), drill=drilled)

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""
        return progress(self._measuring, self._done, 1)


def happenings(since: datetime) -> list[Happening]:
    """Every change of a replica's state since then, in order."""
    rows = Transition.objects.filter(at__gte=since, new__in=_WORDS).exclude(replica=None).order_by("id")
    return [
        Happening(
            at_seconds=round((row.at - since).total_seconds(), 1),
            deployment=row.deployment_name,
            words=_WORDS[row.new],
        )
        for row in rows
        if row.old != row.new
    ]
