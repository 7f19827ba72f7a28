"""Fifty plans drawn at random, each applied: what they said beforehand against what became of the machine.

Engines hold a little more or less than is expected of them, and no load or wake takes as long as the last.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F, Q

from gpus import telemetry
from models_app.api import actions
from models_app.lifecycle import scale
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.setbacks import Setbacks
from models_app.models import Deployment, Plan, Replica
from models_app.policy import consent
from models_app.policy.plans import book
from models_app.states import Goal, State
from sardeenz.errors import SardeenzError
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.windows.machine import Clock, Machine, Pace

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

PLANS, GPUS, DEPLOYMENTS = 50, 2, 5
MEMORY, SECONDS = 0.05, 0.30
"""A prediction may be so far from what came, as a part of it."""
SECOND = timedelta(seconds=1)


@dataclass
class World:
    """A fleet in virtual time: its clock goes on to the next instant at which an engine is done with something."""

    chance: random.Random
    machine: Machine = field(init=False)
    workers: dict[str, Reconciler] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    down: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self.machine = Machine(Clock(datetime(2027, 6, 7, tzinfo=UTC)), pace_of=self._pace)

    def build(self) -> None:
        """Two GPUs, and more deployments than serve on them at once."""
        factories.node(memory_bytes=1024 * GIB, sleep_budget_bytes=512 * GIB)
        self.workers = {uuid: Reconciler(uuid) for uuid in [factories.gpu().uuid for _ in range(GPUS)]}
        for number in range(DEPLOYMENTS):
            factories.deployment(name=f"m{number}", weights_bytes=(16 + 8 * (number % 3)) * GIB)
        self.names = dict(Deployment.objects.values_list("pk", "name"))
        for name in self.names.values():
            self.do({"verb": "deploy", "deployment": name, "evict": True})
            self.settle()

    def _pace(self, marker: str) -> Pace:
        """A model's own times, and some luck; what its engine holds is its own alone."""
        number = Replica.objects.get(pk=marker.split(":")[0]).deployment_id
        own = random.Random(number)
        load, wake, asleep = own.uniform(20, 60), own.uniform(1, 5), own.uniform(0.5, 3)
        luck = self.chance.uniform(0.9, 1.1)
        spans = (timedelta(seconds=each * luck) for each in (load, wake, asleep))
        return Pace(*spans, ratio=own.uniform(0.96, 1.04))

    def do(self, action: dict[str, Any]) -> None:
        """As an operator does it, without a plan."""
        actions.prepare(action, "ada")()

    def frames(self) -> list[dict[str, Any]]:
        """What the node's loop would have published by now."""
        rows = list(Replica.objects.select_related("gpu"))
        pids = {one.process.pid: marker for marker, one in self.machine.engines.items()}
        found = self.machine.held(rows)
        gpus = [
            {
                "uuid": uuid,
                "memory_used_bytes": sum(one.memory_bytes or 0 for one in found[uuid]),
                "processes": [{"memory_bytes": one.memory_bytes, "marker": pids[one.pid]} for one in found[uuid]],
            }
            for uuid in self.workers
        ]
        return [{"node": factories.node().name, "gpus": gpus}]

    def used(self) -> dict[str, int]:
        """What is in use of each GPU."""
        return {gpu["uuid"]: gpu["memory_used_bytes"] for gpu in self.frames()[0]["gpus"]}

    def settle(self) -> None:
        """Until everybody has arrived, with a note of how long each deployment does not serve."""
        for _ in range(300):
            self._pass()
            states = list(Replica.objects.values_list("deployment_id", "state", "goal", "disposable", "reason"))
            serving = {number for number, state, *_ in states if state == State.READY}
            if all(state == goal and not disposable for _, state, goal, disposable, _ in states):
                scale.bring_about(Setbacks())
                if not self._poked():
                    return
            clock = self.machine.clock
            ends = [end for one in self.machine.engines.values() if (end := one.busy_until()) and end > clock.now]
            later = min([clock.now + SECOND, *ends]) if self._waits(states) or not ends else min(ends)
            for number in Deployment.objects.values_list("pk", flat=True):
                if number not in serving:
                    self.down[self.names.get(number, str(number))] += (later - clock.now).total_seconds()
            clock.now = later
        raise AssertionError(f"not settled: {states}")

    @staticmethod
    def _waits(states: list[Any]) -> bool:
        return any(state == State.STOPPED and goal == Goal.READY for _, state, goal, *_ in states)

    def _pass(self) -> None:
        """All that can be done at this instant: by the control worker, and on GPUs where somebody is on the way."""
        scale.bring_about(Setbacks())
        consent.settle()
        for _ in range(6):  # a step is told as taken for as long as an engine is asked to sleep
            if True not in [self.workers[uuid].pass_once() for uuid in sorted(self._poked())]:
                return

    @staticmethod
    def _poked() -> set[str]:
        arrived = Q(state=F("goal"), disposable=False, replacements=None)
        return set(Replica.objects.exclude(arrived).order_by().values_list("gpu__uuid", flat=True))

    def wish(self) -> dict[str, Any]:
        """Something that makes sense for somebody."""
        rows = list(Replica.objects.filter(disposable=False).select_related("deployment"))
        down = [row for row in rows if row.state != State.READY]
        row = self.chance.choice(down if len(down) > len(rows) // 3 else rows)
        name, other = row.deployment.name, str(self.chance.randrange(GPUS))
        level = self.chance.choice((1, 2))
        choices: dict[str, list[dict[str, Any]]] = {
            State.READY: [
                {"verb": "sleep", "deployment": name, "level": level},
                {"verb": "stop", "deployment": name},
                {"verb": "move", "replica": row.pk, "gpu": other, "two_phase": True, "evict": level == 2},
                {"verb": "restart", "replica": row.pk},
                {"verb": "restart", "replica": row.pk},
                {"verb": "edit", "deployment": name, "max_model_len": self._length(), "roll_out": True},
            ],
            State.SLEEPING: [
                {"verb": "wake", "deployment": name, "evict": True},
                {"verb": "wake", "deployment": name},
                {"verb": "stop", "deployment": name},
            ],
            State.STOPPED: [{"verb": "start", "deployment": name, "evict": True}],
        }
        return self.chance.choice(choices[row.state])

    def _length(self) -> int:
        return self.chance.randrange(1024, 9000)


@dataclass
class Tally:
    """What was said and what came, line by line."""

    lines: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    unknown: int = 0

    def off(self, said: float, came: float) -> float:
        """By what part of it."""
        return abs(said - came) / max(came, 1.0)


def judge(world: World, plan: Plan, tally: Tally) -> Iterator[str]:
    """Compare a plan's outcome with the machine; what is amiss comes out."""
    verb = " ".join(f"{value}" for key, value in plan.action.items() if key in ("verb", "deployment", "replica"))
    used, spans = world.used(), []
    for gpu in plan.outcome["gpus"]:
        said_gib, came_gib = gpu["used_after_bytes"] / GIB, used[gpu["uuid"]] / GIB
        tally.memory.append(tally.off(said_gib, came_gib))
        if tally.memory[-1] > MEMORY:
            yield f"{verb}: {gpu['name']} {said_gib:.1f} GiB said, {came_gib:.1f} came"
    said = {one["name"]: one for one in plan.outcome["deployments"]}
    for name in world.names.values():
        one, came = said.get(name), world.down[name]
        serves = Replica.objects.filter(deployment__name=name, state=State.READY).exists()
        if one is not None and (one["then"] == "serves") != serves:
            yield f"{verb}: {name} {one['then']} said, {'serves' if serves else 'does not serve'}"
        if not serves:
            continue
        expected = one["disruption_seconds"] if one is not None else 0.0
        if expected is None:
            tally.unknown += 1
            continue
        if expected or came:
            spans.append(f"{name} {expected:.1f} / {came:.1f} s")
            tally.seconds.append(tally.off(expected, came))
            if tally.seconds[-1] > SECONDS:
                yield f"{verb}: {name} {expected:.1f} s said, {came:.1f} s came"
    sizes = "  ".join(
        f"{gpu['used_after_bytes'] / GIB:5.1f} / {used[gpu['uuid']] / GIB:5.1f}" for gpu in plan.outcome["gpus"]
    )
    tally.lines.append(f"{verb:24} {sizes}   {', '.join(spans)}")


def apply(plan: Plan) -> None:
    """As it was answered."""
    book.apply(plan.pk, lambda given: actions.prepare(given, "ada"), actor="ada")


def test_what_plans_say_is_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tally, amiss = World(random.Random(7)), Tally(), list[str]()
    world.machine.stand_in(monkeypatch)
    monkeypatch.setattr(telemetry, "latest", world.frames)
    world.build()
    while len(tally.lines) < PLANS:
        wish = world.wish()
        plan = book.make(wish, actions.prepare(wish, "ada"), actor="ada")
        world.down.clear()
        if refused := plan.outcome["refused"]:
            with pytest.raises(SardeenzError) as error:
                apply(plan)
            assert error.value.code == refused["code"]
            tally.refused += 1
            continue
        apply(plan)
        world.settle()
        amiss += judge(world, plan, tally)
    print("\nplan" + " " * 21 + f"{'GiB in use of each GPU, said / seen':45} seconds without service, said / seen")
    print("\n".join(tally.lines))
    print(
        f"{len(tally.lines)} plans, {tally.refused} refused as they said; memory within "
        f"{100 * max(tally.memory):.1f} %, {len(tally.seconds)} disruptions within {100 * max(tally.seconds):.0f} %, "
        f"{tally.unknown} were never measured"
    )
    assert amiss == []
    assert len(tally.seconds) >= PLANS // 3
