"""Who waits for what, as operators see it: gateways' reports and rows put together."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from models_app import snapshot
from models_app.models import Replica
from models_app.rows import WaitingRow, WaitReason
from models_app.states import Goal, State
from models_app.traffic import activity, waiting
from models_app.traffic.callers import WAITS_FOR_ROOM
from tests import factories

pytestmark = pytest.mark.django_db


def say(gateway: str, replica: Replica, **held: float | None) -> None:
    """One gateway's report of who waits for this replica's deployment."""

    async def write() -> None:
        async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
            await activity.areport(client, gateway, [], {}, {replica.deployment_id: held})

    asyncio.run(write())


def only() -> WaitingRow:
    """The one deployment that is waited for."""
    [row] = waiting.by_deployment().values()
    return row


def test_nobody_waits_and_nothing_is_asked_of_the_database(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert waiting.by_deployment() == {}


def test_those_at_all_gateways_are_one_row(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    replica, now = factories.replica(State.SLEEPING), time.time()
    say("one", replica, count=2, since=now - 5, priority=0)
    say("two", replica, count=3, since=now - 9, priority=0)
    with django_assert_num_queries(1):
        row = only()
    assert (row["count"], row["since"]) == (5, datetime.fromtimestamp(now - 9, UTC).isoformat())


@pytest.mark.parametrize(
    ("state", "goal", "reason"),
    [
        (State.SLEEPING, Goal.SLEEPING, "wake"),
        (State.WAKING, Goal.READY, "wake"),
        (State.DRAINING, Goal.SLEEPING, "wake"),
        (State.STARTING, Goal.READY, "load"),
        (State.PENDING, Goal.READY, "load"),
        (State.READY, Goal.READY, "engine"),
    ],
)
def test_what_is_waited_for_is_what_the_replica_does(state: State, goal: Goal, reason: WaitReason) -> None:
    replica = factories.replica(state, goal=goal)
    say("one", replica, count=1, since=time.time(), priority=0)
    row = only()
    assert (row["reason"], row["message"]) == (reason, waiting.WORDS[reason])


def test_one_that_finds_no_room_says_what_its_row_says() -> None:
    replica = factories.replica(State.SLEEPING, goal=Goal.SLEEPING, reason=WAITS_FOR_ROOM, message="waits for code")
    say("one", replica, count=1, since=time.time(), priority=0)
    row = only()
    assert (row["reason"], row["message"]) == ("room", "waits for code")


def test_it_is_expected_when_the_wake_under_way_has_taken_as_long_as_the_last() -> None:
    began = timezone.now() - timedelta(seconds=4)
    replica = factories.replica(State.WAKING, profile={"wake_seconds": 10.0}, state_at=began)
    say("one", replica, count=1, since=time.time(), priority=0)
    expected = datetime.fromisoformat(only()["expected_at"] or "")
    assert abs((expected - began).total_seconds() - 10.0) < 0.1


def test_one_that_takes_longer_than_ever_is_not_expected_at_any_time() -> None:
    began = timezone.now() - timedelta(seconds=40)
    replica = factories.replica(State.WAKING, profile={"wake_seconds": 10.0}, state_at=began)
    say("one", replica, count=1, since=time.time(), priority=0)
    assert only()["expected_at"] is None


def test_those_in_a_queue_wait_until_the_last_gateway_says() -> None:
    replica, now = factories.replica(), time.time()
    say("one", replica, queued=4, queued_since=now - 3, expected_at=now + 20)
    say("two", replica, queued=1, queued_since=now - 1, expected_at=None)
    row = only()
    assert (row["count"], row["reason"]) == (5, "queue")
    assert row["expected_at"] == datetime.fromtimestamp(now + 20, UTC).isoformat()


def test_the_queue_of_a_ready_model_is_no_call_for_a_wake() -> None:
    replica = factories.replica()
    say("one", replica, queued=4, queued_since=time.time(), expected_at=None)
    assert activity.waiting(activity.read_reports()) == {}


def test_rows_carry_who_waits(client: Client) -> None:
    replica, other = factories.replica(State.SLEEPING), factories.replica(gpu=factories.gpu())
    say("one", replica, count=2, since=time.time(), priority=0)
    client.force_login(factories.user())
    listed = {row["id"]: row["waiting"] for row in client.get("/api/deployments").json()["results"]}
    assert listed == {replica.deployment_id: only(), other.deployment_id: None}
    assert client.get(f"/api/deployments/{replica.deployment_id}").json()["waiting"] == only()
    assert {row["id"]: row["waiting"] for row in snapshot.take()["deployments"]} == listed


def test_without_redis_rows_are_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> list[activity.GatewayReport]:
        raise redis.ConnectionError("gone")

    factories.replica(State.SLEEPING)
    monkeypatch.setattr(activity, "read_reports", away)
    assert [row["waiting"] for row in snapshot.take()["deployments"]] == [None]
