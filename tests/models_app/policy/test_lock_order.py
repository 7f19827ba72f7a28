"""Whatever two do at the same time, statement by statement: neither waits for the other for ever.

PostgreSQL ends one of two who wait for each other, a second later, with an error that nobody deserves. Here every verb,
every step of a worker that takes memory and every look of the control worker meets every other.
"""

import random
from collections import Counter
from contextlib import suppress

import pytest
from django.db.models import F
from django.utils import timezone

from gpus.models import GPU
from models_app.errors import EngineError
from models_app.lifecycle import fleet, removal, scale, starting, verbs
from models_app.lifecycle.next_step import Step
from models_app.lifecycle.setbacks import Setbacks
from models_app.models import Deployment, Replica
from models_app.policy import arrivals, consent, cordon, demand, descent, host_memory, rehearsal
from models_app.policy.scene import read_traffic
from models_app.policy.windows import floors
from models_app.states import Goal, State
from tests import factories
from tests.models_app.lifecycle.sights import sight
from tests.models_app.policy.test_demand import say
from tests.models_app.policy.test_interleavings import SEED, Command, fall_asleep, side_by_side, worker_wakes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

GIB = factories.GIB
ROUNDS = 40


def everything(dice: random.Random) -> dict[str, Command]:
    """What may be done now, each with rows as they are read now."""
    rows = list(Replica.objects.select_related("deployment__model", "gpu__node").order_by("pk"))
    row, other = dice.choice(rows), dice.choice(list(GPU.objects.order_by("pk")))
    deployment, evict = row.deployment, dice.random() < 0.5
    return {
        "start": lambda: consent.start(row, actor="test", evict=evict),
        "stop": lambda: verbs.stop(row, actor="test"),
        "sleep": lambda: verbs.sleep(row, actor="test"),
        "wake": lambda: consent.wake(row, actor="test", evict=evict),
        "restart": lambda: verbs.restart(row, actor="test"),
        "move": lambda: consent.move(row, other, actor="test", evict=evict),
        "cancel": lambda: verbs.cancel(row, actor="test"),
        "renew": lambda: consent.roll_out(deployment, actor="test", evict=evict, two_phase=True),
        "deploy all": lambda: consent.deploy(deployment, actor="test", evict=evict),
        "start all": lambda: consent.start_all(deployment, actor="test", evict=evict),
        "wake all": lambda: consent.wake_all(deployment, actor="test", evict=evict),
        "sleep all": lambda: fleet.sleep(deployment, actor="test"),
        "stop all": lambda: fleet.stop(deployment, actor="test"),
        "call": lambda: demand.request_ready(deployment.pk),
        "call elsewhere": lambda: arrivals.elsewhere(row, read_traffic(), "test", arrivals.AT_ALL),
        "worker wakes": lambda: worker_wakes(row),
        "worker loads": lambda: loads(row),
        "worker sleeps": lambda: row.state == State.DRAINING and fall_asleep(row),
        "worker forgets": lambda: removal.forget(row),
        "deepen": lambda: descent.deepen(row, "test", actor="test"),
        "rest": lambda: descent.rest(row, "test", actor="test"),
        "rehearse": lambda: rehearsal._rehearse(row),
        "floor": lambda: floors.change(row, dice.choice((1, 2)) * GIB),
        "host memory": host_memory.relieve,
        "settle": consent.settle,
        "scale": lambda: scale.bring_about(Setbacks()),
        "drain": lambda: cordon.drain([other], actor="test"),
        "drains": cordon.settle,
        "uncordon": lambda: cordon.cordon.uncordon([other], by="test"),
    }


def loads(row: Replica) -> object:
    """Its worker's step to the start of its engine, which is not started."""
    with suppress(EngineError):
        return row.state == State.PENDING and starting.load(sight(row), Step(State.STARTING, None, "placed"))
    return None


def arrive(dice: random.Random) -> None:
    """Most get where they are headed, so that there is something to be done again."""
    now = timezone.now()
    for row in Replica.objects.order_by("pk"):
        if dice.random() < 0.6 and row.state != row.goal:
            there = {Goal.READY: State.READY, Goal.SLEEPING: State.SLEEPING, Goal.STOPPED: State.STOPPED}[
                Goal(row.goal)
            ]
            gone = {"port": None, "ipc_name": ""} if there == State.STOPPED else {}
            Replica.objects.filter(pk=row.pk).update(state=there, deadline_at=None, state_at=now, **gone)
            held = {State.READY: F("awake_bytes"), State.SLEEPING: F("asleep_bytes"), State.STOPPED: 0}[there]
            row.reservations.update(held_bytes=held)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three deployments of two replicas each, spread over two GPUs with room for a few of them."""
    monkeypatch.setattr(starting, "_spawn", lambda replica: None)
    home = factories.node(sleep_budget_bytes=80 * GIB)
    gpus = [factories.gpu(node=home, memory_bytes=60 * GIB) for _ in range(2)]
    for number in range(3):
        deployment = factories.deployment(goal=Goal.READY, replicas=2)
        for gpu in gpus:
            factories.replica(State.READY if number < 2 else State.SLEEPING, gpu=gpu, deployment=deployment)
    say()


@pytest.mark.usefixtures("pairs")
def test_no_two_wait_for_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    dice, met, switches = random.Random(SEED), Counter[str](), 0
    for _ in range(ROUNDS):
        choices = everything(dice)
        names = [dice.choice(sorted(choices)) for _ in range(2)]
        met.update(names)
        changed, unexpected = side_by_side(dice, *(choices[name] for name in names))
        assert unexpected == [], (SEED, names)
        switches += changed
        arrive(dice)
        Deployment.objects.filter(goal=Goal.STOPPED).update(goal=Goal.READY)
    with capsys.disabled():
        print(f"\nseed {SEED}: {ROUNDS} pairs of {len(met)} kinds, {switches} changes of turn between statements")
    assert switches > ROUNDS
