"""Engines that misbehave, loads that are cancelled, processes nobody owns."""

import asyncio
import os
import sys

import httpx2
import pytest

from gpus import devices, processes
from gpus.installation import installation_id
from models_app.lifecycle import verbs
from models_app.models import Replica, Transition
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.traffic import Clients
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]


def deployed(*args: str, **fields: object) -> Replica:
    """A replica on its way to ready, loading in an instant unless told otherwise."""
    deployment = factories.deployment(extra_args=["--load-seconds", "0.2", *args], **fields)
    return verbs.deploy(deployment, actor="test")[0]


def ask(stack: Stack, model: str) -> Clients:
    """One request through the gateway."""
    clients = Clients(stack.url, stack.key)

    async def once() -> None:
        async with clients.session() as session:
            await clients.ask(session, model)

    asyncio.run(once())
    return clients


def used(stack: Stack) -> list[int]:
    """Bytes in use on every GPU."""
    return [reading.memory_used_bytes for reading in devices.read_all()]


def test_an_engine_that_wakes_up_wrong_serves_nobody_and_is_started_afresh(stack: Stack) -> None:
    replica = wait_for(deployed("--garbage-after-wake"), "ready")
    verbs.sleep(replica, actor="test")
    wait_for(replica, "sleeping")
    assert ask(stack, replica.spec["served_name"]).failed == []
    replica.refresh_from_db()
    assert replica.generation == 2
    assert Transition.objects.get(new="failed").reason == "canary_mismatch"


def test_a_load_that_is_cancelled_gives_its_memory_back(stack: Stack) -> None:
    baseline = used(stack)
    replica = deployed("--load-seconds", "60")
    wait_for(replica, "starting")
    until(lambda: used(stack) != baseline, "the load takes memory")
    verbs.cancel(replica, actor="test")
    wait_for(replica, "stopped")
    assert used(stack) == baseline
    assert not stack.engines()


def test_a_load_that_can_never_succeed_is_not_repeated_and_requests_are_told_why(stack: Stack) -> None:
    replica = wait_for(deployed("--fail-load", "arch"), "failed")
    assert replica.reason == "architecture_unsupported"
    assert replica.restart_at is None
    answer = httpx2.post(
        f"{stack.url}/completions",
        json={"model": replica.spec["served_name"], "prompt": "Hello"},
        headers={"Authorization": f"Bearer {stack.key}"},
        timeout=30,
    )
    assert answer.status_code == 503
    assert "architecture" in answer.json()["error"]["message"]
    until(lambda: not replica.reservations.filter(held_bytes__gt=0).exists(), "its bytes are given back")


def test_an_engine_that_crashes_again_and_again_is_restarted_with_growing_pauses(stack: Stack) -> None:
    replica = deployed("--crash-after", "0.3")
    until(lambda: Transition.objects.filter(replica=replica, new="failed").count() >= 3, "it failed three times")
    replica.refresh_from_db()
    assert replica.restarts >= 3
    assert replica.generation >= 3
    verbs.stop(replica, actor="test")
    wait_for(replica, "stopped")


def test_an_engine_that_ignores_the_polite_request_is_killed(stack: Stack) -> None:
    replica = wait_for(deployed("--ignore-sigterm"), "ready")
    verbs.stop(replica, actor="test")
    wait_for(replica, "stopped")
    assert not stack.engines()


def test_level_2_drops_the_weights_and_the_wake_reads_them_again(stack: Stack) -> None:
    replica = wait_for(deployed(), "ready")
    verbs.sleep(replica, actor="test", level=2)
    wait_for(replica, "sleeping")
    assert replica.reservations.get().held_bytes < 2 * factories.GIB
    assert ask(stack, replica.spec["served_name"]).failed == []
    replica.refresh_from_db()
    assert replica.generation == 1


def test_a_sleeping_replica_moves_and_stays_asleep(stack: Stack) -> None:
    replica = wait_for(deployed(), "ready")
    verbs.sleep(replica, actor="test")
    wait_for(replica, "sleeping")
    elsewhere = next(gpu for gpu in stack.gpus if gpu.pk != replica.gpu_id)
    target = verbs.move(replica, elsewhere, actor="test")
    wait_for(replica, "gone")
    wait_for(target, "sleeping")
    assert list(stack.engines()) == [target.marker]


def test_a_deployment_nobody_asks_for_falls_asleep(stack: Stack) -> None:
    replica = wait_for(deployed(idle_sleep_seconds=1.0), "ready")
    wait_for(replica, "sleeping")
    assert Transition.objects.filter(replica=replica, actor="rule:idle").exists()


def test_an_engine_that_no_replica_owns_is_ended(stack: Stack) -> None:
    orphan = processes.spawn(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        environment={"PATH": os.environ["PATH"]},
        log_path=stack.logs / "orphan.log",
        marker=processes.marker_of(installation_id(), 4711, 1),
    )
    until(lambda: not stack.engines(), "the orphan is gone")
    assert processes.start_time(orphan) is None


def test_a_deleted_deployment_goes_with_its_engines(stack: Stack) -> None:
    replica = wait_for(deployed(), "ready")
    verbs.delete(replica.deployment, actor="test")
    wait_for(replica, "gone")
    assert not type(replica.deployment).objects.filter(pk=replica.deployment_id).exists()
    assert not stack.engines()
