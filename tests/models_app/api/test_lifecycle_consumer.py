"""/ws/lifecycle and /ws/logs: subscribe, snapshot, forward."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections

from gateway.access.authentication import KeyUser
from models_app import rows, snapshot
from models_app.engines import logs
from models_app.lifecycle import transition, verbs
from models_app.models import Deployment, Replica
from models_app.routing import websocket_urlpatterns
from models_app.states import State
from models_app.traffic import activity, waiting
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 20


def visitor(path: str, user: object) -> WebsocketCommunicator:
    visit = WebsocketCommunicator(URLRouter(websocket_urlpatterns), path)
    visit.scope["user"] = user
    return visit


async def visit(path: str) -> WebsocketCommunicator:
    made = visitor(path, User(username="olive"))
    connected, _ = await made.connect(timeout=SECONDS)
    assert connected
    return made


async def in_database(work: Callable[[], Any]) -> Any:
    return await sync_to_async(work)()


@pytest.fixture(autouse=True)
async def _closed_layer() -> AsyncIterator[None]:
    yield
    await get_channel_layer().flush()
    await sync_to_async(connections.close_all)()  # the worker thread's own


@pytest.mark.parametrize("path", ["/ws/lifecycle", "/ws/logs/1"])
async def test_a_stranger_is_turned_away(path: str) -> None:
    connected, _ = await visitor(path, AnonymousUser()).connect(timeout=SECONDS)
    assert not connected


@pytest.mark.parametrize("path", ["/ws/lifecycle", "/ws/logs/1"])
async def test_an_inference_key_is_turned_away(path: str) -> None:
    key, _ = await in_database(factories.api_key)
    connected, _ = await visitor(path, KeyUser(key)).connect(timeout=SECONDS)
    assert not connected


async def test_a_page_begins_with_the_snapshot_and_is_sent_each_change() -> None:
    replica: Replica = await in_database(factories.replica)
    page = await visit("/ws/lifecycle")
    first = await page.receive_json_from(timeout=SECONDS)
    assert first == await in_database(snapshot.take)
    await in_database(lambda: verbs.sleep(replica, actor="test"))
    event = await page.receive_json_from(timeout=SECONDS)
    fresh = await in_database(lambda: rows.replica_row(rows.replicas().get(pk=replica.pk)))
    assert event == {"type": "event", "kind": "replica", "id": replica.pk, "seq": replica.seq + 1, "row": fresh}
    assert fresh["goal"] == "sleeping"
    await page.disconnect()


async def test_a_page_is_told_who_waits_and_that_nobody_does_any_more() -> None:
    replica: Replica = await in_database(lambda: factories.replica(State.SLEEPING))
    page = await visit("/ws/lifecycle")
    assert (await page.receive_json_from(timeout=SECONDS))["deployments"][0]["waiting"] is None
    held: dict[str, float | None] = {"count": 3, "since": time.time(), "priority": 0}
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        await activity.areport(client, "one", [], {}, {replica.deployment_id: held})
    await in_database(waiting.publish)
    told = await page.receive_json_from(timeout=SECONDS)
    assert (told["type"], told["kind"]) == ("event", "waiting")
    assert told["waiting"][str(replica.deployment_id)]["count"] == 3
    assert told["waiting"] == {str(number): row for number, row in (await in_database(waiting.by_deployment)).items()}
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        await activity.aforget(client, "one")
    await in_database(waiting.publish)
    assert (await page.receive_json_from(timeout=SECONDS))["waiting"] == {}
    await page.disconnect()


async def test_a_deployment_that_goes_is_sent_as_no_row() -> None:
    deployment: Deployment = await in_database(factories.deployment)
    page = await visit("/ws/lifecycle")
    await page.receive_json_from(timeout=SECONDS)
    number = deployment.pk
    await in_database(lambda: snapshot.publish_deployment(number, 7))
    assert (await page.receive_json_from(timeout=SECONDS))["row"]["name"] == deployment.name
    await in_database(deployment.delete)
    await in_database(lambda: snapshot.publish_deployment(number, 8))
    gone = await page.receive_json_from(timeout=SECONDS)
    assert gone == {"type": "event", "kind": "deployment", "id": number, "seq": 8, "row": None}
    await page.disconnect()


def log_of(replica: Replica, generation: int = 1) -> Path:
    log = logs.path(replica.pk, generation, replica.deployment.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


async def test_a_log_is_replayed_and_then_followed() -> None:
    replica: Replica = await in_database(factories.replica)
    log = log_of(replica)
    log.write_text("one\ntwo\nhal")
    page = await visit(f"/ws/logs/{replica.pk}")
    tail = await page.receive_json_from(timeout=SECONDS)
    assert tail == {"type": "tail", "generation": 1, "lines": ["one", "two"]}
    with log.open("a") as file:
        file.write("f\nthree\n")
    assert await page.receive_json_from(timeout=SECONDS) == {"type": "lines", "lines": ["half", "three"]}
    await page.disconnect()


async def test_a_log_goes_on_when_open_pages_are_told_who_waits() -> None:
    replica: Replica = await in_database(factories.replica)
    page = await visit(f"/ws/logs/{replica.pk}")
    await page.receive_json_from(timeout=SECONDS)
    await in_database(waiting.publish)
    log_of(replica).write_text("begun\n")
    assert await page.receive_json_from(timeout=SECONDS) == {"type": "lines", "lines": ["begun"]}
    await page.disconnect()


async def test_a_log_that_does_not_exist_yet_is_waited_for() -> None:
    replica: Replica = await in_database(factories.replica)
    page = await visit(f"/ws/logs/{replica.pk}")
    assert (await page.receive_json_from(timeout=SECONDS))["lines"] == []
    log_of(replica).write_text("begun\n")
    assert (await page.receive_json_from(timeout=SECONDS))["lines"] == ["begun"]
    await page.disconnect()


async def test_a_restart_begins_with_the_log_of_the_new_engine() -> None:
    replica: Replica = await in_database(factories.replica)
    log_of(replica).write_text("old\n")
    page = await visit(f"/ws/logs/{replica.pk}")
    await page.receive_json_from(timeout=SECONDS)
    log_of(replica, generation=2).write_text("new\n")
    await in_database(lambda: Replica.objects.filter(pk=replica.pk).update(generation=2))
    await in_database(lambda: transition.announce(Replica.objects.get(pk=replica.pk)))
    assert await page.receive_json_from(timeout=SECONDS) == {"type": "tail", "generation": 2, "lines": ["new"]}
    await page.disconnect()


async def test_a_log_of_nobody_is_closed() -> None:
    page = await visit("/ws/logs/999999")
    assert (await page.receive_output(timeout=SECONDS))["code"] == 4404
