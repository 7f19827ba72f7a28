"""Carries out a search: one measurement after another, each of another load, until the answer is known."""

from collections.abc import Callable

import msgspec

from gateway.benchmark.load import searching
from gateway.benchmark.load.plan import Plan
from gateway.benchmark.load.searching import Answer, Bounds, Search, SearchProgress
from gateway.benchmark.measuring import Measuring, Progress, Result

Measure = Callable[[Plan], Measuring]


class SearchResult(Result):
    """The measurement of the answer, or of the last load tried, and the answer itself."""

    search: Answer


class TrialProgress(Progress):
    """The trial under way, and the search that it is part of."""

    search: SearchProgress


class Searching:
    """The first stream's load is varied; the others are neighbours whose load stays as it is."""

    def __init__(self, plan: Plan, bounds: Bounds, measure: Measure) -> None:
        self._plan, self._bounds, self._measure = plan, bounds, measure
        self._search = Search(bounds)
        self._measuring: Measuring | None = None
        self._results: dict[float, Result] = {}
        self._value = bounds.low
        self._spent = 0.0

    async def run(self) -> None:
        """Try one load after another."""
        while (value := self._search.next(self._spent)) is not None:
            self._value = value
            self._measuring = measuring = self._measure(at_load(self._plan, self._bounds, value))
            await measuring.run()
            self._spent += measuring.elapsed
            self._results[value] = result = measuring.result()
            figures = result["streams"][0]["figures"]
            mean = figures["times"]["e2e_service"]["mean"]
            self._search.note(value, figures["good"] or 0, figures["calls"], figures["requests_per_second"], mean)

    def result(self) -> SearchResult | None:
        """What is known by now; None before the first trial has ended."""
        answer = self._search.answer()
        if not self._results:
            return None
        shown = self._results.get(answer["value"] or 0.0) or list(self._results.values())[-1]
        return SearchResult(**shown, search=answer)

    def progress(self) -> TrialProgress:
        """How far it is: the present trial, and the search."""
        present = self._measuring.progress() if self._measuring is not None else Progress()
        return TrialProgress(**present, search=searching.progress(self._search, self._spent, self._value))


def at_load(plan: Plan, bounds: Bounds, value: float) -> Plan:
    """The plan of one trial."""
    first, *others = plan.streams
    arrival = first.arrival
    if bounds.over == "concurrency":
        arrival = msgspec.structs.replace(arrival, pattern="closed", concurrency=int(value))
    else:
        pattern = arrival.pattern if arrival.pattern in ("constant", "poisson", "gamma") else "poisson"
        arrival = msgspec.structs.replace(arrival, pattern=pattern, rate=value)
    varied = msgspec.structs.replace(first, arrival=arrival)
    streams = (varied, *others)
    seconds = bounds.trial_seconds
    drain = min(plan.drain_seconds, seconds)  # what takes longer than a trial keeps no SLO, and time is short
    return msgspec.structs.replace(
        plan, streams=streams, together=True, seconds=seconds, calls=None, drain_seconds=drain
    )
