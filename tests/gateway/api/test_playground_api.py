"""The playground calls through the session: with the person's own key, for those who may act, and nobody else."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient, Client

from gateway.access import tokens
from gateway.access.rows import load_keys
from gateway.models import ApiKey
from tests import factories
from tests.gateway.conftest import World, until
from tests.gateway.engines import Engine, Exchange

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


async def told(client: AsyncClient, body: dict[str, object] = ASKED) -> tuple[str, str]:
    """The answer's events, and its request id."""
    answer = await client.post("/api/playground", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    return b"".join([piece async for piece in answer]).decode(), answer["X-Request-Id"]


@pytest_asyncio.fixture
async def ann(transactional_db: None) -> AsyncIterator[AsyncClient]:
    """A session of somebody who may act."""
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(factories.user)("ann", is_staff=True))
    yield client
    await sync_to_async(connections.close_all)()  # the worker thread's own


async def test_an_answer_comes_as_it_is_streamed_and_is_counted_for_the_person(
    world: World, run, engine: Engine, ann: AsyncClient, settings
) -> None:
    async def two_pieces(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"tin"}}]}\n\n')
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    engine.behaviour = two_pieces
    world.serve("m", engine)
    world.key_of_token = tokens.key_id
    world.keys = []  # ids of the miniature's own keys are rows' ids here
    gateway = await run()
    settings.BENCHMARK_URL = f"http://127.0.0.1:{gateway.port}"
    refused, _ = await told(ann)  # the miniature gateway does not know the new key yet
    assert refused.startswith("\n\nevent: refused\ndata: ")
    assert json.loads(refused.rpartition("data: ")[2])["error"]["code"] == "invalid_api_key"
    world.keys = await sync_to_async(load_keys)()
    await gateway.app.keys.refresh()
    events, request_id = await told(ann)
    assert events.rstrip().endswith("data: [DONE]")
    sent = json.loads(engine.seen[-1].body)
    assert sent["stream"] is True and sent["temperature"] == 0.5
    await until(lambda: bool(world.usage))
    (key,) = [key async for key in ApiKey.objects.all()]
    assert (world.usage[-1].key_id, world.usage[-1].request_id) == (key.pk, request_id)


async def test_a_refusal_is_told_in_the_gateways_words(world: World, run, ann: AsyncClient, settings) -> None:
    world.key_of_token = tokens.key_id
    world.keys = []  # ids of the miniature's own keys are rows' ids here
    settings.BENCHMARK_URL = "http://127.0.0.1:1"
    events, _ = await told(ann)
    assert json.loads(events.rpartition("data: ")[2])["error"]["code"] == "gateway_unreachable"
    gateway = await run()
    settings.BENCHMARK_URL = f"http://127.0.0.1:{gateway.port}"
    world.keys = await sync_to_async(load_keys)()
    await gateway.app.keys.refresh()
    events, _ = await told(ann)
    refusal = json.loads(events.rpartition("data: ")[2])
    assert (refusal["status"], refusal["error"]["code"]) == (404, "model_not_found")


@pytest.mark.django_db
def test_who_may_only_look_spends_nothing_and_no_key_will_do(client: Client) -> None:
    client.force_login(factories.user("viewer"))
    assert client.post("/api/playground", ASKED, content_type="application/json").status_code == 403
    headers = {"Authorization": f"Bearer {factories.api_key('manage')[1]}"}
    refused = Client().post("/api/playground", ASKED, content_type="application/json", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert refused.json()["message"] == "this needs a signed-in staff account; programs call /v1 with a key"
    assert not ApiKey.objects.filter(name__startswith="Playground").exists()


@pytest.mark.django_db
def test_another_site_cannot_call(settings) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.user("staff", is_staff=True))
    assert client.post("/api/playground", ASKED, content_type="application/json").status_code == 403


@pytest.mark.django_db
def test_what_lacks_a_model_is_refused_before_any_call(client: Client) -> None:
    client.force_login(factories.user("staff", is_staff=True))
    answer = client.post("/api/playground", {"messages": []}, content_type="application/json")
    assert (answer.status_code, sorted(answer.json()["fields"])) == (400, ["messages", "model"])
