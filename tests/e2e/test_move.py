"""Blue-green moves under load, and with their worker killed at every phase."""

import asyncio
import threading

import pytest

from models_app.lifecycle import verbs
from models_app.models import Replica
from tests import factories
from tests.e2e.stack import Stack, state_of, wait_for
from tests.e2e.traffic import Clients, Stampede
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

ARGS = ["--load-seconds", "1", "--tokens-per-second", "40", "--max-num-seqs", "200"]


def ready(stack: Stack) -> Replica:
    """A loaded replica on the first GPU."""
    deployment = factories.deployment(extra_args=ARGS)
    [replica] = verbs.deploy(deployment, actor="test", gpu=stack.gpus[0])
    return wait_for(replica, "ready")


def under_load(
    clients: Clients, model: str, width: int, act: threading.Event, done: threading.Event
) -> threading.Thread:
    """Streams in a thread: `act` is set once all flow; they end after `done`."""

    async def run() -> None:
        stampede = Stampede(clients, model, width=width, tokens=40)
        streams = asyncio.create_task(stampede.run())
        await stampede.all_flowing()
        act.set()
        await asyncio.to_thread(done.wait)
        stampede.stop.set()
        await streams

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    return thread


def test_a_move_under_64_streams_cuts_and_fails_none_and_keeps_the_settings(stack: Stack) -> None:
    source = ready(stack)
    clients, act, done = Clients(stack.url, stack.key), threading.Event(), threading.Event()
    thread = under_load(clients, source.spec["served_name"], 64, act, done)
    try:
        assert act.wait(60)
        target = verbs.move(source, stack.gpus[1], actor="test")
        wait_for(source, "gone")
    finally:
        done.set()
        thread.join()
    target.refresh_from_db()
    assert clients.failed == []
    assert len(clients.outcomes) >= 64
    assert (target.spec["extra_args"], target.spec["sleep_enabled"], target.replaces) == (ARGS, True, None)
    assert list(stack.engines()) == [target.marker]


@pytest.mark.parametrize("phase", ["pending", "starting", "ready", "source draining", "source stopping"])
def test_a_move_survives_a_killed_worker_at_any_phase(stack: Stack, phase: str) -> None:
    source = ready(stack)
    clients, act, done = Clients(stack.url, stack.key), threading.Event(), threading.Event()
    thread = under_load(clients, source.spec["served_name"], 16, act, done)
    try:
        assert act.wait(60)
        if phase == "pending":
            stack.kill("gpu0", "gpu1")
        target = verbs.move(source, stack.gpus[1], actor="test")
        watched, wanted = (source, phase.removeprefix("source ")) if "source" in phase else (target, phase)
        until(lambda: state_of(watched) in (wanted, "gone"), f"the move reaches {phase}")
        if phase != "pending":
            stack.kill("gpu0", "gpu1")
        stack.start("gpu0", "gpu1")
        wait_for(source, "gone")
    finally:
        done.set()
        thread.join()
    wait_for(target, "ready")
    assert clients.failed == []
    assert list(stack.engines()) == [target.marker]


def test_a_move_whose_target_cannot_start_leaves_the_source_serving_and_says_why(stack: Stack) -> None:
    source = ready(stack)
    spec = source.spec | {"extra_args": ["--fail-load", "oom"]}
    Replica.objects.filter(pk=source.pk).update(spec=spec)
    target = verbs.move(source, stack.gpus[1], actor="test")
    wait_for(target, "gone")
    source.refresh_from_db()
    assert source.state == "ready"
    assert "out of memory" in source.message
