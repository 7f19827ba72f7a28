"""A caller who may ask for some models only is told of no others, whatever there is to say."""

import asyncio

import pytest

from models_app.errors import NoCapacity
from tests.gateway.conftest import KEY, World, known, until
from tests.gateway.engines import Engine

SOME = "sk-srdz-some-models-only"
WORDS = "it waits for `secret-model` to go to sleep"


@pytest.mark.parametrize(("key", "told"), [(KEY, True), (SOME, False)])
async def test_who_waits_hears_of_other_models_only_where_it_may_list_them(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch, key: str, told: bool
) -> None:
    monkeypatch.setattr("gateway.admission.holds.HEARTBEAT_SECONDS", 0.02)
    world.keys.append(known(SOME, 3, allowed_models=["m"]))
    world.serve("m", message=WORDS)
    gateway = await run()
    client = await gateway.open(b'{"model":"m","stream":true}', key=key)
    comment = await client.until(b"\n\n") + await client.until(b"\n\n")
    assert b": waiting for the model" in comment
    assert (b"secret-model" in comment) == told
    world.change("m", engine)
    await until(lambda: gateway.app.admission.waiting == 0)


@pytest.mark.parametrize(("key", "told"), [(KEY, True), (SOME, False)])
async def test_who_is_refused_hears_of_other_models_only_where_it_may_list_them(
    world: World, run, key: str, told: bool
) -> None:
    world.keys.append(known(SOME, 3, allowed_models=["m", "down"]))
    world.refusal = NoCapacity("`secret-model` is pinned and holds 60 GiB", needed_bytes=2, free_bytes=1)
    world.serve("m")
    world.serve("down", state="failed", message="out of memory beside `secret-model`")
    gateway = await run()
    headers = {"authorization": f"Bearer {key}"}
    answers = await asyncio.gather(
        *(gateway.client.post("/v1/chat/completions", json={"model": name}, headers=headers) for name in ("m", "down"))
    )
    assert [answer.json()["error"]["code"] for answer in answers] == ["no_capacity", "model_failed"]
    assert ["secret-model" in answer.text for answer in answers] == [told] * 2
