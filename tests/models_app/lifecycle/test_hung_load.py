"""A load that hangs beside others: engines of the simulator, the workers' loops of two GPUs, and no gateway."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.conf import settings
from django.utils import timezone

from gpus import processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.errors import EngineTimeout
from models_app.lifecycle import observe, verbs
from models_app.lifecycle.observe import Remembered, Sight, World
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Replica, Transition
from models_app.states import State
from tests import factories
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def workers() -> Iterator[list[Reconciler]]:
    """The workers of two empty simulated GPUs."""
    with fresh_workers(Reconciler) as workers:
        yield workers


def deploy(gpu: int, name: str, *args: str) -> Replica:
    deployment = factories.deployment(name=name, extra_args=["--load-seconds", "0.2", "--enforce-eager", *args])
    return verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(index=gpu))[0]


def became(replica: Replica, state: State) -> datetime:
    """When it last came into that state."""
    return Transition.objects.filter(replica=replica, new=state).latest("at").at


def state(replica: Replica) -> str:
    replica.refresh_from_db()
    return replica.state


@pytest.mark.parametrize("gpu", [1, 0])
def test_who_served_is_back_first_while_another_load_hangs(
    workers: list[Reconciler], gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "TURN_SECONDS", 4.0, raising=False)
    serving = deploy(0, "serving")
    until(workers, lambda: state(serving) == "ready", "it serves")
    hung = deploy(gpu, "hung", "--hang", "health")
    until(workers, lambda: state(hung) == "starting", "the other one loads")
    new = deploy(0, "new")
    processes.kill(processes.find_all(installation_id())[serving.marker])
    until(workers, lambda: state(serving) != "ready", "its death is noticed")
    waits = until(workers, lambda: state(serving) == "ready", "who served serves again")
    print(f"a load hangs on GPU {gpu}: who served is ready again after {waits:.1f} s")
    until(workers, lambda: state(new) == "ready", "the new one serves")
    assert became(serving, State.READY) < became(new, State.STARTING)
    assert state(hung) == "starting"


@pytest.mark.django_db
def test_an_engine_that_lets_its_worker_wait_while_it_loads_is_asked_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Hangs:
        def health(self, *, timeout_seconds: float) -> bool:
            asked.append(timeout_seconds)
            time.sleep(0.05)
            raise EngineTimeout("/health was not answered")

    monkeypatch.setattr(observe, "client", lambda replica: Hangs())
    remembered, loading = Remembered(), factories.replica(State.STARTING)
    for _ in range(5):
        observe._ask(Sight(loading, World({}, timezone.now()), remembered))
    assert len(asked) == 1
    serving = factories.replica(State.WAKING)
    for _ in range(3):
        observe._ask(Sight(serving, World({}, timezone.now()), remembered))
    assert len(asked) == 4
