"""Bursts in turn: each model's rate climbs from nothing to a peak and falls again, one model after the other. Pure."""

import msgspec

from gateway.benchmark.load.plan import Arrival, Moment, Plan, Stream

STAGGER = 1.125
"""Between the beginnings of two models' bursts, in lengths of a burst."""


def burst(peak: float, seconds: float) -> list[float]:
    """When calls come while the rate climbs evenly to `peak` a second at half time, and falls again."""
    half = seconds / 2
    slope = peak / half
    climb = [(2 * number / slope) ** 0.5 for number in range(1, int(peak * half / 2) + 1)]
    return climb + [seconds - moment for moment in reversed(climb)]


def in_turns(plan: Plan, seconds: float, rounds: int) -> Plan:
    """The same streams, each asked in its turn, `rounds` times over; their rates are the peaks."""
    begins = [
        [(turn * len(plan.streams) + number) * STAGGER * seconds for turn in range(rounds)]
        for number in range(len(plan.streams))
    ]
    streams = tuple(_asked_at(stream, each, seconds) for stream, each in zip(plan.streams, begins, strict=True))
    return msgspec.structs.replace(plan, streams=streams, together=True, seconds=None, calls=None)


def _asked_at(stream: Stream, begins: list[float], seconds: float) -> Stream:
    prompt, output = stream.prompt.tokens, stream.output.tokens
    moments = tuple(
        Moment(begin + at, prompt, output) for begin in begins for at in burst(stream.arrival.rate, seconds)
    )
    return msgspec.structs.replace(stream, arrival=Arrival("trace", trace=moments))
