"""A name that stands for several deployments: who is drawn, who is asked next, and what callers see of it."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest

from gateway.admission import holds
from gateway.metering.meter import DROPPED
from gateway.wire.usage import NOTHING
from models_app.traffic.routes import RouteReplica
from tests.gateway.behaviours import Held, events, hang_up, named, status
from tests.gateway.conftest import KEY, World, known, until
from tests.gateway.engines import Engine

STREAM = b'{"model":"m","stream":true}'


@pytest.fixture
def pair(world: World, engine: Engine, other_engine: Engine) -> None:
    """Two deployments that say which of them answers."""
    engine.behaviour, other_engine.behaviour = named("first"), named("second")
    world.serve("first", engine)
    world.serve("second", other_engine)


# --- who is drawn -----------------------------------------------------------------------------------------------
async def test_a_split_draws_by_weight_and_never_who_has_none(world: World, run, pair: None) -> None:
    third = await Engine(named("third")).start()
    world.serve("third", third)
    world.alias("m", third=0, first=3, second=1)
    gateway = await run()
    drawn = Counter([(await gateway.chat("m")).json()["id"] for _ in range(240)])
    await third.stop()
    assert drawn.keys() == {"first", "second"}
    assert 130 < drawn["first"] < 230  # 180 are expected, with a deviation of 6.7


@pytest.mark.parametrize("weights", [{"first": 0, "second": 0}, {"first": 1, "second": 0}])
async def test_without_a_split_the_first_answers(world: World, run, pair: None, weights: dict[str, int]) -> None:
    world.alias("m", **weights)
    gateway = await run()
    assert {(await gateway.chat("m")).json()["id"] for _ in range(12)} == {"first"}


async def test_a_session_keeps_its_side_however_it_is_named(world: World, run, pair: None) -> None:
    world.alias("m", first=1, second=1)
    one, other = await run(), await run()
    sides = set()
    for number in range(16):
        session = f"session-{number}"
        said = [await one.client.post("/v1/chat/completions", json={"model": "m"}, headers={"x-session-id": session})]
        said += [await one.chat("m", prompt_cache_key=session), await other.chat("m", prompt_cache_key=session)]
        (side,) = {answer.json()["id"] for answer in said}
        sides.add(side)
    assert sides == {"first", "second"}


async def test_a_conversation_goes_on_at_the_deployment_where_it_began(world: World, run, pair: None) -> None:
    world.alias("m", first=1, second=1)
    gateway = await run()
    for name in ("first", "second"):
        made = (await gateway.client.post("/v1/responses", json={"model": name})).json()["id"]
        more = {"model": "m", "previous_response_id": made}
        found = {(await gateway.client.post("/v1/responses", json=more)).json()["id"] for _ in range(12)}
        assert found == {name}


# --- what the engine is sent ------------------------------------------------------------------------------------
async def test_the_engine_is_asked_for_the_model_it_knows_and_sees_every_other_byte_as_it_was(
    world: World, run, engine: Engine
) -> None:
    world.serve("org/first", engine)
    world.alias("m", **{"org/first": 1})
    body = b'{ "model" : "m",\n "messages": [{"role":"user","content":"\\u00e9 }"}], "seed": 1.50e3 }\n'
    client = await (await run()).open(body)
    assert b"200 OK" in await client.head()
    (seen,) = engine.seen
    assert seen.body.startswith(body[: body.rindex(b"}")])
    assert json.loads(seen.body) == json.loads(body) | {"model": "org/first"}
    assert int(seen.headers["content-length"]) == len(seen.body)


async def test_a_form_names_the_model_the_engine_knows(world: World, run, engine: Engine) -> None:
    world.serve("whisper", engine)
    world.alias("m", whisper=1)
    gateway = await run()
    form = {"data": {"model": "m", "language": "m"}, "files": {"file": ("m.wav", b"\x00m\r\n\xff", "audio/wav")}}
    assert (await gateway.client.post("/v1/audio/transcriptions", **form)).status_code == 200
    (seen,) = engine.seen
    assert seen.body.count(b"\r\n\r\nwhisper\r\n") == 1
    assert seen.body.count(b"\r\n\r\nm\r\n") == 1
    assert b"\x00m\r\n\xff" in seen.body


async def test_usage_tells_who_was_asked_and_who_answered(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour = status(503)
    world.serve("first", engine)
    second = world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    await until(lambda: len(world.usage) == 2)
    record, in_vain = sorted(world.usage, key=lambda each: each.outcome == DROPPED)
    assert (in_vain.replica_id, in_vain.outcome, in_vain.usage) == (10, DROPPED, NOTHING)
    assert (record.asked_name, record.served_name, record.outcome) == ("m", "second", "ok")
    assert (record.deployment_id, record.usage.completion_tokens) == (second.deployment_id, 5)


# --- who is asked next ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", ["stopped", "failed"])
async def test_one_that_does_not_run_is_passed_over(world: World, run, engine: Engine, state: str) -> None:
    world.serve("first", state=state)
    world.serve("second", engine)
    world.alias("m", first=1, second=0)
    answer = await (await run()).chat("m")
    assert (answer.status_code, len(engine.seen)) == (200, 1)
    assert json.loads(engine.seen[0].body)["model"] == "second"
    assert not world.wakes


async def test_one_with_a_full_queue_is_passed_over(world: World, run, engine: Engine, other_engine: Engine) -> None:
    held = engine.behaviour = Held()
    world.serve("first", engine, max_concurrency=1, queue_limit=0)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    busy = asyncio.create_task(gateway.chat("first"))
    await until(lambda: len(held) == 1)
    assert (await gateway.chat("m")).status_code == 200
    assert (len(engine.seen), len(other_engine.seen)) == (1, 1)
    held.open()
    assert (await busy).status_code == 200


async def test_one_that_is_not_there_is_passed_over(world: World, run, engine: Engine, other_engine: Engine) -> None:
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    await engine.stop()
    assert (await gateway.chat("m")).status_code == 200
    assert len(other_engine.seen) == 1


@pytest.mark.parametrize("failure", [hang_up, status(500), status(503)])
@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_fails_before_it_says_anything_is_passed_over(
    world: World, run, engine: Engine, other_engine: Engine, failure, stream: bool
) -> None:
    engine.behaviour = failure
    other_engine.behaviour = events("hello") if stream else named("second")
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    answer = await (await run()).chat("m", stream=stream)
    assert answer.status_code == 200
    assert "hello" in answer.text if stream else answer.json() == {"id": "second"}
    assert engine.seen
    assert len(other_engine.seen) == 1


@pytest.mark.parametrize("code", [400, 404, 422, 429])
async def test_the_callers_mistake_is_told_as_it_came(
    world: World, run, engine: Engine, other_engine: Engine, code: int
) -> None:
    words = b'{"object":"error", "message":"as the engine says it"}'
    engine.behaviour = status(code, words)
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.content) == (code, words)
    assert not other_engine.seen


async def test_when_all_fail_the_last_ones_error_is_told(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour, other_engine.behaviour = status(503, b"first"), status(500, b"second")
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.serve("third", state="stopped")
    world.alias("m", first=1, second=0)
    world.alias("n", second=1, third=0)
    gateway = await run()
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.content) == (500, b"second")
    answer = await gateway.chat("n")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_stopped")
    assert answer.headers["x-sardeenz-state"] == "stopped"


async def test_a_stream_that_was_held_open_is_passed_on_too(
    world: World, run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    engine.behaviour = events("hello")
    world.serve("first")
    world.serve("second", engine)
    world.alias("m", first=1, second=0)
    client = await (await run()).open(STREAM)
    await client.until(b": waiting for the model, it is sleeping\n\n")
    world.change("first", state="failed")
    said = await client.until(b"0\r\n\r\n")
    assert b'"hello"' in said
    assert b"error" not in said


async def test_a_stream_is_passed_on_when_an_engine_that_was_waited_for_breaks(
    world: World, run, engine: Engine, other_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HEARTBEAT_SECONDS", 0.05)
    held = engine.behaviour = Held(status(503))
    other_engine.behaviour = events("hello")
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=0)
    client = await (await run()).open(STREAM)
    await client.until(b": waiting for the model")
    held.open()
    said = await client.until(b"0\r\n\r\n")
    assert b'"hello"' in said
    assert b"error" not in said


async def test_who_is_asked_next_is_asked_where_it_is_by_then(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    """A replica that left the table during the wait may be asleep: whoever drained it relies on that."""
    world.serve("first")
    world.serve("second", engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    moved = RouteReplica(99, 1, other_engine.url, "engine-key")
    world.routes[1] = replace(world.routes[1], replicas=(moved,))
    world.changed.set()
    await until(lambda: "99:1" in gateway.app.router.table.markers)
    world.change("first", state="failed")
    assert (await waiter).status_code == 200
    assert (len(engine.seen), len(other_engine.seen)) == (0, 1)


async def test_a_deployment_that_goes_while_it_is_waited_for_is_passed_over(world: World, run, engine: Engine) -> None:
    world.serve("first")
    world.serve("second", engine)
    world.alias("m", first=1, second=0)
    gateway = await run()
    waiter = asyncio.create_task(gateway.chat("m"))
    await until(lambda: gateway.app.admission.waiting == 1)
    del world.routes[0]
    world.changed.set()
    assert (await waiter).status_code == 200
    assert len(engine.seen) == 1


# --- what callers see -------------------------------------------------------------------------------------------
async def test_a_key_may_use_the_names_it_was_given_and_no_other(world: World, run, engine: Engine) -> None:
    world.serve("first", engine)
    world.alias("m", first=1)
    world.keys = [known("by-alias", 11, allowed_models=["m"]), known("by-name", 12, allowed_models=["first"])]
    client = (await run()).client
    for plain, may, may_not in (("by-alias", "m", "first"), ("by-name", "first", "m")):
        sent = {"headers": {"authorization": f"Bearer {plain}"}}
        assert (await client.post("/v1/chat/completions", json={"model": may}, **sent)).status_code == 200
        refused = await client.post("/v1/chat/completions", json={"model": may_not}, **sent)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
        shown = (await client.get("/v1/models", **sent)).json()["data"]
        assert [card["id"] for card in shown] == [may]
        assert (await client.get(f"/v1/models/{may}", **sent)).status_code == 200
        assert (await client.get(f"/v1/models/{may_not}", **sent)).status_code == 403
    assert len(engine.seen) == 2


async def test_who_made_a_response_by_an_alias_may_fetch_it(
    world: World, run, engine: Engine, other_engine: Engine
) -> None:
    engine.behaviour, other_engine.behaviour = named("resp_1"), named("resp_2")
    world.serve("first", engine)
    world.serve("second", other_engine)
    world.alias("m", first=1, second=1)
    world.keys = [known(KEY, 1, allowed_models=["m"]), known("other", 2)]
    client = (await run()).client
    made = (await client.post("/v1/responses", json={"model": "m"})).json()["id"]
    for _ in range(8):
        assert (await client.get(f"/v1/responses/{made}")).json() == {"id": made}
    await until(lambda: len(world.usage) == 9)
    assert {record.served_name for record in world.usage} == {{"resp_1": "first", "resp_2": "second"}[made]}
    refused = await client.get(f"/v1/responses/{made}", headers={"authorization": "Bearer other"})
    assert refused.status_code == 404


async def test_the_list_tells_what_an_alias_stands_for_and_wakes_nothing(world: World, run, engine: Engine) -> None:
    world.serve("first")
    world.serve("second", engine)
    world.serve("third", state="stopped")
    world.alias("m", first=1, second=0)
    world.alias("asleep", first=1)
    world.alias("nowhere", third=1)
    gateway = await run()
    cards = {card["id"]: card for card in (await gateway.client.get("/v1/models")).json()["data"]}
    assert cards.keys() == {"first", "second", "m", "asleep"}
    assert (cards["m"]["alias_of"], cards["m"]["state"]) == (["first", "second"], "ready")
    assert (cards["asleep"]["alias_of"], cards["asleep"]["state"]) == (["first"], "sleeping")
    assert cards["first"]["state"] == "sleeping"
    assert "alias_of" not in cards["first"]
    assert (await gateway.client.get("/v1/models/m")).json() == cards["m"]
    assert not world.wakes
    assert not engine.seen


async def test_an_alias_that_was_removed_is_soon_unknown(world: World, run, engine: Engine) -> None:
    world.serve("first", engine)
    world.alias("m", first=1)
    gateway = await run()
    assert (await gateway.chat("m")).status_code == 200
    world.aliases.clear()  # and nobody announces it
    await until(lambda: "m" not in gateway.app.router.table.splits)
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert (await gateway.chat("first")).status_code == 200
    assert len(engine.seen) == 2
