"""Two models on one GPU that holds one of them awake, asked for in turns."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from models_app.lifecycle import verbs
from models_app.models import Replica, Transition
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.e2e.traffic import Clients, Stampede

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

RESIDENT_SECONDS = 3
ARGS = ["--load-seconds", "0.2", "--tokens-per-second", "100"]


@pytest.fixture
def stack(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """Everything running, with turns short enough for a test."""
    turns = {"SARDEENZ_MIN_RESIDENT_SECONDS": str(RESIDENT_SECONDS), "SARDEENZ_EVICT_WAIT_SECONDS": "0:6"}
    made = Stack(service_environment | turns | {"SARDEENZ_STOP_SECONDS": "12"}, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        connection.close()


def two_models(stack: Stack) -> list[Replica]:
    """The first one asleep, the second one awake in the same place."""
    placed = []
    for _ in range(2):
        for replica in placed:
            verbs.sleep(replica, actor="test")
            wait_for(replica, "sleeping")
        deployment = factories.deployment(weights_bytes=60 * factories.GIB, extra_args=ARGS)
        placed += verbs.deploy(deployment, actor="test", gpu=stack.gpus[0])
        wait_for(placed[-1], "ready")
    return placed


def stays(replica: Replica) -> list[timedelta]:
    """How long it was ready each time before it was evicted."""
    history = list(Transition.objects.filter(replica=replica).order_by("id"))
    ready = None
    found = []
    for entry in history:
        if entry.new == "ready" and entry.old != "ready":
            ready = entry.at
        elif entry.reason == "evicted" and ready is not None:
            found.append(entry.at - ready)
    return found


def test_alternating_requests_are_answered_in_batches_by_model(stack: Stack) -> None:
    models = two_models(stack)
    clients, rounds, width = Clients(stack.url, stack.key), 4, 8

    async def alternate(session: object) -> None:
        for turn in range(rounds):
            await clients.stream(session, models[turn % 2].spec["served_name"], 8)

    async def crowd() -> None:
        async with clients.session() as session:
            await asyncio.gather(*(alternate(session) for _ in range(width)))

    asyncio.run(crowd())
    assert clients.failed == []
    assert len(clients.outcomes) == rounds * width
    wakes = Transition.objects.filter(new="waking").count()
    assert 2 <= wakes <= rounds + 2
    stayed = [length for replica in models for length in stays(replica)]
    assert stayed
    assert min(stayed) >= timedelta(seconds=RESIDENT_SECONDS)


def test_a_busy_model_makes_room_when_a_request_has_waited_long_enough_and_no_stream_is_cut(stack: Stack) -> None:
    asked_for, busy = two_models(stack)
    clients = Clients(stack.url, stack.key)

    async def run() -> None:
        # Of two lengths, or all could end at once, and it would go in a moment without any.
        crowds = [Stampede(clients, busy.spec["served_name"], width=3, tokens=tokens) for tokens in (60, 43)]
        streams = asyncio.gather(*(crowd.run() for crowd in crowds))
        for crowd in crowds:
            await crowd.all_flowing()
        async with clients.session() as session:
            answer = await clients.stream(session, asked_for.spec["served_name"], 4)
        assert answer.whole
        for crowd in crowds:
            crowd.stop.set()
        await streams

    asyncio.run(run())
    assert clients.failed == []
    evicted = Transition.objects.filter(replica=busy, reason="evicted").earliest("id")
    assert evicted.fields["wanted"]["name"] == asked_for.deployment.name
    assert evicted.fields["residents"][0]["in_flight"] > 0
    assert "of at most 6 s at priority 0" in evicted.message
