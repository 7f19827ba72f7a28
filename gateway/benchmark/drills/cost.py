"""What our gateway costs: the same load through `/v1` and straight to the engine, by turns."""

import msgspec

from gateway.benchmark.drills.drill import Drill, Drilled, DrillProgress, DrillResult, Measure, Sides, progress
from gateway.benchmark.load.plan import Plan, Way
from gateway.benchmark.measuring import Measuring

SIDES: dict[Way, str] = {"engine": "straight to the engine", "gateway": "through the gateway"}


class Cost:
    """Both ways in each cycle; who comes first changes from one to the next."""

    def __init__(self, plan: Plan, drill: Drill, actor: str, measure: Measure) -> None:
        self._plan = msgspec.structs.replace(plan, streams=plan.streams[:1], calls=None, seconds=drill.turn_seconds)
        self._drill, self._measure = drill, measure
        self._sides = Sides()
        self._measuring: Measuring | None = None
        self._done = 0

    async def run(self) -> None:
        """Make the calls of every cycle, on both sides of it."""
        for cycle in range(self._drill.cycles):
            for way in ("engine", "gateway") if cycle % 2 else ("gateway", "engine"):
                plan = by_way(self._plan, way)
                self._measuring = self._measure(plan, self._sides.of(SIDES[way], plan))
                await self._measuring.run()
            self._done += 1

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first call."""
        if self._measuring is None:
            return None
        parts = sorted(self._sides.parts(), key=lambda part: part["name"])
        drilled = Drilled(kind="cost", cycles=self._done, parts=parts, words=self._words())
        return DrillResult(**self._measuring.result(), drill=drilled)

    def _words(self) -> str:
        found = [self._sides.ledgers.get(name) for name in (SIDES["engine"], SIDES["gateway"])]
        straight, through = (each.figures()["times"] if each is not None else None for each in found)
        if straight is None or through is None:
            return "Only one way was measured."
        said = [
            f"{(through[name][at] - straight[name][at]) * 1000:+.2f} ms {words}"  # type: ignore[literal-required]
            for name, at, words in (("ttft", "p50", "to the first token (p50)"), ("ttft", "p99", "(p99)"))
            if through[name][at] is not None and straight[name][at] is not None  # type: ignore[literal-required]
        ]
        return f"The gateway adds {', '.join(said) or 'what cannot be said: calls failed'}."

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""
        return progress(self._measuring, self._done, self._drill.cycles)


def by_way(plan: Plan, way: Way) -> Plan:
    """The same load on this way."""
    return msgspec.structs.replace(
        plan, streams=tuple(msgspec.structs.replace(stream, way=way) for stream in plan.streams)
    )
