"""Engines and workers killed, and every verb asked for, at random under load: what is left is what was wished.

SARDEENZ_TEST_KILL_SECONDS says for how long: 40 unless told otherwise. The seed is printed; SARDEENZ_TEST_SEED sets it.
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from gpus import devices
from gpus.models import GPU
from models_app.lifecycle import verbs
from models_app.memory.ledger import Ledger, Unowned
from models_app.models import Deployment, Replica, Reservation, Transition
from models_app.node import frame
from models_app.node.owners import Owners
from models_app.states import LIVE, Goal, State
from sardeenz.errors import SardeenzError
from tests import factories
from tests.e2e.stack import Stack, tail, wait_for
from tests.e2e.test_engine_kills import had_reached_an_engine
from tests.e2e.traffic import Background, Clients, Outcome
from tests.leftovers import unowned
from tests.patience import until

SECONDS = float(os.environ.get("SARDEENZ_TEST_KILL_SECONDS", "40"))
SEED = int(os.environ.get("SARDEENZ_TEST_SEED", "0")) or random.randrange(1, 10**6)
ARGS = ["--load-seconds", "0.5", "--tokens-per-second", "60"]
PAUSE_SECONDS = 1.0
SETTLED_SECONDS = timedelta(seconds=12)
"""An engine killed sooner after it became ready counts as a start that came to nothing."""
UNEXPLAINED_RATIO = 0.01
"""Of a GPU's memory: more than this without an owner is a fault of the ledger."""
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.e2e,
    pytest.mark.faults,
    pytest.mark.timeout(400 + 2 * SECONDS),
]


@dataclass(slots=True)
class Call:
    """One call of a model, and when it was under way."""

    model: str
    began: datetime
    ended: datetime
    outcome: Outcome

    @property
    def seconds(self) -> float:
        return (self.ended - self.began).total_seconds()


class Callers(Background):
    """Streams and short calls of every model, until told to end."""

    def __init__(self, clients: Clients, models: list[str]) -> None:
        super().__init__(clients)
        self.models = models
        self.calls: list[Call] = []

    async def call(self) -> None:
        async with self.clients.session() as session:

            async def keep_calling(model: str, streams: bool) -> None:
                while not self.ended.is_set():
                    began = datetime.now(UTC)
                    asked = self.clients.stream(session, model, 30) if streams else self.clients.ask(session, model)
                    outcome = await asked
                    self.calls.append(Call(model, began, datetime.now(UTC), outcome))
                    await asyncio.sleep(0.05 if outcome.whole else 0.5)

            both = [keep_calling(model, streams) for model in self.models for streams in (True, False)]
            await asyncio.gather(*both)


class Ledgers:
    """The ledgers of the node, read beside the turmoil as the node's loop reads them."""

    def __init__(self) -> None:
        self.count = 0
        self.worst_ratio = 0.0
        self._owners = Owners()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> dict[str, Ledger]:
        """What each GPU's memory is now."""
        now = frame.collect(None, self._owners)
        if self._owners.due({engine["marker"] for engine in now["engines"]}):
            self._owners.read()
        return now["ledgers"]

    def orphans(self) -> list[Unowned]:
        return [orphan for ledger in self.look().values() for orphan in ledger["orphans"]]

    def _keep_looking(self) -> None:
        while not self._ended.wait(0.5):
            for ledger in self.look().values():
                self.count += 1
                self.worst_ratio = max(self.worst_ratio, abs(ledger["unexplained_bytes"]) / ledger["total_bytes"])
        connection.close()


@dataclass(slots=True)
class Turmoil:
    """Random faults and wishes, each counted by name and answer."""

    stack: Stack
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    dead: list[str] = field(default_factory=list)

    def once(self) -> None:
        """One thing happens."""
        self.stack.start(*self.dead)
        self.dead.clear()
        happens = self.dice.choices([self.kill_engine, self.kill_process, self.wish], [2, 1, 7])[0]
        happens()

    def kill_engine(self) -> None:
        """SIGKILL of an engine's server, mostly of one that has served for a while."""
        rows = {row.marker: row for row in Replica.objects.filter(state__in=LIVE)}
        served = timezone.now() - SETTLED_SECONDS
        anyone = self.dice.random() < 0.1
        engines = [
            (marker, engine)
            for marker, engine in sorted(self.stack.engines().items())
            if marker in rows and engine.pid and (anyone or (rows[marker].ready_at or timezone.now()) < served)
        ]
        if engines:
            marker, engine = self.dice.choice(engines)
            os.kill(engine.pid, signal.SIGKILL)
            self.done[f"kill {rows[marker].state} engine"] += 1

    def kill_process(self) -> None:
        """SIGKILL of a worker, the control worker or beat; it is back a second later."""
        name = self.dice.choice(["gpu0", "gpu1", "control", "beat"])
        self.stack.kill(name)
        self.dead.append(name)
        self.done[f"kill {name}"] += 1

    def wish(self) -> None:
        """A verb, as an operator would say it: refused with a code, or accepted."""
        row = self.dice.choice(list(Replica.objects.order_by("pk")))
        wishes: dict[str, Callable[[], object]] = {
            "sleep": lambda: verbs.sleep(row, actor="test", level=self.dice.choice([1, 2])),
            "wake": lambda: verbs.wake(row, actor="test"),
            "stop": lambda: verbs.stop(row, actor="test"),
            "start": lambda: verbs.start(row, actor="test"),
            "restart": lambda: verbs.restart(row, actor="test"),
            "move": lambda: verbs.move(row, GPU.objects.exclude(pk=row.gpu_id).get(), actor="test"),
            "cancel": lambda: verbs.cancel(row, actor="test"),
            "deploy": lambda: verbs.deploy(row.deployment, actor="test"),
        }
        name = self.dice.choice(sorted(wishes))
        try:
            wishes[name]()
            self.done[name] += 1
        except SardeenzError as refusal:
            self.done[f"{name}: {refusal.code}"] += 1


def expected(call: Call) -> bool:
    """Whether a call may end as this one did: whole, with the engine it had reached, or told that it is stopped."""
    outcome = call.outcome
    if outcome.whole or had_reached_an_engine(outcome):
        return True
    return "model_stopped" in outcome.error and was_stopped(call)


def was_stopped(call: Call) -> bool:
    """Whether somebody had stopped the model before this call ended."""
    told = Transition.objects.filter(deployment_name=call.model)
    before = told.filter(at__lte=call.began).order_by("-at").values_list("goal", flat=True)[:3]
    return Goal.STOPPED in before or told.filter(at__range=(call.began, call.ended), goal=Goal.STOPPED).exists()


def arrived(row: Replica) -> bool:
    """Whether it is where it was headed, and stays there."""
    if row.goal == Goal.SLEEPING:
        return row.state in (State.SLEEPING, State.STOPPED)
    return str(row.state) == str(row.goal) and not row.disposable


def test_after_kills_and_wishes_everything_is_where_it_was_wished(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = [reading.memory_used_bytes for reading in devices.read_all()]
    models = [factories.deployment(name=f"model-{number}", extra_args=ARGS) for number in range(4)]
    for number, model in enumerate(models):
        verbs.deploy(model, actor="test", gpu=stack.gpus[number % 2])
    for row in Replica.objects.all():
        wait_for(row, "ready")
    callers = Callers(Clients(stack.url, stack.key), [model.served_name for model in models])
    callers.start()
    ledgers = Ledgers()
    ledgers.start()
    turmoil = Turmoil(stack, random.Random(SEED))
    until_time = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until_time:
            turmoil.once()
            time.sleep(PAUSE_SECONDS)
        stack.start()
    finally:
        callers.end()
        ledgers.end()
    odd = [call for call in callers.calls if not expected(call)]
    whole = sum(call.outcome.whole for call in callers.calls)
    longest = max((call.seconds for call in callers.calls), default=0.0)
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {len(callers.calls)} calls, {whole} whole, {len(odd)} unexpected; longest {longest:.1f} s"
        )
        print(", ".join(f"{name} {count}" for name, count in sorted(turmoil.done.items())))
        print(f"{ledgers.count} ledgers: {ledgers.worst_ratio:.2%} of a GPU unexplained at most")
    assert [(call.model, call.outcome) for call in odd] == []
    assert ledgers.count > 0
    assert ledgers.worst_ratio <= UNEXPLAINED_RATIO
    settle()
    nothing_is_lost(stack)
    until(lambda: not unowned(), "nothing is left that nobody owns", 30)
    until(lambda: not ledgers.orphans(), "no ledger has an orphan")
    everything_serves_again(stack, models)
    for model in models:
        verbs.delete(model, actor="test")
    until(lambda: not Deployment.objects.exists(), "every deployment is gone")
    assert stack.engines() == {}
    assert unowned() == {}
    assert [reading.memory_used_bytes for reading in devices.read_all()] == baseline


def settle() -> None:
    """Every row arrives where it is headed."""
    try:
        until(lambda: all(arrived(row) for row in Replica.objects.all()), "every replica arrives", 90)
    except AssertionError as error:
        told = ("pk", "state", "goal", "reason", "message", "restarts", "restart_at", "disposable", "replaces")
        raise AssertionError(f"{error}: {list(Replica.objects.values(*told))}\n{tail()}") from error


def nothing_is_lost(stack: Stack) -> None:
    """What stopped holds nothing; every engine has its row; no row's engine is missing."""
    stopped = Replica.objects.filter(state=State.STOPPED)
    until(
        lambda: not Reservation.objects.filter(replica__in=stopped, held_bytes__gt=0).exists(),
        "what is stopped holds no memory",
    )
    assert not stopped.exclude(port=None).exists()
    live = {row.marker for row in Replica.objects.filter(state__in=LIVE)}
    until(lambda: set(stack.engines()) == live, "engines are those of the rows")


def everything_serves_again(stack: Stack, models: list[Deployment]) -> None:
    """Who was stopped is deployed again, who sleeps is woken by a call: each model answers."""
    clients = Clients(stack.url, stack.key)

    async def ask_all() -> None:
        async with clients.session() as session:
            await asyncio.gather(*(clients.ask(session, model.served_name) for model in models))

    for model in models:
        if not model.placed.exclude(goal=Goal.STOPPED).exists():
            verbs.deploy(model, actor="test")
    asyncio.run(ask_all())
    assert clients.failed == []
