"""Drills against an engine that stands for the gateway; what the fleet does is done by the test at once."""

import asyncio
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from gateway.benchmark import book, runner
from gateway.benchmark.drills import caps, elastic, moving
from gateway.benchmark.drills.turns import burst, in_turns
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Stream
from gateway.models import BenchmarkRun
from models_app.errors import NoCapacity
from models_app.lifecycle import verbs
from models_app.models import Deployment, Replica, Transition
from tests import factories
from tests.gateway.benchmark.test_driver import two_tokens
from tests.gateway.benchmark.test_runner import LOAD, gateway, made, performed
from tests.gateway.engines import Engine, Exchange

__all__ = ["gateway"]
pytestmark = pytest.mark.django_db(transaction=True)
BURSTS = tuple(
    Stream(name, Arrival("poisson", rate=4.0), Lengths(tokens=5), Lengths(tokens=2)) for name in ("chat", "code")
)


def names(run: BenchmarkRun) -> list[str]:
    return [part["name"] for part in run.result["drill"]["parts"]]


async def drilled(plan: Plan, **options: Any) -> BenchmarkRun:
    return await performed(plan, kind="drill", options=options)


def test_a_burst_climbs_to_its_peak_and_falls_again() -> None:
    moments = burst(peak=10.0, seconds=8.0)
    assert moments == sorted(moments)
    assert (len(moments), moments[0] > 0, moments[-1] < 8.0) == (40, True, True)
    middle = [one for one in moments if 3.5 <= one <= 4.5]
    first = [one for one in moments if one <= 1.0]
    assert len(middle) > 3 * len(first)
    assert moments[0] == pytest.approx(8.0 - moments[-1])


def test_models_are_asked_one_after_the_other_round_by_round() -> None:
    plan = in_turns(Plan(BURSTS, seconds=99.0), seconds=4.0, rounds=2)
    one, other = (stream.arrival for stream in plan.streams)
    assert (one.pattern, plan.seconds, plan.together) == ("trace", None, True)
    assert len(one.trace) == len(other.trace) == 2 * 8
    assert other.trace[0].at - one.trace[0].at == pytest.approx(4.5)
    assert one.trace[8].at - one.trace[0].at == pytest.approx(9.0)
    assert one.trace[7].at < other.trace[0].at < other.trace[7].at < one.trace[8].at


async def test_a_cold_start_stops_starts_and_asks(gateway: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def stop(row: Replica, *, actor: str) -> None:
        done.append("stop")
        Replica.objects.filter(pk=row.pk).update(state="stopped", goal="stopped", port=None)

    def start(row: Replica, *, actor: str) -> None:
        done.append("start")
        Replica.objects.filter(pk=row.pk).update(state="ready", goal="ready", port=1)

    async def answer(exchange: Exchange) -> None:
        done.append("call")
        await two_tokens(exchange)

    monkeypatch.setattr(verbs, "stop", stop)
    monkeypatch.setattr(verbs, "start", start)
    gateway.behaviour = answer
    run = await drilled(Plan((LOAD,), calls=1), kind="cold_starts", cycles=2)
    assert (run.status, done) == ("done", ["stop", "start", "call"] * 2)
    told = run.result["drill"]
    assert (told["cycles"], told["stop_seconds"]["count"]) == (2, 2)
    assert told["words"].startswith("A cold start gives the first token after ")


async def test_calls_are_told_apart_by_when_they_were_planned_of_a_move(
    gateway: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []

    def move(row: Replica, gpu: Any, *, actor: str) -> Replica:
        moved.append(gpu.index)
        if len(moved) == 1:
            raise NoCapacity("it does not fit there", needed_bytes=1, free_bytes=0)
        return factories.replica(deployment=row.deployment, gpu=gpu, state="starting", goal="ready")

    def settled(source: int, target: int) -> bool:
        first = not Replica.objects.filter(pk=source, state="stopped").exists()
        Replica.objects.filter(pk=source).update(state="stopped", goal="stopped")
        Replica.objects.filter(pk=target).update(state="ready", deadline_at=None)
        return not first and was_moved(source, target)

    was_moved = moving._moved
    monkeypatch.setattr(verbs, "move", move)
    monkeypatch.setattr(moving, "_moved", settled)
    await sync_to_async(factories.gpu)()
    await sync_to_async(factories.gpu)()
    run = await drilled(Plan((LOAD,)), kind="move", cycles=1, turn_seconds=0.3)
    assert (run.status, run.message) == ("done", "")
    parts = {part["name"]: part["figures"] for part in run.result["drill"]["parts"]}
    assert list(parts) == ["before", "while it moved", "after"]
    assert all(figures["ok"] > 0 for figures in parts.values())
    assert sum(figures["calls"] for figures in parts.values()) == run.result["streams"][0]["figures"]["calls"]
    assert len(moved) == 2
    assert "no call failed meanwhile" in run.result["drill"]["words"]


async def test_a_move_whose_copy_fails_is_told_and_ends_the_load(
    gateway: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(row: Replica, gpu: Any, *, actor: str) -> Replica:
        return factories.replica(deployment=row.deployment, gpu=gpu, state="failed", goal="ready", message="no luck")

    monkeypatch.setattr(verbs, "move", move)
    await sync_to_async(factories.gpu)()
    run = await drilled(Plan((LOAD,)), kind="move", cycles=1, turn_seconds=0.1)
    assert (run.status, run.code) == ("failed", "drill_stuck")
    assert run.message == "the copy that was to take over failed: no luck"
    before = len(gateway.seen)
    await asyncio.sleep(0.1)
    assert len(gateway.seen) == before


async def test_a_storm_tells_what_replicas_did_meanwhile(gateway: Engine) -> None:
    async def answer(exchange: Exchange) -> None:
        if len(gateway.seen) == 1:
            replica = await Replica.objects.select_related("deployment").afirst()
            assert replica is not None
            for new in ("waking", "ready"):
                await Transition.objects.acreate(
                    replica=replica, deployment_name="chat", generation=1, old="sleeping", new=new, goal="ready",
                    actor="test",
                )  # fmt: skip
        await two_tokens(exchange)

    gateway.behaviour = answer
    run = await drilled(Plan(BURSTS), kind="storm", cycles=1, turn_seconds=1.0)
    told = run.result["drill"]
    assert [one["words"] for one in told["happenings"]] == ["began to wake", "was ready"]
    assert told["words"].startswith("1 wakes, 0 loads and 0 sleeps; first token p50 ")
    assert names(run) == ["all", "all, chat", "all, code"]
    assert [part["figures"]["calls"] for part in told["parts"]] == [4, 2, 2]
    assert [stream["figures"]["calls"] for stream in run.result["streams"]] == [2, 2]


async def test_what_the_gateway_costs_is_asked_both_ways_by_turns(gateway: Engine) -> None:
    def at_the_engine(run: BenchmarkRun) -> None:
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        Replica.objects.update(address=host, port=int(port))

    load = msgspec.structs.replace(LOAD, arrival=Arrival("closed", concurrency=2))
    options = {"kind": "cost", "cycles": 2, "turn_seconds": 0.2}
    run = await sync_to_async(made)(Plan((load,)), kind="drill", options=options)
    await sync_to_async(at_the_engine)(run)
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.message) == ("done", "")
    assert names(run) == ["straight to the engine", "through the gateway"]
    assert all(part["figures"]["ok"] > 0 for part in run.result["drill"]["parts"])
    asked = [seen.headers["authorization"].startswith("Bearer sk-srdz-") for seen in gateway.seen]
    changes = [one for one, before in zip(asked[1:], asked, strict=False) if one != before]
    assert (asked[0], changes) == (True, [False, True])  # gateway, engine, engine, gateway


async def test_elastic_and_fixed_parts_share_the_same_memory_and_caps_are_given_back(
    gateway: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int | None]] = []

    async def answer(exchange: Exchange) -> None:
        now = {row.name: row.kv_cap_bytes async for row in Deployment.objects.all()}
        if now not in seen:
            seen.append(now)
        await two_tokens(exchange)

    monkeypatch.setattr(elastic, "SETTLE_SECONDS", 0.0)
    gateway.behaviour = answer
    options = {"kind": "elastic", "cycles": 1, "turn_seconds": 1.0, "kv_bytes": 8 * factories.GIB}
    run = await sync_to_async(made)(Plan(BURSTS), kind="drill", options=options)
    await Deployment.objects.filter(name="chat").aupdate(kv_cap_bytes=None)
    await Deployment.objects.filter(name="code").aupdate(kv_cap_bytes=factories.GIB)
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.message) == ("done", "")
    whole, half = 8 * factories.GIB, 4 * factories.GIB
    assert seen == [{"chat": half, "code": half}, {"chat": whole, "code": whole}]
    assert names(run) == [f"{side}{of}" for side in ("fixed parts", "elastic") for of in ("", ", chat", ", code")]
    assert run.result["drill"]["words"].startswith("Of 8 GiB of KV memory, elastic: first token p50 ")
    after = {row.name: row.kv_cap_bytes async for row in Deployment.objects.all()}
    assert after == {"chat": None, "code": factories.GIB}


def test_a_killed_drill_gives_the_caps_back(gateway: Engine) -> None:
    run = made(Plan(BURSTS), kind="drill", options={"kind": "elastic"})
    before = dict(Deployment.objects.values_list("name", "kv_cap_bytes"))
    caps.remember(run.pk, ["chat", "code"])
    caps.set_all({"chat": 5, "code": 6}, "test")
    assert dict(Deployment.objects.values_list("name", "kv_cap_bytes")) == {"chat": 5, "code": 6}
    book.lost(run.pk, timezone.now())
    assert dict(Deployment.objects.values_list("name", "kv_cap_bytes")) == before
    run.refresh_from_db()
    assert (run.code, run.options["caps_before"]) == ("runner_lost", {})


async def test_models_without_elastic_memory_are_told(gateway: Engine) -> None:
    run = await drilled(Plan(BURSTS), kind="elastic", cycles=1)
    assert (run.status, run.code) == ("failed", "nothing_elastic")
    assert run.message == "chat has no ready engine with kvcached: its KV memory is not elastic"


async def test_a_fixed_part_below_a_floor_is_refused_before_any_cap_changes(gateway: Engine) -> None:
    options = {"kind": "elastic", "cycles": 1, "kv_bytes": 2 * factories.GIB}
    run = await sync_to_async(made)(Plan(BURSTS), kind="drill", options=options)
    await Deployment.objects.aupdate(kv_floor_bytes=None)
    await Deployment.objects.filter(name="code").aupdate(kv_floor_bytes=4 * factories.GIB)
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.code) == ("failed", "invalid_spec")
    assert run.message.startswith("a fixed part of 1 GiB is below the KV floor of code, 4 GiB")
    assert ("caps_before" in run.options, gateway.seen) == (False, [])
