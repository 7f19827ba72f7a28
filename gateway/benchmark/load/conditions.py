"""Conditions on figures, such as `ttft_p95>0.5`: for whoever fails a build by them, and for searches. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.benchmark.load.figures import TIMES
from sardeenz.errors import InvalidSpec

STATISTICS = ("p50", "p90", "p95", "p99", "max", "mean")
PLAIN = ("requests_per_second", "output_tokens_per_second", "goodput_ratio", "failed_ratio", "calls", "ok")
_FORM = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, how it is compared, and with what."""

    figure: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.figure}{self.sign}{self.limit:g}"

    def holds(self, figures: Mapping[str, Any]) -> bool:
        """Whether it is so. A time that never came is larger than everything; a figure that is not known is nothing."""
        value = value_of(self.figure, figures)
        if value is None:
            return False
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.sign]


def read(text: str) -> Condition:
    """The condition in a text. Raises InvalidSpec with what may be said."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidSpec(f"{text!r} is no condition: write one as ttft_p95>0.5", field="condition")
    figure, sign, number = form.groups()
    name, _, statistic = figure.rpartition("_")
    if figure not in PLAIN and not (name in TIMES and statistic in STATISTICS):
        raise InvalidSpec(
            f"{figure!r} is no figure: there are {', '.join(PLAIN)}, and {', '.join(TIMES)}, "
            f"each with one of {', '.join('_' + each for each in STATISTICS)}",
            field="condition",
        )
    try:
        return Condition(figure, sign, float(number))
    except ValueError as error:
        raise InvalidSpec(f"{number!r} is no number", field="condition") from error


def value_of(figure: str, figures: Mapping[str, Any]) -> float | None:
    """The figure's value; infinite for a time that never came, None for what is not known."""
    if figure == "failed_ratio":
        return 1 - figures["ok"] / figures["calls"] if figures["calls"] else None
    if figure in PLAIN:
        value = figures[figure]
        return None if value is None else float(value)
    name, _, statistic = figure.rpartition("_")
    times = figures["times"][name]
    value = times[statistic]
    if value is None and times["never"]:
        return float("inf")
    return None if value is None else float(value)
