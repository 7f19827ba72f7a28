"""Requests to a sleeping model."""

import asyncio

import pytest

from models_app.lifecycle import verbs
from models_app.models import Transition
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.traffic import Clients

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]


def sleeping(stack: Stack, **fields: object) -> str:
    """The served name of a model that was loaded and put to sleep."""
    [replica] = verbs.deploy(factories.deployment(extra_args=["--load-seconds", "0.2"], **fields), actor="test")
    wait_for(replica, "ready")
    verbs.sleep(replica, actor="test")
    wait_for(replica, "sleeping")
    return str(replica.spec["served_name"])


def test_two_hundred_requests_wake_a_sleeper_once_and_all_are_answered(stack: Stack) -> None:
    model = sleeping(stack)
    clients = Clients(stack.url, stack.key)

    async def crowd() -> None:
        async with clients.session() as session:
            first = asyncio.create_task(clients.stream(session, model, 8))
            await asyncio.sleep(0)
            others = [clients.stream(session, model, 8) for _ in range(100)]
            others += [clients.ask(session, model) for _ in range(99)]
            rest = asyncio.gather(*others)
            await asyncio.sleep(0.05)  # it is waiting by now, or the wake was faster: both are fine
            first.cancel()
            await rest

    asyncio.run(crowd())
    assert clients.failed in ([], clients.outcomes[:1])
    assert len(clients.outcomes) == 200
    assert Transition.objects.filter(new="waking").count() == 1
