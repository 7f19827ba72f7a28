"""What a benchmark is to do, as plain values. Whoever makes one has checked it: see `checks`."""

from typing import Literal

import msgspec

Kind = Literal["chat", "completions", "embeddings"]
Way = Literal["gateway", "engine"]
Pattern = Literal["closed", "constant", "poisson", "gamma", "ramp", "trace"]
Shape = Literal["fixed", "uniform", "lognormal"]


class Lengths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many tokens: always `tokens`; or from `low` to `high`; or with a median of `tokens` and a spread of `sigma`,
    never outside `low` and `high` where they are said."""

    shape: Shape = "fixed"
    tokens: int = 128
    low: int | None = None
    high: int | None = None
    sigma: float = 0.5


class Moment(msgspec.Struct, frozen=True):
    """One call of a trace: seconds after its beginning, and what it asks for."""

    at: float
    prompt_tokens: int
    output_tokens: int


class Arrival(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When calls are made.

    `closed`: `concurrency` callers, each of which asks again when it was answered. All others are open loops: a call is
    made at its time whatever became of those before it. `ramp` goes from `rate` to `rate_end` within `ramp_seconds`.
    """

    pattern: Pattern = "closed"
    concurrency: int = 1
    rate: float = 1.0
    rate_end: float = 1.0
    ramp_seconds: float = 60.0
    burstiness: float = 1.0
    """Of `gamma`: the shape of the gaps. 1 is Poisson, less is burstier."""
    trace: tuple[Moment, ...] = ()
    speed: float = 1.0
    """A trace is replayed so many times as fast as it was."""


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call has to keep to count as good; None asks for nothing."""

    ttft_seconds: float | None = None
    itl_seconds: float | None = None
    """No token may come later than this after the one before it."""
    tpot_seconds: float | None = None
    e2e_seconds: float | None = None


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls to one deployment that are alike."""

    deployment: str
    arrival: Arrival = Arrival()
    prompt: Lengths = Lengths()
    output: Lengths = Lengths()
    shared_prefix_ratio: float = 0.0
    """So large a part of each prompt is the same in all of them."""
    prompts: tuple[str, ...] = ()
    """Asked in turn instead of prompts that are made up."""
    exact_output: bool = True
    """Answers have exactly the length that was drawn: the engine may not end them early."""
    kind: Kind = "chat"
    way: Way = "gateway"
    slo: Slo = Slo()


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One-token calls to a neighbour, beside the load."""

    deployment: str
    every_seconds: float = 1.0


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run. Each stream ends after `seconds` or after `calls`, whichever comes first."""

    streams: tuple[Stream, ...]
    probes: tuple[Probe, ...] = ()
    together: bool = True
    """All streams at once; else one after the other."""
    seconds: float | None = None
    calls: int | None = None
    warmup_seconds: float = 0.0
    """Calls planned within it are made and not measured."""
    drain_seconds: float = 60.0
    """What is not answered so long after the last call is cut off."""
    seed: int | None = None
    """None: a new one for each run, so that no prefix cache answers for the run before."""
