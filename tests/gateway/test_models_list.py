"""The list of models shows what can be called, without waking anything."""

from tests.gateway.conftest import World
from tests.gateway.engines import Engine


async def test_ready_sleeping_and_loading_models_are_listed(world: World, run, engine: Engine) -> None:
    world.serve("org/awake", engine)
    world.serve("asleep")
    world.serve("loading", state="starting")
    world.serve("stopped", state="stopped")
    world.serve("broken", state="failed")
    answer = (await (await run()).client.get("/v1/models")).json()
    assert answer["object"] == "list"
    assert {card["id"]: card["state"] for card in answer["data"]} == {
        "org/awake": "ready",
        "asleep": "sleeping",
        "loading": "starting",
    }
    assert answer["data"][0]["max_model_len"] == 4096
    assert not world.wakes
    assert not engine.seen


async def test_one_model_can_be_asked_for_by_its_name(world: World, run, engine: Engine) -> None:
    world.serve("org/awake", engine)
    gateway = await run()
    assert (await gateway.client.get("/v1/models/org/awake")).json()["id"] == "org/awake"
    assert (await gateway.client.get("/v1/models/nobody")).json()["error"]["code"] == "model_not_found"


async def test_the_list_needs_a_key(world: World, run) -> None:
    assert (await (await run()).client.get("/v1/models", headers={"authorization": ""})).status_code == 401


async def test_liveness_and_metrics_need_no_key(world: World, run, engine: Engine) -> None:
    world.serve("m", engine)
    gateway = await run()
    await gateway.chat("m")
    assert (await gateway.client.get("/health", headers={"authorization": ""})).json() == {"status": "ok"}
    metrics = (await gateway.client.get("/metrics", headers={"authorization": ""})).text
    assert 'calls_total{model="m",path="/v1/chat/completions",status="200",outcome="ok"} 1' in metrics
    assert 'sardeenz_gateway_tokens_total{model="m",kind="prompt"} 7' in metrics
