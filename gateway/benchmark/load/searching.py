"""The highest load that keeps an SLO: which to try next, and what may be said in the end. Pure."""

import math
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import msgspec

Z = 1.96
"""Of a 95 % confidence interval."""


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a search may try. `ratio`: so large a part of the calls has to keep the SLO."""

    over: Literal["rate", "concurrency"] = "rate"
    low: float = 1.0
    high: float = 1000.0
    ratio: float = 0.95
    trial_seconds: float = 15.0
    most_seconds: float = 300.0
    precision: float = 0.1
    """It is over once what fails is at most this part above what keeps."""


class Trial(TypedDict):
    """One load and how its calls fared."""

    value: float
    good: int
    calls: int
    keeps: bool
    certain: bool
    """Whether the confidence interval leaves no doubt."""
    requests_per_second: float | None
    e2e_mean_seconds: float | None


class Answer(TypedDict):
    """The highest load that kept the SLO, with its confidence, and every load that was tried."""

    over: str
    value: float | None
    """The highest load that kept the SLO; None where not even the lowest did."""
    fails_at: float | None
    """The lowest load above it that did not; None where nothing did."""
    good_ratio: float | None
    good_ratio_low: float | None
    """With the next: the 95 % confidence interval of the part that kept it, at that load."""
    good_ratio_high: float | None
    knee: float | None
    """Where throughput by duration is best: beyond it waiting grows faster than work."""
    max_concurrency: int | None
    """So many calls are in flight on average at that load: a limit for the deployment."""
    words: str
    trials: list[Trial]


def wilson(good: int, calls: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, after Wilson."""
    if not calls:
        return 0.0, 1.0
    share, square = good / calls, Z * Z
    middle = (share + square / (2 * calls)) / (1 + square / calls)
    half = Z / (1 + square / calls) * math.sqrt(share * (1 - share) / calls + square / (4 * calls * calls))
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(slots=True)
class Search:
    """Doubles the load until it is too much, then halves what lies between. A doubtful load is tried once more."""

    bounds: Bounds
    trials: list[Trial] = field(default_factory=list)
    _doubted: set[float] = field(default_factory=set)

    def next(self, spent_seconds: float) -> float | None:
        """The load to try now; None when there is nothing more to learn, or no time for it."""
        bounds = self.bounds
        if spent_seconds + bounds.trial_seconds > bounds.most_seconds and self.trials:
            return None
        if not self.trials:
            return self._rounded(bounds.low)
        last = self.trials[-1]
        if not last["certain"] and last["value"] not in self._doubted:
            self._doubted.add(last["value"])
            return last["value"]
        keeps, fails = self._keeps(), self._fails()
        if keeps is None:
            return None
        if fails is None:
            return None if keeps >= bounds.high else self._rounded(min(keeps * 2, bounds.high))
        between = self._rounded(math.sqrt(keeps * fails) if bounds.over == "rate" else (keeps + fails) / 2)
        if fails <= keeps * (1 + bounds.precision) or between in (keeps, fails):
            return None
        return between

    def note(
        self, value: float, good: int, calls: int, requests_per_second: float | None, e2e_mean_seconds: float | None
    ) -> Trial:
        """A trial has ended. A second one of the same load is added to the first."""
        before = next((each for each in self.trials if each["value"] == value), None)
        if before is not None:
            self.trials.remove(before)
            good, calls = good + before["good"], calls + before["calls"]
        low, high = wilson(good, calls)
        ratio = self.bounds.ratio
        trial = Trial(
            value=value,
            good=good,
            calls=calls,
            keeps=calls > 0 and good >= ratio * calls,
            certain=low >= ratio or high < ratio,
            requests_per_second=requests_per_second,
            e2e_mean_seconds=e2e_mean_seconds,
        )
        self.trials.append(trial)
        return trial

    def answer(self) -> Answer:
        """What is known by now."""
        keeps = self._keeps()
        best = next((each for each in self.trials if each["value"] == keeps), None)
        low, high = wilson(best["good"], best["calls"]) if best else (None, None)
        return Answer(
            over=self.bounds.over,
            value=keeps,
            fails_at=self._fails(),
            good_ratio=best["good"] / best["calls"] if best else None,
            good_ratio_low=low,
            good_ratio_high=high,
            knee=self._knee(),
            max_concurrency=self._concurrency(best),
            words=self._words(best),
            trials=sorted(self.trials, key=lambda each: each["value"]),
        )

    def _keeps(self) -> float | None:
        """The highest load below everything that failed."""
        fails = self._fails()
        kept = [each["value"] for each in self.trials if each["keeps"] and (fails is None or each["value"] < fails)]
        return max(kept, default=None)

    def _fails(self) -> float | None:
        return min((each["value"] for each in self.trials if not each["keeps"]), default=None)

    def _rounded(self, value: float) -> float:
        return float(max(round(value), 1)) if self.bounds.over == "concurrency" else float(f"{value:.3g}")

    def _knee(self) -> float | None:
        powers = {
            each["value"]: each["requests_per_second"] / each["e2e_mean_seconds"]
            for each in self.trials
            if each["requests_per_second"] and each["e2e_mean_seconds"]
        }
        return max(powers, key=lambda value: powers[value], default=None)

    def _concurrency(self, best: Trial | None) -> int | None:
        """Little's law, for a rate."""
        if best is None:
            return None
        if self.bounds.over == "concurrency":
            return int(best["value"])
        if best["e2e_mean_seconds"] is None:
            return None
        return max(math.ceil(best["value"] * best["e2e_mean_seconds"]), 1)

    def _words(self, best: Trial | None) -> str:
        unit = "calls a second" if self.bounds.over == "rate" else "callers at once"
        asked = f"{self.bounds.ratio:.0%} of the calls"
        if best is None:
            first = min(self.trials, key=lambda each: each["value"], default=None)
            if first is None:
                return "nothing was tried"
            return (
                f"this SLO cannot be met: even at {first['value']:g} {unit} only {first['good']} of {first['calls']} "
                f"calls kept it, where {asked} should"
            )
        fails = self._fails()
        beyond = "no load that was tried was too much" if fails is None else f"{fails:g} is too much"
        doubt = "" if best["certain"] else ", which is not certain after so few calls"
        return f"{asked} keep the SLO up to {best['value']:g} {unit}{doubt}; {beyond}"


class SearchProgress(TypedDict):
    """The present trial, and what is known."""

    trying: float
    trials: int
    kept: float | None
    spent_seconds: float
    most_seconds: float


def progress(search: Search, spent_seconds: float, value: float) -> SearchProgress:
    """How far a search is."""
    return {
        "trying": value,
        "trials": len(search.trials),
        "kept": search.answer()["value"],
        "spent_seconds": round(spent_seconds, 1),
        "most_seconds": search.bounds.most_seconds,
    }
