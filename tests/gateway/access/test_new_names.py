"""What is new works at once: before anybody is told no, what the gateway knows is read once more."""

import asyncio
import time
from dataclasses import replace

import httpx2
import pytest
from django.db import OperationalError

from models_app.traffic.routes import RouteReplica
from tests.gateway.conftest import KEY, Running, World, known
from tests.gateway.engines import Engine


class Counted(World):
    """Counts how often the database is asked."""

    keys_read = routes_read = 0

    async def load_keys(self):
        self.keys_read += 1
        return await super().load_keys()

    async def load_routes(self):
        self.routes_read += 1
        return await super().load_routes()


@pytest.fixture
def world(tmp_path) -> Counted:
    return Counted(metrics_dir=tmp_path / "metrics")


async def ask(gateway: Running, key: str = KEY, model: str = "m") -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"}
    return await gateway.client.post("/v1/chat/completions", json={"model": model}, headers=headers)


async def test_thirty_new_keys_are_good_at_once(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    codes = []
    for number in range(30):
        world.keys.append(known(f"sk-new-{number}", 100 + number))
        codes.append((await ask(gateway, f"sk-new-{number}")).status_code)
    assert codes == [200] * 30


async def test_a_key_that_is_prolonged_is_good_at_once(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    world.keys.append(known("sk-old", 3, expires_at=time.time() - 1))
    gateway = await run()
    assert (await ask(gateway, "sk-old")).status_code == 401
    world.keys[-1] = known("sk-old", 3, expires_at=time.time() + 1000)
    assert (await ask(gateway, "sk-old")).status_code == 200


async def test_a_key_may_ask_at_once_for_what_it_was_just_allowed(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    world.keys.append(known("sk-some", 3, allowed_models=["other"]))
    gateway = await run()
    assert (await ask(gateway, "sk-some")).json()["error"]["code"] == "model_not_allowed"
    world.keys[-1] = known("sk-some", 3, allowed_models=["other", "m"])
    assert (await ask(gateway, "sk-some")).status_code == 200


async def test_new_models_and_aliases_are_there_at_once(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    codes = []
    for number in range(5):  # nothing is announced
        world.serve(f"model-{number}", engine)
        codes.append((await ask(gateway, model=f"model-{number}")).status_code)
        world.alias(f"alias-{number}", m=1)
        codes.append((await ask(gateway, model=f"alias-{number}")).status_code)
    world.serve("listed", engine)
    codes.append((await gateway.client.get("/v1/models/listed")).status_code)
    assert codes == [200] * 11


@pytest.mark.parametrize("state", ["stopped", "failed"])
async def test_a_model_that_was_just_started_is_waited_for(world: World, run, engine: Engine, state: str) -> None:
    world.serve("m", state=state)
    gateway = await run()
    assert (await ask(gateway)).json()["error"]["code"] == f"model_{state}"
    replica = RouteReplica(10, 1, engine.url, "engine-key")
    world.routes[0] = replace(world.routes[0], state="ready", replicas=(replica,))
    assert (await ask(gateway)).status_code == 200


async def test_bad_keys_and_unknown_names_share_a_few_readings(world: Counted, run, engine: Engine) -> None:
    """However many ask: a reading begins no sooner than a quarter of a second after the one before."""
    world.serve("m", engine)
    gateway = await run()
    began, keys, routes = time.monotonic(), world.keys_read, world.routes_read
    answers = await asyncio.gather(
        *(ask(gateway, f"sk-bad-{number}") for number in range(200)),
        *(ask(gateway, model=f"none-{number}") for number in range(200)),
    )
    seconds = time.monotonic() - began
    assert [answer.status_code for answer in answers] == [401] * 200 + [404] * 200
    own = 2 + seconds / 0.2  # those that are read anyway, in a test: each second, and every 0.2 s
    assert world.keys_read - keys <= 2 + seconds / 0.25 + own
    assert world.routes_read - routes <= 2 + seconds / 0.25 + own


async def test_a_name_cannot_be_judged_while_the_database_is_away(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    world.fault = OperationalError("connection refused")
    answer = await ask(gateway, model="new")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "routes_unavailable")
    assert (await ask(gateway)).status_code == 200
