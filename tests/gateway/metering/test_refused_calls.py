"""Calls that no model was asked for are counted where operators see them."""

import time

import msgspec
import pytest
import redis
from django.conf import settings
from django.test import Client

from gateway.metering import refused_stored
from gateway.metering.refused import MOST, Refusal, Refused
from tests import factories
from tests.gateway.conftest import World, known, until
from tests.gateway.engines import Engine


async def test_bad_keys_unknown_models_and_paths_are_counted(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    world.keys.append(known("sk-some", 3, allowed_models=["other"]))
    gateway = await run()
    body = {"model": "nobody"}
    for _ in range(2):
        await gateway.client.post("/v1/chat/completions", json=body)
    for value in ("Bearer sk-srdz-abcdefghijkl", "Bearer something else"):
        await gateway.client.post("/v1/chat/completions", json=body, headers={"authorization": value})
    await gateway.client.post("/v1/chat/completions", json={"model": "m"}, headers={"authorization": "Bearer sk-some"})
    await gateway.client.post("/v1/nothing", json=body)
    await gateway.chat("m")
    await until(lambda: len(world.refused) == 5)
    assert sorted(row[:4] for row in world.refused) == [
        ["invalid_api_key", "", None, 1],
        ["invalid_api_key", "sk-srdz-abcdef", None, 1],
        ["model_not_allowed", "m", 3, 1],
        ["model_not_found", "nobody", 1, 2],
        ["unknown_path", "/v1/nothing", None, 1],
    ]
    page = (await gateway.client.get("/metrics")).text
    assert 'sardeenz_gateway_refused_total{code="model_not_found"} 2' in page
    assert 'sardeenz_gateway_refused_total{code="invalid_api_key"} 2' in page


async def test_what_could_not_be_told_is_told_later(world: World, run) -> None:
    gateway = await run()
    world.redis_fault = ConnectionError("gone")
    await gateway.chat("nobody")
    await until(lambda: gateway.app._telling.lasting)
    world.redis_fault = None
    await until(lambda: len(world.refused) == 1)


def test_rows_are_bounded_and_the_oldest_make_way() -> None:
    refused = Refused()
    for number in range(3 * MOST):
        refused.note("invalid_api_key", f"sk-srdz-{number}")
        refused.note("model_not_found", "often")
    rows = msgspec.json.decode(refused.news() or b"", type=list[Refusal])
    assert len(rows) == MOST
    assert rows[-1].count == refused.counts["model_not_found"] == refused.counts["invalid_api_key"] == 3 * MOST
    assert refused.news() is None


@pytest.mark.django_db
def test_operators_see_them_with_the_names_of_keys(client: Client) -> None:
    made, _ = factories.api_key()
    now = time.time()
    rows = [
        Refusal("model_not_found", "nobody", made.pk, 2, now - 9, now - 5),
        Refusal("invalid_api_key", made.prefix, None, 1, now, now),
        Refusal("invalid_api_key", "", None, 7, now - 90000, now - 90000),
    ]
    store = redis.Redis.from_url(settings.REDIS_URL)
    for gateway in ("one", "two"):
        store.hset(refused_stored._ALL, gateway, msgspec.json.encode(rows))
    store.close()
    client.force_login(factories.user())
    found = client.get("/api/refusals").json()
    assert [(row["code"], row["about"], row["key_name"], row["count"]) for row in found] == [
        ("invalid_api_key", made.prefix, made.name, 2),
        ("model_not_found", "nobody", made.name, 4),
    ]


def test_strangers_do_not_see_them(client: Client) -> None:
    assert client.get("/api/refusals").status_code == 401
