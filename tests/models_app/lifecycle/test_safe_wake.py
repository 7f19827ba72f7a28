"""A wake, look by look: what it damaged is found before anything is routed, and calls are not kept from an engine.

Real simulated engines and a worker's loop, no gateway.
"""

from collections.abc import Iterator

import pytest

from gpus.models import GPU
from models_app.lifecycle import queues, verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Replica, Transition
from sardeenz import events, redis
from tests import factories
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def worker() -> Iterator[Reconciler]:
    """The worker of an empty simulated GPU."""
    with fresh_workers(Reconciler) as workers:
        yield workers[0]


def seer(worker: Reconciler, *flags: str) -> Replica:
    """A model that looks at pictures, ready."""
    model = factories.model(name="lab", source="sample/lab-vl")
    deployment = factories.deployment(model=model, extra_args=["--load-seconds", "0.1", *flags])
    replica = verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(index=0))[0]
    until(worker, lambda: is_in(replica, "ready"), "it serves")
    return replica


def is_in(replica: Replica, state: str) -> bool:
    replica.refresh_from_db()
    return replica.state == state


def sleep_and_wake(worker: Reconciler, replica: Replica, level: int = 1) -> None:
    """Asleep, and then until it serves again, woken or started afresh."""
    verbs.sleep(replica, actor="test", level=level)
    until(worker, lambda: is_in(replica, "sleeping"), "it sleeps")
    verbs.wake(replica, actor="test")
    until(worker, lambda: is_in(replica, "ready"), "it serves again")


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        ("all", "differently: its answer was"),
        ("text", "differently: its answer was"),
        ("image", "differently: shown a picture, its answer was"),
        ("logprob", "differently: the log-probability of its token was"),
    ],
)
def test_what_a_wake_damaged_is_told_and_the_engine_starts_afresh(worker: Reconciler, damaged: str, words: str) -> None:
    replica = seer(worker, "--garbage-after-wake", damaged)
    sleep_and_wake(worker, replica)
    assert replica.generation == 2
    failure = Transition.objects.get(new="failed")
    assert failure.reason == "canary_mismatch"
    assert words in failure.message


@pytest.mark.parametrize("level", [1, 2])
def test_a_sound_wake_serves_and_its_canaries_tokens_are_counted(worker: Reconciler, level: int) -> None:
    replica = seer(worker)
    assert set(replica.canary) == {"answer", "token", "logprob", "image"}
    prompts, completions = replica.own_tokens
    sleep_and_wake(worker, replica, level)
    assert replica.generation == 1
    assert completions == 2
    assert replica.own_tokens == (2 * prompts, 4)


def test_a_canary_of_an_older_version_is_compared_by_its_text(worker: Reconciler) -> None:
    replica = seer(worker, "--garbage-after-wake", "logprob")
    Replica.objects.update(canary={"answer": replica.canary["answer"]})
    replica.refresh_from_db()
    sleep_and_wake(worker, replica)
    assert replica.generation == 1


def test_a_model_that_takes_no_pictures_is_shown_none(worker: Reconciler) -> None:
    deployment = factories.deployment(extra_args=["--load-seconds", "0.1"])
    replica = verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(index=0))[0]
    until(worker, lambda: is_in(replica, "ready"), "it serves")
    assert set(replica.canary) == {"answer", "token", "logprob"}
    assert replica.own_tokens[1] == 1


def asleep(worker: Reconciler, *flags: str) -> Replica:
    """A model that sleeps, and whose worker was poked by nobody."""
    replica = seer(worker, *flags)
    verbs.sleep(replica, actor="test")
    until(worker, lambda: is_in(replica, "sleeping"), "it sleeps")
    queues.received(worker.uuid)
    return replica


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The states that pages hear of."""
    states: list[str] = []
    monkeypatch.setattr(events, "publish", lambda _, event: states.append(event["row"]["state"]))
    return states


def test_who_wakes_at_once_serves_after_one_look(worker: Reconciler) -> None:
    replica = asleep(worker, "--wake-seconds", "0")
    verbs.wake(replica, actor="test")
    assert worker.pass_once() is None  # nothing is left to be done
    assert is_in(replica, "ready")


def test_pages_hear_of_a_wake_that_takes_its_time(worker: Reconciler, told: list[str]) -> None:
    replica = asleep(worker, "--wake-seconds", "1")
    verbs.wake(replica, actor="test")
    told.clear()
    worker.pass_once()
    assert told == ["waking", "ready"]


def test_a_worker_pokes_nobody_for_steps_that_it_looks_after_itself(worker: Reconciler) -> None:
    replica = asleep(worker, "--wake-seconds", "0")
    verbs.wake(replica, actor="test")
    assert redis.client().exists(redis.key("poked", worker.uuid))
    queues.received(worker.uuid)
    until(worker, lambda: is_in(replica, "ready"), "it serves again")
    assert not redis.client().exists(redis.key("poked", worker.uuid))
