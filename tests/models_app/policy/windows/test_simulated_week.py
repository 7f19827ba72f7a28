"""A week by a clock of the test: around both changes of the clocks in two zones, with overrides and killed processes.

What is to act at each instant is worked out by `rules`, which knows nothing of the product.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F, Q, Sum

from models_app.lifecycle import scale
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.setbacks import Setbacks
from models_app.models import Decision, Deployment, Replica, Reservation, Transition
from models_app.policy import consent, why
from models_app.policy.windows import by_hand, overrides
from models_app.policy.windows.apply import Applier
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.windows.clockwork import asks, window
from tests.models_app.policy.windows.machine import Call, Clock, Machine
from tests.models_app.policy.windows.rules import Calendar, Rule, utc

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

TICK, GRACE = timedelta(seconds=2), timedelta(seconds=10)
CHANGES = utc(2027, 3, 14, 7), utc(2027, 3, 28, 1), utc(2027, 10, 31, 1), utc(2027, 11, 7, 6)
"""When New York and Berlin change their clocks; a quarter of the week lies around each."""
QUARTER = timedelta(days=7) / 8
SPANS = tuple((change - QUARTER, change + QUARTER) for change in CHANGES)
BERLIN, YORK = "Europe/Berlin", "America/New_York"
HOUR = timedelta(hours=1)
KILLS = 20
RULES = (
    Rule(
        "work",
        BERLIN,
        8 * HOUR,
        {
            "team=dev": {"level": "awake", "priority": -2, "kv_floor_bytes": 9 * GIB},
            "team=rest": {"level": "asleep_1"},
        },
        times=((9, 0),),
    ),
    Rule(
        "night",
        BERLIN,
        3 * HOUR,
        {"team=batch": {"level": "awake", "kv_floor_bytes": 7 * GIB}, "team=dev": {"level": "asleep_1"}},
        times=((2, 30),),
    ),
    Rule("east", YORK, 2 * HOUR, {"m9": {"level": "asleep_2", "max_concurrency": 2}}, times=((1, 30),), precedence=2),
    Rule("early", YORK, HOUR, {"m11": {"level": "stopped"}}, times=((2, 30),), precedence=3),
    Rule("hours", YORK, HOUR / 2, {"m8": {"kv_weight": 7}}, times=((0, 0), (12, 0)), precedence=4),
    Rule("halves", BERLIN, HOUR / 6, {"m2": {"queue_limit": 7}}, minute=30),
    Rule("once", "UTC", HOUR / 6, {"m0": {"priority": -9}}, times=((12, 0),), until=CHANGES[1], precedence=1),
)
TEAMS = {f"m{number}": ("dev", "batch", "rest")[number // 4] for number in range(12)}


class Killed(BaseException):
    """A process that was killed says nothing and cleans nothing up."""


@dataclass
class Fleet:
    """Twelve deployments on four GPUs, of which two of three are awake at once; every process is the product's."""

    machine: Machine
    chance: random.Random
    deployments: dict[str, Deployment] = field(default_factory=dict)
    appliers: list[Applier] = field(default_factory=lambda: [Applier()])
    workers: dict[str, Reconciler] = field(default_factory=dict)
    kills: set[datetime] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)

    def build(self) -> None:
        """The rows; two on each GPU serve, and one sleeps."""
        factories.node(memory_bytes=2048 * GIB, sleep_budget_bytes=1024 * GIB)
        gpus = [factories.gpu() for _ in range(4)]
        self.workers = {gpu.uuid: Reconciler(gpu.uuid) for gpu in gpus}
        for number, (name, team) in enumerate(TEAMS.items()):
            made = factories.deployment(name=name, weights_bytes=30 * GIB, labels={"team": team})
            self.deployments[name] = made
            by_hand.deploy(made, actor="ada", gpu=gpus[number % 4])
            if number == 7:
                for _ in range(2):  # the second of a GPU loads after the first
                    self.settle()
                for other in ("m4", "m5", "m6", "m7"):
                    by_hand.sleep_all(self.deployments[other], actor="ada")
                for _ in range(3):
                    self.tick()
        self.settle()
        for rule in RULES:
            made_window = window(
                rule.name,
                cron=rule.cron,
                zone=rule.zone,
                duration_seconds=rule.lasts.total_seconds(),
                precedence=rule.precedence,
                valid_until=rule.until,
            )
            for whom, values in rule.asks.items():
                asks(made_window, self.deployments.get(whom, whom), **values)

    def settle(self) -> None:
        """Until those that load have loaded."""
        self.tick(5 * TICK)
        while self._poked():
            self.tick(5 * TICK)

    def rests(self) -> bool:
        """Whether nobody is on the way anywhere, and nobody asks for anything."""
        return not self.machine.calls and not self._poked()

    def tick(self, later: timedelta = TICK) -> None:
        """What beat has done every two seconds, and what workers and the gateway do meanwhile."""
        self.machine.clock.now += later
        now = self.machine.clock.now
        victim = ""
        if due := {moment for moment in self.kills if moment <= now}:
            self.kills -= due
            victim = self.chance.choice(["policies", *self.workers])
        self._run("policies", victim, self._policies)
        self._run("numbers", victim, self._numbers)
        for uuid in self._poked() | {victim} & self.workers.keys():
            self._run(uuid, victim, partial(self._work, uuid))
        self.machine.serve()

    def _policies(self) -> None:
        self.appliers[0].run(self.machine.clock.now)

    def _numbers(self) -> None:
        scale.bring_about(Setbacks())
        consent.settle()

    @staticmethod
    def _poked() -> set[str]:
        """GPUs with something to do; their workers' look at all others would find nothing."""
        rests = Q(state=F("goal"), disposable=False)
        return set(Replica.objects.exclude(rests).values_list("gpu__uuid", flat=True))

    def _work(self, uuid: str) -> None:
        for _ in range(3):
            if self.workers[uuid].pass_once() is not True:
                return

    def _run(self, name: str, victim: str, process: Callable[[], Any]) -> None:
        """Run it, to its end or until it is killed before one of its next statements; another takes its place."""
        if name != victim:
            process()
            return
        self.killed[name] += 1
        with suppress(Killed), connection.execute_wrapper(_killer(self.chance.randrange(40))):
            process()
        self.appliers = [Applier()]
        self.workers = {uuid: Reconciler(uuid) for uuid in self.workers}

    def fresh(self, name: str) -> Deployment:
        """As the rows say now."""
        return Deployment.objects.get(pk=self.deployments[name].pk)

    def call(self, name: str) -> None:
        """Somebody asks this model something."""
        self.machine.calls.append(Call(self.deployments[name].pk, name, self.machine.clock.now))


def _killer(statement: int) -> Callable[..., Any]:
    left = [statement]

    def wrapper(execute: Callable[..., Any], *how: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise Killed
        return execute(*how)

    return wrapper


@dataclass
class Word:
    """What an operator said against windows."""

    name: str
    values: dict[str, Any]
    since: datetime
    until: datetime


@dataclass
class Witness:
    """Compares the fleet with what the rules say, at each look."""

    fleet: Fleet
    calendar: Calendar
    words: list[Word] = field(default_factory=list)
    differs: dict[str, datetime] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    looks: int = 0
    seen_at: datetime | None = None

    def settled(self) -> bool:
        """Whether a look just now found all as it should be."""
        return self.seen_at == self.fleet.machine.clock.now and not self.differs

    def asked(self, name: str, now: datetime) -> dict[str, Any]:
        """By the rules, and by operators against them."""
        acts = self.calendar.asked(name, f"team={TEAMS[name]}", now)
        for word in self.words:
            if word.name == name and word.since <= now < word.until:
                acts |= word.values
        return acts

    def look(self) -> None:
        """Memory at this instant, and who is not where he ought to be since more than ten seconds."""
        self.looks += 1
        self.seen_at = now = self.fleet.machine.clock.now
        replicas = list(Replica.objects.select_related("gpu").order_by())
        self._memory(replicas)
        rows = {row.deployment_id: row for row in replicas if not row.disposable}
        for row in Deployment.objects.order_by("pk"):
            name = row.name
            acts = {key: one["value"] for key, one in row.governed.get("fields", {}).items()}
            asked = self.asked(name, now)
            self._note(f"settings of {name}", acts == asked, acts, asked)
            placed = rows.get(row.pk)
            stays = settings.MIN_RESIDENT_SECONDS  # one that has to load before it sleeps is awake so long
            came = placed is not None and placed.ready_at and (now - placed.ready_at).total_seconds() <= stays
            there = _is_there(row, placed, asked, in_use=bool(came) or self.fleet.machine.in_use(row.pk))
            self._note(f"level of {name}", there, placed and (placed.goal, placed.state, placed.reason), asked)

    def _memory(self, replicas: list[Replica]) -> None:
        held = dict(Reservation.objects.values_list("gpu__uuid").annotate(Sum("held_bytes")))
        gpus = {row.gpu.uuid: row.gpu for row in replicas}
        for uuid, here in self.fleet.machine.held(replicas).items():
            gpu = gpus[uuid]
            most = gpu.memory_bytes - gpu.headroom_bytes
            assert held.get(uuid, 0) <= most, f"reserved of GPU {gpu.index}"
            assert sum(one.memory_bytes or 0 for one in here) <= most, f"held of GPU {gpu.index}"

    def _note(self, what: str, right: bool, seen: object, asked: object) -> None:
        now = self.fleet.machine.clock.now
        if right:
            self.differs.pop(what, None)
        elif now - self.differs.setdefault(what, now) > GRACE:
            self.late.append(f"{what} at {now}: {seen} instead of {asked}")


def _is_there(row: Deployment, placed: Replica | None, asked: dict[str, Any], *, in_use: bool) -> bool:
    """Whether it is where its level says, or as near as an engine can be that has to load first."""
    level = asked.get("level")
    if placed is None:
        return level != "awake" or row.goal == Goal.READY
    if level == "stopped":
        return (row.goal, placed.goal, placed.state) == (Goal.STOPPED, Goal.STOPPED, State.STOPPED)
    if level == "awake":
        return placed.goal == Goal.READY and placed.state != State.SLEEPING
    if level in ("asleep_1", "asleep_2") and not in_use:
        asleep = placed.state == State.SLEEPING and placed.sleep_level >= int(level[-1])
        return asleep or placed.state in (State.STOPPED, State.PENDING, State.STARTING, State.STOPPING)
    return row.goal == Goal.READY


def worth_a_look(calendar: Calendar) -> list[datetime]:
    """Edges of all windows; of the half-hourly one, which has hundreds, those near a change of the clocks."""
    many = {edge for both in calendar.open["halves"] for edge in both}
    rest = {edge for name, opened in calendar.open.items() if name != "halves" for both in opened for edge in both}
    near = {edge for edge in many if any(abs(edge - change) < 0.8 * HOUR for change in CHANGES)}
    return [edge for edge in calendar.edges() if edge in rest | near]


def looks(edges: list[datetime], chance: random.Random) -> Iterator[datetime]:
    """When ticks begin again: just before each edge, and now and then in between."""
    for edge, following in pairwise([*edges, edges[-1] + 3 * HOUR]):
        yield edge - TICK
        if following - edge > 6 * HOUR:
            yield edge + timedelta(seconds=chance.randrange(300, 3000))


def operate(fleet: Fleet, witness: Witness, done: set[str]) -> None:
    """Three overrides: one until a time of its own, one by a verb until the window's edge, one that is ended again."""
    now = fleet.machine.clock.now
    opened = next((both for both in witness.calendar.open["work"] if both[0] + HOUR < now < both[1] - HOUR), None)
    if opened is None:
        return
    if "until a time" not in done:
        until = now + timedelta(seconds=11)
        overrides.make(fleet.deployments["m1"], {"priority": 7}, actor="ada", until=until)
        witness.words.append(Word("m1", {"priority": 7}, now, until))
        done.add("until a time")
    elif "until the edge" not in done:
        by_hand.sleep_all(fleet.fresh("m2"), actor="ada")
        witness.words.append(Word("m2", {"level": "asleep_1"}, now, opened[1]))
        done.add("until the edge")
    elif "ended" not in done:
        word = overrides.make(fleet.fresh("m3"), {"kv_floor_bytes": 2 * GIB}, actor="ada")
        witness.words.append(Word("m3", {"kv_floor_bytes": 2 * GIB}, now, now + 4 * TICK))
        for _ in range(4):
            fleet.tick()
            witness.look()
        overrides.end(word, actor="ada")
        done.add("ended")


def watch(fleet: Fleet, witness: Witness, until: datetime) -> None:
    """Tick by tick until then, and until all is as it should be; the last tick is the next where everybody rests."""
    clock = fleet.machine.clock
    for _ in range(200):
        later = TICK
        if witness.settled() and fleet.rests():
            ends = [word.until for word in witness.words if word.until > clock.now]
            later = max(min([until, *ends]) - clock.now, TICK)
        fleet.tick(later)
        witness.look()
        if clock.now >= until and not fleet.machine.calls and not witness.differs:
            return
    raise AssertionError(f"not settled: {fleet.machine.calls} {witness.differs}")


def test_a_week_of_windows_is_honoured_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(11)
    machine = Machine(Clock(SPANS[0][0] - timedelta(minutes=30)))
    machine.stand_in(monkeypatch)
    fleet, calendar = Fleet(machine, chance), Calendar(RULES, SPANS)
    fleet.build()
    witness, done = Witness(fleet, calendar), set[str]()
    starts = sorted(set(looks(worth_a_look(calendar), chance)))
    fleet.kills = set(chance.sample(starts, KILLS))
    for number, moment in enumerate(starts):
        if machine.clock.now > moment:
            continue  # the ticks of the last edge lasted until here
        machine.clock.now = moment
        witness.differs.clear()
        operate(fleet, witness, done)
        if number % 3 == 0:
            fleet.call(chance.choice(sorted(TEAMS)))
        watch(fleet, witness, until=moment + 7 * TICK)
    assert done == {"until a time", "until the edge", "ended"}
    judge(fleet, witness)


def judge(fleet: Fleet, witness: Witness) -> None:
    """Nothing was late, no call failed but those of a model that a window stopped, and all that was done is told."""
    assert witness.late == [], "\n".join(witness.late)
    assert fleet.killed.total() == KILLS
    calls = fleet.machine.done
    refused = [call for call in calls if call.refusal]
    assert {call.refusal for call in refused} <= {"deployment_stopped"}
    assert all(witness.asked(call.name, call.at).get("level") == "stopped" for call in refused)
    told = [
        entry
        for name in TEAMS
        for entry in why.timeline(why.Subject(name), 10_000)
        if entry.actor.startswith("policy:")
    ]
    by = Counter(entry.actor for entry in told)
    assert {f"policy:{rule.name}" for rule in RULES} <= by.keys()
    assert [entry for entry in told if ": " not in entry.sentence] == []
    failures = Transition.objects.filter(new=State.FAILED)
    assert not failures.exists()
    print(
        f"\n{witness.looks} looks at {len(TEAMS)} deployments, settings and levels right within {GRACE.seconds} s; "
        f"{len(calls)} calls, {len(refused)} refused by a window; {fleet.killed.total()} kills; "
        f"{len(told)} acts of policies told, of {Transition.objects.count()} changes and {Decision.objects.count()} "
        f"decisions: {dict(by)}"
    )
