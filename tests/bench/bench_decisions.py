"""What decisions take in a large fleet: who is placed where, who makes room, and the governor's second of one node.

`make bench` runs this. Every decision is taken for real, in a transaction that is rolled back. Nothing is asserted of
the seconds; that a fleet of twice the size takes about twice as long is to be read from the tables.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from gpus import kvcached
from gpus.models import GPU
from gpus.simulated import Claim
from models_app.engines import metrics
from models_app.lifecycle import fleet
from models_app.memory import fit
from models_app.models import Deployment, Replica, Reservation
from models_app.node.governing import Governing
from models_app.policy import consent, demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import say

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

ROUNDS = 10
SIZES = ((16, 250), (32, 500), (64, 1000))
AWAKE_PER_GPU = 4
GPUS_PER_NODE = 8
ENGINES_PER_GPU = 16
_MIB = 2**20


class _UndoneError(Exception):
    """Ends a transaction whose changes nobody wants."""


class Taken:
    """Milliseconds of each round: by the clock, and of this process's CPU, which a busy machine changes less."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.cpu: list[float] = []

    def time(self, decide: Callable[[], object]) -> None:
        """One more round."""
        began, cpu_began = time.perf_counter(), time.thread_time()
        decide()
        self.clock.append(1000 * (time.perf_counter() - began))
        self.cpu.append(1000 * (time.thread_time() - cpu_began))

    def __str__(self) -> str:
        """The first round, which reads code and plans queries, is left out."""
        clock, cpu = self.clock[1:], statistics.median(self.cpu[1:])
        return f"{cpu:6.1f} {min(clock):8.1f} {statistics.median(clock):8.1f} {max(clock):8.1f}"


def measured(decide: Callable[[], object]) -> Taken:
    """Each round in a transaction that is rolled back."""
    taken = Taken()
    for _ in range(ROUNDS + 1):
        with suppress(_UndoneError), transaction.atomic():
            taken.time(decide)
            raise _UndoneError
    return taken


def large_fleet(gpus: int, deployments: int) -> tuple[Replica, Deployment, Deployment]:
    """Four models awake on every GPU and the rest asleep beside them; a sleeper, and two that are placed nowhere.

    The second of these is small enough for the room that there is.
    """
    homes = [
        factories.gpu(node=factories.node(name=f"node-{number // GPUS_PER_NODE}", sleep_budget_bytes=2**50))
        for number in range(gpus)
    ]
    shape = {"overhead_bytes": 256 * _MIB, "kv_floor_bytes": GIB, "kv_cap_bytes": 32 * GIB, "goal": Goal.READY}
    model, runtime = factories.model(), factories.runtime()
    rows = Deployment.objects.bulk_create(
        Deployment(
            name=f"model-{number}",
            served_name=f"model-{number}",
            model=model,
            runtime=runtime,
            weights_bytes=16 * GIB,
            **shape,
        )
        for number in range(deployments)
    )
    long_ago = timezone.now() - timedelta(hours=1)
    replicas = [_replica(row, homes[at % gpus], at < AWAKE_PER_GPU * gpus, long_ago) for at, row in enumerate(rows)]
    made = Replica.objects.bulk_create(replicas)
    Reservation.objects.bulk_create(
        Reservation(
            replica=one,
            gpu=one.gpu,
            awake_bytes=17 * GIB + 256 * _MIB,
            asleep_bytes=256 * _MIB,
            held_bytes=17 * GIB + 256 * _MIB if one.state == State.READY else 256 * _MIB,
        )
        for one in made
    )
    asleep = [one for one in made if one.state == State.SLEEPING]
    waiting = {one.deployment_id: {"count": 1, "since": time.time(), "priority": 0} for one in asleep[:20]}
    say({one.marker: 1 for one in made[: AWAKE_PER_GPU * gpus : 2]}, waiting)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does, which sees nothing of this transaction
    large = factories.deployment(model=model, weights_bytes=40 * GIB, **shape)
    small = factories.deployment(model=model, weights_bytes=GIB, **shape)
    return asleep[0], large, small


def _replica(of: Deployment, home: GPU, awake: bool, since: object) -> Replica:
    state = State.READY if awake else State.SLEEPING
    return Replica(
        deployment=of,
        gpu=home,
        state=state,
        goal=Goal.READY if awake else Goal.SLEEPING,
        state_at=since,
        spec=factories.spec(of, home),
        address=home.node.address,
        port=10000 + of.pk,
        ipc_name=f"srdz_bench_{of.pk}",
        profile={"sleep_seconds": 1.0, "wake_seconds": 2.0, "load_seconds": 40.0},
    )


def shown(title: str, found: dict[str, Taken], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{title:<48} CPU ms   min ms   p50 ms   max ms")
        for name, taken in found.items():
            print(f"  {name:<46} {taken}")


@pytest.mark.parametrize(("gpus", "deployments"), SIZES)
def test_decisions(gpus: int, deployments: int, capsys: pytest.CaptureFixture[str]) -> None:
    sleeper, large, small = large_fleet(gpus, deployments)
    found = {
        "placed where there is room": measured(lambda: fleet.deploy(small, actor="bench")),
        "finds no room": measured(lambda: fleet.deploy(large, actor="bench")),
        "who could make room": measured(lambda: consent.of_deployment(fit.of_deployment(large, replicas=1), large)),
        "placed as others make room": measured(lambda: consent.deploy(large, actor="bench", evict=True)),
        "a call for one that sleeps": measured(lambda: demand.request_ready(sleeper.deployment_id)),
        "a call for one that is placed nowhere": measured(lambda: _called(large)),
    }
    shown(f"decisions at {gpus} GPUs, {deployments} deployments", found, capsys)


def _called(unplaced: Deployment) -> None:
    Deployment.objects.filter(pk=unplaced.pk).update(goal=Goal.READY)
    demand.request_ready(unplaced.pk)


@pytest.fixture
def governed() -> Iterator[list[Replica]]:
    """Sixteen engines with segments on each of the node's GPUs; their weights leave 40 GiB for KV memory."""
    settings.GPUS = f"simulated:{GPUS_PER_NODE}x80GiB"
    homes = [factories.gpu() for _ in range(GPUS_PER_NODE)]
    claims = [Claim(settings.SIMULATED_DIR, home.uuid, memory_bytes=80 * GIB) for home in homes]
    for claim in claims:
        claim.set(70 * GIB)
    engines = [_engine(home) for home in homes for _ in range(ENGINES_PER_GPU)]
    yield engines
    for claim in claims:
        claim.close()
    for segment in kvcached.read_all(settings.SEGMENT_DIR):
        kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)


def _engine(home: GPU) -> Replica:
    deployment = factories.deployment(weights_bytes=2 * GIB, kv_floor_bytes=GIB // 2)
    engine = factories.replica(State.READY, deployment=deployment, gpu=home, profile={"kv_limit_bytes": 40 * GIB})
    kvcached.create(settings.SEGMENT_DIR, engine.ipc_name, 40 * GIB)
    kvcached.write(settings.SEGMENT_DIR, engine.ipc_name, used_bytes=GIB // 2, prealloc_bytes=0)
    return engine


def test_the_governors_second(governed: list[Replica], capsys: pytest.CaptureFixture[str]) -> None:
    governing, steady, moving = Governing(), Taken(), Taken()
    for second in range(4 * ROUNDS):
        working = governed[second // 4 % 2 :: 2]  # others work every four seconds, so that all limits move then
        busy, idle = ({**metrics.unknown(), "running": count, "waiting": 2 * count} for count in (4, 0))
        governing.seen = dict.fromkeys((one.marker for one in governed), idle)
        governing.seen |= dict.fromkeys((one.marker for one in working), busy)
        (steady if second % 4 else moving).time(partial(governing.settle, 20.0 * second))
    found = {"nothing moves": steady, "every limit moves": moving}
    shown(f"the governor's second at {GPUS_PER_NODE} GPUs x {ENGINES_PER_GPU} engines", found, capsys)
