"""How far a reader is led about who follows one replica through one step: into how many files, and how often.

Real steps of real workers with simulated engines are traced. Every call from one of our files into another is a
crossing; its return is not counted again. What is run once a change is committed (pages and gateways hear of it, the
same after every step) is counted apart. `pytest -s` prints the table.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gpus.models import GPU
from models_app.lifecycle import observe, verbs
from models_app.lifecycle.observe import World
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Replica
from tests import factories
from tests.models_app.workers import fresh_workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ("run_and_clear_commit_hooks", "on_commit", "tell_pages")
"""Django's names of what calls the functions given to `transaction.on_commit`, and ours of what tells pages later."""
PRODUCT = tuple(f"{ROOT / package}/" for package in ("models_app", "gpus", "sardeenz", "gateway"))
PROPERTIES = {f"Replica.{name}" for name, value in vars(Replica).items() if isinstance(value, property)}
"""A property of the row is read where it stands and leads nowhere."""

MOST_CROSSINGS = {"start": 63, "sleep": 44, "wake": 33, "move": 113, "stop": 31}
"""Of a start, a sleep and a move 8, 7 and 10 are the look at the node's RAM; of a start 2, whether it looks at pictures
and what is kept of its answers, of a wake 1, what is compared with that, and 1 that pages hear of it last; of a sleep
1, by what means it gives way; of each drain 2, what gateways report. Of a start 2 more, what its engine is told of its
own launch, should its row be lost. Of a start, a sleep and a wake 1 more: the row is locked before what gets scarcer;
of a wake 1, gateways hear that it lasts."""


@dataclass(slots=True)
class Trace:
    """Where control went during one step."""

    story: str
    step: str = ""
    crossings: Counter[tuple[str, str]] = field(default_factory=Counter)
    announcing: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    stack: list[str] = field(default_factory=list)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """The profiler's hook: the stack holds the file of each frame, that of its caller for a frame not ours."""
        path = frame.f_code.co_filename
        if event == "return" and self.stack:
            self.stack.pop()
        elif event == "call":
            before = self.stack[-1] if self.stack else ""
            here = path.removeprefix(f"{ROOT}/") if path.startswith(PRODUCT) else before
            if frame.f_code.co_name in COMMITTED:
                here = "committed"
            if here not in (before, "committed") and frame.f_code.co_qualname not in PROPERTIES:
                self._note(before, here, frame.f_code.co_qualname)
            self.stack.append(here)

    def _note(self, before: str, here: str, name: str) -> None:
        if "committed" in self.stack:
            self.announcing[before, f"{here}:{name}"] += 1
        else:
            self.files.add(here)
            self.crossings[before, f"{here}:{name}"] += before != ""


@contextmanager
def profiled(trace: Trace) -> Iterator[None]:
    sys.setprofile(trace)
    try:
        yield
    finally:
        sys.setprofile(None)


@dataclass(slots=True)
class Traced(Reconciler):
    """A worker that keeps the traces of steps that moved something."""

    traces: list[Trace] = field(default_factory=list)
    story: str = ""

    def step(self, replica: Replica, around: World) -> bool:
        trace = Trace(self.story)
        before = replica.state
        with profiled(trace):
            moved = Reconciler.step(self, replica, around)
        if moved:
            trace.step = f"{before} -> {replica.state}"
            self.traces.append(trace)
        return moved


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Traced]]:
    monkeypatch.setattr(observe, "DEEP_PROBE_SECONDS", 0.0)  # ready engines are asked at every look
    with fresh_workers(Traced) as traced:
        yield traced


def follow(workers: list[Traced], story: str, done: Callable[[], bool]) -> list[Trace]:
    """Let the workers go round until it is so; what their steps were."""
    for worker in workers:
        worker.story, worker.traces = story, []
    until = time.monotonic() + 100
    while not done():
        assert time.monotonic() < until, list(Replica.objects.values_list("pk", "state", "goal", "message"))
        for worker in workers:
            worker.run()
    return [trace for worker in workers for trace in worker.traces]


def stands(*replicas: Replica, state: str) -> bool:
    """Whether these are the rows there are, all in this state."""
    return list(Replica.objects.order_by("pk").values_list("pk", "state")) == [(row.pk, state) for row in replicas]


def fresh(replica: Replica) -> Replica:
    replica.refresh_from_db()
    return replica


def test_a_step_leads_through_few_files(workers: list[Traced]) -> None:
    first, second = GPU.objects.order_by("index")
    [one] = verbs.deploy(factories.deployment(extra_args=["--load-seconds", "0.2"]), actor="test", gpu=first)
    traces = follow(workers, "start", lambda: stands(one, state="ready"))
    verbs.sleep(fresh(one), actor="test")
    traces += follow(workers, "sleep", lambda: stands(one, state="sleeping"))
    verbs.wake(fresh(one), actor="test")
    traces += follow(workers, "wake", lambda: stands(one, state="ready"))
    target = verbs.move(fresh(one), second, actor="test")
    traces += follow(workers, "move", lambda: stands(target, state="ready"))
    verbs.stop(fresh(target), actor="test")
    traces += follow(workers, "stop", lambda: stands(target, state="stopped"))
    crossings: Counter[str] = Counter()
    for trace in traces:
        crossings[trace.story] += trace.crossings.total()
        told = f"{trace.crossings.total():3} crossings, {trace.announcing.total():3} to announce it"
        print(f"{trace.story:5} {trace.step:20} {len(trace.files):3} files, {told}")
    print("crossings by story:", dict(crossings), "together:", crossings.total())
    assert crossings.keys() == MOST_CROSSINGS.keys()
    assert {story: count for story, count in crossings.items() if count > MOST_CROSSINGS[story]} == {}
