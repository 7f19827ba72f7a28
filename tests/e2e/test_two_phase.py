"""A change of launch settings on a GPU without room for both engines: calls are held, and none fails."""

import asyncio
import threading

import pytest

from models_app.models import Deployment, Replica
from models_app.policy import consent
from models_app.policy.plans import what_if
from models_app.states import State
from tests import factories
from tests.e2e.stack import Stack, state_of, wait_for
from tests.e2e.traffic import Clients, Stampede
from tests.factories import GIB
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

ARGS = ["--load-seconds", "1", "--tokens-per-second", "40", "--max-num-seqs", "200"]


def served(stack: Stack, sleeps: bool = True) -> Replica:
    """A loaded replica that fills most of the first GPU, while the other one takes nothing."""
    closed = stack.gpus[1]
    closed.enabled = False
    closed.save()
    deployment = factories.deployment(extra_args=ARGS, weights_bytes=50 * GIB, sleep_enabled=sleeps)
    consent.deploy(deployment, actor="test", gpu=stack.gpus[0])
    return wait_for(deployment.placed.get(), "ready")


async def ask(clients: Clients, model: str) -> None:
    """One call, answered in full."""
    async with clients.session() as session:
        assert (await clients.ask(session, model)).status == 200


def renewed(of: Replica, *more: str) -> Replica:
    """The copy that is to have these arguments besides, in two phases."""
    Deployment.objects.filter(pk=of.deployment_id).update(extra_args=[*ARGS, *more])
    deployment = Deployment.objects.get(pk=of.deployment_id)
    outcome = what_if.answer(lambda: consent.roll_out(deployment, actor="test", two_phase=True))
    assert outcome["two_phase"] is True
    consent.roll_out(deployment, actor="test", two_phase=True)
    return Replica.objects.get(replaces=of)


@pytest.mark.parametrize("sleeps", [True, False])
def test_calls_are_held_between_the_phases_and_none_fails(stack: Stack, sleeps: bool) -> None:
    source = served(stack, sleeps)
    clients, flowing, done = Clients(stack.url, stack.key), threading.Event(), threading.Event()

    async def run() -> None:
        stampede = Stampede(clients, source.spec["served_name"], width=8, tokens=20)
        streams = asyncio.create_task(stampede.run())
        await stampede.all_flowing()
        flowing.set()
        await asyncio.to_thread(done.wait)
        stampede.stop.set()
        await streams

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert flowing.wait(60)
        target = renewed(source, "--seed", "7")
        wait_for(source, "gone")
        wait_for(target, "ready")
    finally:
        done.set()
        thread.join()
    assert clients.failed == []
    assert list(stack.engines()) == [target.marker]
    assert target.spec["extra_args"][-1] == "7"


@pytest.mark.parametrize("sleeps", [True, False])
def test_where_the_new_engine_fails_the_old_one_serves_again(stack: Stack, sleeps: bool) -> None:
    source = served(stack, sleeps)
    target = renewed(source, "--fail-load", "arch")
    wait_for(target, "gone")
    until(lambda: state_of(source) == State.READY, "the source serves again")
    source.refresh_from_db()
    assert (source.spec["extra_args"], source.gives_way) == (ARGS, "")
    asyncio.run(ask(Clients(stack.url, stack.key), source.spec["served_name"]))
