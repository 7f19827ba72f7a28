"""What a drill is asked and what it shows. The drills themselves are its neighbours; `kinds` names each."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, Required, TypedDict

import msgspec

from gateway.benchmark.load.figures import Figures, Ledger
from gateway.benchmark.load.plan import Plan, Slo
from gateway.benchmark.load.sample import Distribution
from gateway.benchmark.measuring import Measuring, Progress, Result

Kind = Literal["wakes", "cold_starts", "move", "storm", "elastic", "cost"]
LOOK_SECONDS = 0.05
STUCK_SECONDS = 900.0

Measure = Callable[[Plan, Callable[[int], Ledger] | None], Measuring]
"""Makes a measurement of a plan; the second says where the calls of each stream are noted, by its number."""


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which drill, and how often."""

    kind: Kind = "wakes"
    level: int = 1
    """Of `wakes`: how deeply it sleeps."""
    cycles: int = 10
    turn_seconds: float = 10.0
    """Of what has parts: how long each is asked."""
    kv_bytes: int | None = None
    """Of `elastic`: the KV memory that all share; None: what the least of their limits allows."""
    caps_before: dict[str, int | None] = msgspec.field(default_factory=dict)
    """Of `elastic`: the KV caps to give back, whatever becomes of it."""


class Part(TypedDict):
    """The figures of some of a drill's calls: those before a move, of one side of a comparison."""

    name: str
    figures: Figures


class Happening(TypedDict):
    """What a replica did meanwhile."""

    at_seconds: float
    deployment: str
    words: str


class Drilled(TypedDict, total=False):
    """What a drill saw beside its calls."""

    kind: Required[str]
    cycles: Required[int]
    level: int
    sleep_seconds: Distribution
    """From the wish to sleep until the engine sleeps and its memory is seen to be free."""
    stop_seconds: Distribution
    """From the wish to stop until the engine is gone."""
    move_seconds: Distribution
    """From the wish to move until the copy serves and the old one is gone."""
    parts: list[Part]
    happenings: list[Happening]
    words: str
    """What it comes to, in a sentence."""


class DrillResult(Result):
    """The figures of the calls, and what the drill saw."""

    drill: Drilled


class Cycles(TypedDict):
    """How many of a drill's cycles are done."""

    done: int
    cycles: int


class DrillProgress(Progress):
    """The cycle under way, and the drill."""

    drill: Cycles


class Work(Protocol):
    """A drill under way. `result` may be asked at any time."""

    async def run(self) -> None:
        """Do it. Raises DrillStuck, or what a verb is refused with."""

    def result(self) -> DrillResult | None:
        """What was seen by now; None before the first measurement."""

    def progress(self) -> DrillProgress:
        """The cycles that are done, beside what measuring tells of the present one."""


class Sides:
    """Ledgers by name: one for each side and, where there are several deployments, one for each of them there."""

    def __init__(self) -> None:
        self.ledgers: dict[str, Ledger] = {}

    def of(self, name: str, plan: Plan) -> Callable[[int], Ledger]:
        """Where the calls of a plan's streams are noted on this side."""
        whole = self.ledgers.setdefault(name, Ledger(Slo() if len(plan.streams) > 1 else plan.streams[0].slo))
        if len(plan.streams) == 1:
            return lambda _: whole
        for stream in plan.streams:
            self.ledgers.setdefault(f"{name}, {stream.deployment}", Ledger(stream.slo))
        return lambda number: Both(self.ledgers[f"{name}, {plan.streams[number].deployment}"], whole)

    def parts(self) -> list[Part]:
        """Every ledger by its name, with its figures so far."""
        return [Part(name=name, figures=ledger.figures()) for name, ledger in self.ledgers.items()]


class Both(Ledger):
    """Notes each call in two ledgers; its figures are those of the first."""

    def __init__(self, first: Ledger, second: Ledger) -> None:
        super().__init__(Slo())
        self._first, self._second = first, second
        self.samples = first.samples

    def note(self, answer: Any) -> None:
        """Each call that has ended counts where it belongs, and in the whole."""
        self._first.note(answer)
        self._second.note(answer)

    def figures(self) -> Figures:
        """Those of the first, which is the one of a single stream."""
        return self._first.figures()


def progress(measuring: Measuring | None, done: int, cycles: int) -> DrillProgress:
    """How far a drill is, and its present measurement."""
    present = measuring.progress() if measuring is not None else Progress()
    return DrillProgress(**present, drill=Cycles(done=done, cycles=cycles))


def milliseconds(seconds: float | None) -> str:
    """As a drill's sentence says it."""
    return "never" if seconds is None else f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
