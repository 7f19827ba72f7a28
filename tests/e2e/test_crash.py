"""What survives when processes are killed."""

import asyncio
import os
import signal
import threading

import pytest
from django.db import connection

from gpus import devices
from models_app.lifecycle import verbs
from models_app.models import Deployment, Replica, Transition
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.test_move import under_load
from tests.e2e.traffic import Background, Clients
from tests.leftovers import unowned
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

FAST = ["--load-seconds", "0.2"]


def test_streams_and_engines_outlive_every_other_process_and_are_adopted(stack: Stack) -> None:
    args = ["--load-seconds", "0.2", "--tokens-per-second", "20"]
    placed = [verbs.deploy(factories.deployment(extra_args=args), actor="test", gpu=gpu)[0] for gpu in stack.gpus]
    for replica in placed:
        wait_for(replica, "ready")
    before = stack.engines()
    clients, act, done = Clients(stack.url, stack.key), threading.Event(), threading.Event()
    thread = under_load(clients, placed[0].spec["served_name"], 16, act, done)
    try:
        assert act.wait(60)
        stack.kill("gpu0", "gpu1", "control", "beat")
        done.set()
    finally:
        done.set()
        thread.join()
    assert clients.failed == []
    stack.start()
    sleeper = verbs.sleep(placed[1], actor="test")
    wait_for(sleeper, "sleeping")
    assert {marker: engine.pid for marker, engine in stack.engines().items()} == {
        marker: engine.pid for marker, engine in before.items()
    }
    assert not Transition.objects.filter(new="failed").exists()


def test_a_killed_engine_is_replaced_and_the_reason_recorded(stack: Stack) -> None:
    [replica] = verbs.deploy(factories.deployment(extra_args=FAST), actor="test")
    wait_for(replica, "ready")
    os.kill(stack.engines()[replica.marker].pid, signal.SIGKILL)
    until(lambda: Transition.objects.filter(replica=replica, new="failed").exists(), "the failure is seen")
    wait_for(replica, "ready")
    failure = Transition.objects.get(replica=replica, new="failed")
    assert failure.reason == "engine_killed"
    assert replica.generation == 2
    assert answers(stack, replica)


def answers(stack: Stack, replica: Replica) -> bool:
    """Whether a request through the gateway is answered."""
    clients = Clients(stack.url, stack.key)

    async def once() -> None:
        async with clients.session() as session:
            await clients.ask(session, replica.spec["served_name"])

    asyncio.run(once())
    return clients.failed == []


def test_two_loads_at_once_for_the_last_room_one_is_placed_one_waits(stack: Stack) -> None:
    stack.kill("gpu0", "gpu1")
    verbs.deploy(factories.deployment(weights_bytes=70 * factories.GIB), actor="test", gpu=stack.gpus[1])
    wanted = [factories.deployment(weights_bytes=50 * factories.GIB) for _ in range(2)]

    def load(index: int) -> None:
        try:
            verbs.deploy(wanted[index], actor="test")
        finally:
            connection.close()  # a thread has a connection of its own

    threads = [threading.Thread(target=load, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [waits] = Deployment.objects.filter(pk__in=[one.pk for one in wanted], reason="no_capacity")
    assert waits.message.startswith("It waits for room: 52 GiB are needed, ")
    assert waits.message.endswith(" has 27 GiB free")
    assert Replica.objects.filter(deployment__in=wanted).count() == 1


def test_after_a_stop_nothing_is_left(stack: Stack) -> None:
    baseline = [reading.memory_used_bytes for reading in devices.read_all()]
    [replica] = verbs.deploy(factories.deployment(extra_args=FAST), actor="test")
    wait_for(replica, "ready")
    port, name = replica.port, replica.ipc_name
    verbs.stop(replica, actor="test")
    wait_for(replica, "stopped")
    until(lambda: Replica.objects.filter(pk=replica.pk, port=None).exists(), "its bookings are given back")
    assert [reading.memory_used_bytes for reading in devices.read_all()] == baseline
    assert stack.engines() == {}
    assert not (stack.segments / name).exists()
    assert stack.port_is_free(port)


class Calls(Background):
    """A stream that lasts, and a call that waits for a model."""

    def __init__(self, clients: Clients, served: str, asleep: str) -> None:
        super().__init__(clients)
        self.served, self.asleep = served, asleep

    async def call(self) -> None:
        async with self.clients.session() as session:
            stream = self.clients.stream(session, self.served, 3000)
            await asyncio.gather(stream, self.clients.ask(session, self.asleep))


def test_a_gateway_that_is_killed_leaves_neither_lease_nor_hold(stack: Stack) -> None:
    args = [*FAST, "--tokens-per-second", "5", "--wake-seconds", "600"]
    placed = [verbs.deploy(factories.deployment(extra_args=args), actor="test", gpu=gpu)[0] for gpu in stack.gpus]
    served, asleep = (wait_for(replica, "ready") for replica in placed)
    verbs.sleep(asleep, actor="test")
    wait_for(asleep, "sleeping")
    calls = Calls(Clients(stack.url, stack.key), served.spec["served_name"], asleep.spec["served_name"])
    calls.start()
    try:
        until(lambda: unowned().keys() >= {"leases", "holds"}, "one call is answered and one is held")
        stack.kill("gateway")
        until(lambda: not unowned(), "its lease and its hold are gone with it", 30)
        verbs.sleep(served, actor="test")
        wait_for(served, "sleeping")
    finally:
        calls.end()
