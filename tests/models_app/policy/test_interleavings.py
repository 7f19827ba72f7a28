"""Two who act at the same time, statement by statement in every order that chance brings: no byte is given twice.

Nor does anybody wait for ever, while calls for every model keep coming and all that are awake stay busy.

Each acts in a thread with a connection of its own. Before each statement it waits for its turn, which dice give; who
waits in the database for the other's lock has its turn taken over. SARDEENZ_TEST_SEED repeats a run.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import F
from django.utils import timezone

from gpus import kvcached
from gpus.models import GPU, Node
from models_app.lifecycle import launch, sleeping, starting, verbs
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.reconcile import Reconciler
from models_app.memory import host_rows, placement
from models_app.models import Deployment, Replica, Reservation
from models_app.policy import consent, demand
from models_app.states import Goal, State
from sardeenz.errors import EngineError, SardeenzError
from tests import factories
from tests.leftovers import unowned
from tests.models_app.lifecycle.sights import sight
from tests.models_app.policy.test_demand import say

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

GIB = factories.GIB
SEED = int(os.environ.get("SARDEENZ_TEST_SEED", "0")) or random.randrange(1, 10**6)
ROUNDS = 16
BLOCKED_SECONDS = 0.01
"""Who has its turn and shows no next statement for so long waits for a lock, or is done."""

_RESTS = (State.SLEEPING, State.STOPPED)
Command = Callable[[], object]


@dataclass
class Turns:
    """Whose statement is next."""

    dice: random.Random
    turn: int = 0
    switches: int = 0
    done: set[int] = field(default_factory=set)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def gate(self, who: int) -> None:
        """Until it is this one's turn; the next turn is drawn."""
        with self.changed:
            self.changed.wait_for(lambda: self.turn == who or 1 - who in self.done, BLOCKED_SECONDS)
            following = self.dice.randrange(2)
            self.switches += following != who
            self.turn = following
            self.changed.notify_all()

    def end(self, who: int) -> None:
        with self.changed:
            self.done.add(who)
            self.changed.notify_all()


def side_by_side(dice: random.Random, *commands: Command) -> tuple[int, list[BaseException]]:
    """Two commands with their statements interleaved: how often the turn changed, and what came beside refusals."""
    turns, unexpected = Turns(dice), list[BaseException]()

    def act(who: int, command: Command) -> None:
        def stepwise(execute: Callable[..., Any], *given: Any) -> Any:
            turns.gate(who)
            return execute(*given)

        try:
            close_old_connections()
            with connection.execute_wrapper(stepwise), suppress(SardeenzError):
                command()
        except Exception as error:
            unexpected.append(error)
        finally:
            turns.end(who)
            connection.close()

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(commands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return turns.switches, unexpected


@pytest.fixture
def fleet() -> list[GPU]:
    """On each of two GPUs two models are awake and three sleep; one more has room, and host RAM to sleep in."""
    sleepers_bytes = 6 * 16 * GIB
    home = factories.node(sleep_budget_bytes=sleepers_bytes + 20 * GIB)
    gpus = [factories.gpu(node=home, memory_bytes=60 * GIB) for _ in range(2)]
    long_ago = timezone.now() - timedelta(hours=1)
    for gpu in gpus:
        for state in (State.READY, State.READY, State.SLEEPING, State.SLEEPING, State.SLEEPING):
            factories.replica(state, gpu=gpu, deployment=factories.deployment(goal=Goal.READY), state_at=long_ago)
    say()
    return gpus


def fall_asleep(row: Replica) -> object:
    """Its worker's step once it has drained; there is no engine to be told."""
    with suppress(EngineError):
        return sleeping.sleep(sight(row), Step(None, Effect.SLEEP, "drained"))
    return None


def draining() -> list[Replica]:
    """One of each GPU is about to sleep: there is host RAM for one of them."""
    rows = [gpu.replicas.filter(state=State.READY).order_by("pk")[0] for gpu in GPU.objects.order_by("index")]
    now = timezone.now()
    ends = now + timedelta(seconds=settings.DRAIN_SECONDS)
    Replica.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=State.DRAINING, goal=Goal.SLEEPING, state_at=now, deadline_at=ends
    )
    return list(Replica.objects.filter(pk__in=[row.pk for row in rows]).select_related("gpu__node", "deployment"))


def worker_wakes(row: Replica) -> object:
    """Its worker's step towards ready, which takes the bytes; there is no engine to be told."""
    row.refresh_from_db()
    if (row.state, row.goal) == (State.SLEEPING, Goal.READY):
        with suppress(EngineError):
            return sleeping.wake(sight(row), Step(State.WAKING, Effect.WAKE, "wake"))
    if (row.state, row.goal) == (State.STOPPED, Goal.READY):
        return starting.again(sight(row), Step(State.PENDING, None, "start"))
    return None


def any_command(dice: random.Random, fresh: list[Deployment]) -> tuple[str, Command]:
    """Something that takes memory or gives it up, of rows as they are read now.

    Left out is what turns an eviction back on an operator's word: whoever was to come then waits on.
    """
    rows = list(Replica.objects.select_related("deployment", "gpu__node").order_by("pk"))
    row = dice.choice(rows)
    sleeper = dice.choice([one for one in rows if one.state == State.SLEEPING] or rows)
    asked = dice.choice([one for one in rows if one.goal == Goal.READY and one.state in _RESTS] or rows)
    other = GPU.objects.exclude(pk=row.gpu_id).get()
    new, evict = dice.choice(fresh), dice.random() < 0.5
    commands: dict[str, Command] = {
        "wake": lambda: verbs.wake(sleeper, actor="test"),
        "wake --evict": lambda: consent.wake(sleeper, actor="test", evict=True),
        "call": lambda: demand.request_ready(row.deployment_id),
        "call of a new one": lambda: demand.request_ready(new.pk),
        "deploy": lambda: consent.deploy(new, actor="test", evict=evict),
        "move": lambda: consent.move(row, other, actor="test", evict=evict),
        "stop": lambda: verbs.stop(row, actor="test"),
        "sleep": lambda: verbs.sleep(row, actor="test"),
        "a worker's step": lambda: worker_wakes(asked),
    }
    name = dice.choice([*sorted(commands), "a worker's step"])
    return name, commands[name]


def ended(dice: random.Random) -> None:
    """What is headed for sleep or its end gets there: there is room again."""
    for row in Replica.objects.exclude(goal=Goal.READY).exclude(state__in=_RESTS).order_by("pk"):
        if dice.random() < 0.5:
            asleep = row.goal == Goal.SLEEPING and row.state != State.PENDING
            state = State.SLEEPING if asleep else State.STOPPED
            port = row.port if asleep else None
            Replica.objects.filter(pk=row.pk).update(state=state, deadline_at=None, port=port)
            row.reservations.update(held_bytes=F("asleep_bytes") if asleep else 0)


def nothing_is_given_twice(gpus: list[GPU]) -> None:
    """Once all have arrived where they are headed they fit; what is held fits now; no deployment has too many."""
    later = placement.free_later(gpus)
    assert min(later.values()) >= 0, f"GPU memory is promised twice, seed {SEED}: {_told()}"
    for gpu in gpus:
        held = sum(gpu.reservations.values_list("held_bytes", flat=True))
        assert held <= gpu.memory_bytes - gpu.headroom_bytes, f"GPU memory is held twice, seed {SEED}: {_told()}"
    for deployment in Deployment.objects.all():
        assert len(verbs.kept(deployment)) <= deployment.replicas, _told()


def _told() -> list[tuple[Any, ...]]:
    return list(
        Reservation.objects.values_list(
            "replica", "gpu", "held_bytes", "replica__state", "replica__goal", "replica__reason", "replica__message"
        )
    )


def test_no_interleaving_gives_gpu_memory_twice(fleet: list[GPU], capsys: pytest.CaptureFixture[str]) -> None:
    dice, counts, switches = random.Random(SEED), Counter[str](), 0
    for _ in range(ROUNDS):
        fresh = [factories.deployment(goal=Goal.READY) for _ in range(2)]
        pair = [any_command(dice, fresh) for _ in range(2)]
        counts.update(name for name, _ in pair)
        changed, unexpected = side_by_side(dice, *(command for _, command in pair))
        assert unexpected == [], [name for name, _ in pair]
        nothing_is_given_twice(fleet)
        switches += changed
        ended(dice)
    with capsys.disabled():
        print(f"\nseed {SEED}: {ROUNDS} pairs, {switches} changes of turn between statements: {dict(counts)}")
    assert switches > ROUNDS


def test_no_interleaving_gives_host_ram_twice(fleet: list[GPU], capsys: pytest.CaptureFixture[str]) -> None:
    dice, home, told = random.Random(SEED), Node.objects.get(), Counter[int]()
    rows = draining()
    for _ in range(ROUNDS // 2):
        for row in rows:
            row.refresh_from_db()
        _, unexpected = side_by_side(dice, *(lambda row=row: fall_asleep(row) for row in rows))  # type: ignore[misc]
        assert unexpected == []
        assert host_rows.read(home, begun=True).budget_left_bytes >= 0, "host RAM is promised twice"
        told[sum(verbs.sleep_began(row) for row in Replica.objects.filter(state=State.DRAINING))] += 1
        draining_again(rows)
    with capsys.disabled():
        print(f"\nseed {SEED}: so many of two were told to sleep at level 1, of room for one: {dict(told)}")
    assert told.keys() == {1}


def draining_again(rows: list[Replica]) -> None:
    now = timezone.now()
    ends = now + timedelta(seconds=settings.DRAIN_SECONDS)
    Replica.objects.filter(pk__in=[row.pk for row in rows]).update(state_at=now, deadline_at=ends, sleep_level=1)


def test_nothing_is_left_of_what_was_interleaved(
    fleet: list[GPU], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "SEGMENT_DIR", tmp_path)  # not among those of other tests
    dice = random.Random(SEED)
    for row in Replica.objects.filter(state=State.READY):
        Replica.objects.filter(pk=row.pk).update(ipc_name=launch.segment_name(row.marker))
        kvcached.create(settings.SEGMENT_DIR, launch.segment_name(row.marker), 40 * GIB)
    assert unowned() == {}
    for _ in range(ROUNDS // 4):
        fresh = [factories.deployment(goal=Goal.READY)]
        side_by_side(dice, *(any_command(dice, fresh)[1] for _ in range(2)))
    for deployment in Deployment.objects.all():
        verbs.delete(deployment, actor="test")
    workers = [Reconciler(gpu.uuid) for gpu in fleet]
    for _ in range(200):
        if not Deployment.objects.exists():
            break
        for worker in workers:
            worker.run()
    assert list(Replica.objects.values_list("deployment__name", "state", "goal", "message")) == []
    assert not Reservation.objects.exists()
    assert not Deployment.objects.exists()
    assert unowned() == {}
    assert set(placement.free_bytes(fleet).values()) == {59 * GIB}


# --- nobody starves ---------------------------------------------------------------------------------------------------
STEP_SECONDS = 5.0
STEPS = 30
FIT = 3
"""So many models of a GPU are awake at once."""


@dataclass
class Crowd:
    """Calls for every model of some GPUs, in steps of a virtual clock; what is awake has calls that never end."""

    dice: random.Random
    waited: dict[int, float] = field(default_factory=dict)
    """By deployment: for how long its oldest call has waited."""
    priorities: dict[int, int] = field(default_factory=dict)
    ended: list[tuple[float, int]] = field(default_factory=list)
    """How long a wait that is over lasted, and of which priority it was."""

    def come(self) -> None:
        """Everything becomes older, calls come for models that sleep, and the gateways report."""
        Replica.objects.update(state_at=F("state_at") - timedelta(seconds=STEP_SECONDS))
        self.waited = {pk: waited + STEP_SECONDS for pk, waited in self.waited.items()}
        for row in Replica.objects.exclude(state=State.READY, goal=Goal.READY).order_by("pk"):
            if row.deployment_id not in self.waited and self.dice.random() < 0.7:
                self.waited[row.deployment_id] = 0.0
                self.priorities[row.deployment_id] = self.dice.choice((-1, 0))
        busy = {row.marker: self.dice.randrange(1, 40) for row in Replica.objects.filter(state=State.READY)}
        now = time.time()
        say(busy, {pk: self._report(pk, now) for pk in self.waited})

    def _report(self, pk: int, now: float) -> dict[str, float]:
        return {"count": 1, "since": now - self.waited[pk], "priority": self.priorities[pk]}

    def asks(self) -> list[Command]:
        """What the gateways ask for, and what workers do meanwhile, in any order."""
        commands: list[Command] = [partial(demand.request_ready, pk) for pk in self.waited]
        commands += [partial(worker_wakes, row) for row in Replica.objects.filter(goal=Goal.READY, state__in=_RESTS)]
        self.dice.shuffle(commands)
        return commands

    def served(self) -> None:
        """Who was woken is ready, and its calls begin; who was evicted sleeps."""
        for row in Replica.objects.filter(state=State.WAKING).order_by("pk"):
            Replica.objects.filter(pk=row.pk).update(state=State.READY, state_at=timezone.now(), deadline_at=None)
            if row.deployment_id in self.waited:
                self.ended.append((self.waited.pop(row.deployment_id), self.priorities.pop(row.deployment_id)))
        for row in Replica.objects.filter(goal=Goal.SLEEPING).exclude(state__in=_RESTS):
            Replica.objects.filter(pk=row.pk).update(state=State.SLEEPING, deadline_at=None)
            row.reservations.update(held_bytes=F("asleep_bytes"))

    @property
    def all(self) -> list[tuple[float, int]]:
        """The waits that are over and those that last."""
        return self.ended + [(waited, self.priorities[pk]) for pk, waited in self.waited.items()]


def test_in_no_interleaving_does_anybody_starve(fleet: list[GPU], capsys: pytest.CaptureFixture[str]) -> None:
    crowd, switches = Crowd(random.Random(SEED)), 0
    for _ in range(STEPS):
        crowd.come()
        commands = crowd.asks()
        for place in range(0, len(commands), 2):
            changed, unexpected = side_by_side(crowd.dice, *commands[place : place + 2])
            assert unexpected == []
            switches += changed
        crowd.served()
        nothing_is_given_twice(fleet)
    rivals = Replica.objects.filter(gpu=fleet[0]).count() - FIT
    # its own residency, and a step each to be asked for, to leave, to wake and to be seen
    turn = settings.MIN_RESIDENT_SECONDS + 4 * STEP_SECONDS
    with capsys.disabled():
        print(f"\nseed {SEED}: {len(crowd.ended)} waits, the longest of {max(crowd.all)[0]:.0f} s; {switches} changes")
    for waited, priority in crowd.all:
        assert waited <= settings.EVICT_WAIT_SECONDS[priority] + rivals * turn, (waited, priority)
    assert len(crowd.ended) > STEPS / 4
