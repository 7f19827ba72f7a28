"""What no rule can beat that does not know the future: the best turns for a trace, found with all of it in hand.

`python -m tests.bench.contention_bound --trace FILE` looks for the exchanges of three models, of which two are awake,
that leave the fewest calls waiting long. It knows every arrival and when each answer ends. Engines sleep and wake as in
`tests.bench.contention`; one exchange follows another, and begins at a multiple of `GRID_SECONDS`.
"""

import argparse
import math
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from models_app.engines.simulator import text
from tests.bench.contention import PARTS, Call, quantile, read

GRID_SECONDS = 0.5
END_SECONDS = 620.0
TTFT_SECONDS, TOKENS_PER_SECOND = 0.15, 40
EXCHANGE_SECONDS = 4.2
"""From the last answer of who leaves to the first of who comes: sleep, wake, and what was seen of the machinery."""
BEYOND = 1.3
"""Waits longer than so many times the limit count twice."""
TIMES = [step * GRID_SECONDS for step in range(round(END_SECONDS / GRID_SECONDS) + 1)]


@dataclass(frozen=True, slots=True)
class Weights:
    """What a call costs: that it waits at all, and that it waits longer than `limit` seconds."""

    limit: float
    waits: float


class Model:
    """One model's calls, and what an exchange costs that begins at each of the times."""

    def __init__(self, calls: list[Call]) -> None:
        self.arrivals = [call.at for call in calls]
        ends = [call.at + TTFT_SECONDS + _tokens(call) / TOKENS_PER_SECOND for call in calls]
        self.before = [bisect_left(self.arrivals, time) for time in TIMES]
        self.left = [
            max([time, *(end for at, end in zip(self.arrivals, ends, strict=True) if at <= time)]) for time in TIMES
        ]
        """When its last answer has ended, where it leaves at each of the times."""


def _tokens(call: Call) -> int:
    return len(text.answer("word " * call.prompt_tokens, choice=0, limit=call.max_tokens, endless=False))


def best(models: list[Model], weights: Weights) -> list[float]:
    """How long each call waits where the total is least. Backwards in time, over who is out and since when."""
    steps, names = range(len(TIMES)), range(len(models))
    ready = [[left + EXCHANGE_SECONDS for left in model.left] for model in models]
    by_then = {
        (out, leaves): [
            (
                bisect_left(models[out].arrivals, back),
                bisect_left(models[out].arrivals, back - weights.limit),
                bisect_left(models[out].arrivals, back - weights.limit * BEYOND),
            )
            for back in ready[leaves]
        ]
        for out in names
        for leaves in names
        if leaves != out
    }
    value = [[0.0] * len(TIMES) for _ in names]
    choice: list[list[tuple[int, int] | None]] = [[None] * len(TIMES) for _ in names]
    for step in reversed(steps):
        for out in names:
            model = models[out]
            gone = model.before[step]
            value[out][step] = (weights.waits + 3) * (len(model.arrivals) - gone)
            first = max(bisect_left(TIMES, ready[out][step]), step + 1)
            for leaves in names:
                if leaves == out:
                    continue
                then = value[leaves]
                for at, (all_, late, later) in enumerate(by_then[out, leaves][first:], first):
                    cost = weights.waits * (all_ - gone) + max(late - gone, 0) + 2 * max(later - gone, 0) + then[at]
                    if cost < value[out][step]:
                        value[out][step], choice[out][step] = cost, (leaves, at)
    return _waits(models, choice, min(names, key=lambda out: value[out][0]), ready)


def _waits(
    models: list[Model], choice: list[list[tuple[int, int] | None]], out: int, ready: list[list[float]]
) -> list[float]:
    waits, step = list[float](), 0
    while (chosen := choice[out][step]) is not None:
        leaves, at = chosen
        waits += [ready[leaves][at] - when for when in models[out].arrivals if TIMES[step] <= when < ready[leaves][at]]
        out, step = leaves, at
    if any(when >= TIMES[step] for when in models[out].arrivals):
        return [math.inf]
    return waits + [0.0] * (sum(len(model.arrivals) for model in models) - len(waits))


def main() -> None:
    """Print the turns of the lowest p95 among those whose median call does not wait."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, required=True)
    calls = read(parser.parse_args().trace)
    models = [Model([call for call in calls if call.model == name]) for name in sorted({call.model for call in calls})]
    found = [best(models, Weights(limit, waits)) for limit in (4.0, 5.0, 6.0, 7.0, 8.0) for waits in (0.05, 0.3)]
    lowest = min((waits for waits in found if quantile(waits, 0.5) == 0), key=lambda waits: quantile(waits, 0.95))
    for part in PARTS:
        print(f"TTFT p{round(part * 100)}, s{quantile(lowest, part) + TTFT_SECONDS:10.2f}")


if __name__ == "__main__":
    main()
