"""A run from its row to its result, against an engine that stands for the gateway."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone

from gateway.benchmark import book, runner
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Probe, Slo, Stream
from gateway.benchmark.load.searching import Bounds
from gateway.models import ApiKey, BenchmarkRun, EngineAccount
from models_app.lifecycle import verbs
from models_app.models import Deployment, Replica
from sardeenz.celery import app
from tests import factories
from tests.gateway.benchmark.test_driver import never, two_tokens
from tests.gateway.engines import Engine, Exchange

pytestmark = pytest.mark.django_db(transaction=True)
LOAD = Stream("chat", Arrival("constant", rate=50.0), Lengths(tokens=5), Lengths(tokens=2))


@pytest_asyncio.fixture
async def gateway(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(runner, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(runner, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(app, "send_task", lambda *_, **__: None)
    found = await Engine(two_tokens).start()
    settings.BENCHMARK_URL = found.url
    yield found
    await found.stop()
    await sync_to_async(connections.close_all)()


def made(plan: Plan, **fields: Any) -> BenchmarkRun:
    for name in book.asked(plan):
        factories.replica(deployment=factories.deployment(name=name), gpu=factories.gpu())
    return book.make(plan, actor="test", **fields)


async def performed(plan: Plan, **fields: Any) -> BenchmarkRun:
    run = await sync_to_async(made)(plan, **fields)
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    return run


async def test_a_run_writes_what_came_of_it(gateway: Engine) -> None:
    run = await performed(Plan((LOAD,), probes=(Probe("neighbour", 0.05),), calls=20, seed=7))
    assert (run.status, run.code, run.began_at is None, run.ended_at is None) == ("done", "", False, False)
    load, probe = run.result["streams"]
    assert (load["figures"]["calls"], load["figures"]["ok"], load["role"]) == (20, 20, "load")
    assert (probe["deployment"], probe["role"], probe["figures"]["ok"] > 0) == ("neighbour", "probe", True)
    assert (run.result["seed"], run.result["runner"]["cpu_ratio"] > 0) == (7, True)
    assert sum(second[0] for second in load["seconds"]) == 20
    assert [each["deployment"] for each in run.environment["replicas"]] == ["chat", "neighbour"]
    assert run.environment["gpus"][0]["simulated"]
    assert gateway.seen[0].headers["authorization"].startswith("Bearer sk-srdz-")
    assert not await ApiKey.objects.filter(name__startswith="benchmark").aexists()


async def test_isolated_streams_come_one_after_the_other(gateway: Engine) -> None:
    plan = Plan((LOAD, msgspec.structs.replace(LOAD, deployment="other")), calls=10, together=False)
    run = await performed(plan)
    first, second = run.result["streams"]
    assert (first["figures"]["ok"], second["figures"]["ok"]) == (10, 10)
    assert second["began_seconds"] > first["began_seconds"]
    asked = [b"other" in seen.body for seen in gateway.seen]
    assert asked == sorted(asked)


async def test_a_wish_to_cancel_ends_it_and_keeps_what_was_measured(gateway: Engine) -> None:
    run = await sync_to_async(made)(Plan((LOAD,), seconds=3600))
    running = asyncio.create_task(runner.perform(run.pk))
    while len(gateway.seen) < 3:
        await asyncio.sleep(0.01)
    await sync_to_async(book.cancel)(run)
    await running
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.code) == ("cancelled", "")
    assert run.result["streams"][0]["figures"]["ok"] >= 2


async def test_a_deployment_that_is_deleted_meanwhile_ends_it(gateway: Engine) -> None:
    run = await sync_to_async(made)(Plan((LOAD,), seconds=3600))
    running = asyncio.create_task(runner.perform(run.pk))
    while not gateway.seen:
        await asyncio.sleep(0.01)
    await Deployment.objects.filter(name="chat").aupdate(deleting=True)
    await running
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.code, run.message) == (
        "failed", "deployment_gone", "chat was deleted while it was measured"
    )  # fmt: skip


async def test_a_gateway_that_is_not_there_is_told(gateway: Engine, settings: Any) -> None:
    settings.BENCHMARK_URL = "http://127.0.0.1:1"
    run = await performed(Plan((LOAD,), calls=3))
    assert (run.status, run.code) == ("failed", "nothing_answered")
    assert run.message.startswith("no call was answered; 3 of chat ended as not_connected")


async def test_refused_calls_are_told_in_the_words_of_the_refusal(gateway: Engine) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b'{"error": {"code": "model_failed", "message": "it is broken"}}', 503)

    gateway.behaviour = refuse
    run = await performed(Plan((LOAD,), calls=3))
    assert run.message == "no call was answered; 3 of chat ended as model_failed: it is broken"


async def test_some_failed_calls_are_a_result(gateway: Engine) -> None:
    gateway.behaviours = [never]
    run = await performed(Plan((LOAD,), calls=10, drain_seconds=0.2))
    assert (run.status, run.result["streams"][0]["figures"]["failed"]) == ("done", {"cut_off": 1})


async def test_straight_to_the_engine_needs_one_and_leaves_its_account_in_doubt(gateway: Engine) -> None:
    straight = Plan((msgspec.structs.replace(LOAD, way="engine"),), calls=5)
    run = await sync_to_async(made)(straight)
    await Replica.objects.aupdate(state="sleeping", goal="sleeping")
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    assert (run.code, gateway.seen) == ("not_ready", [])

    row = await Replica.objects.aget()
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    await Replica.objects.aupdate(state="ready", goal="ready", address=host, port=int(port))
    account = await EngineAccount.objects.acreate(
        replica_id=row.pk, generation=row.generation, written_at=timezone.now()
    )
    again = await sync_to_async(book.make)(straight, actor="test")
    await runner.perform(again.pk)
    await sync_to_async(again.refresh_from_db)()
    assert (again.status, again.result["streams"][0]["figures"]["ok"]) == ("done", 5)
    await sync_to_async(account.refresh_from_db)()
    assert account.doubtful


async def test_nobody_runs_what_somebody_runs_already(gateway: Engine) -> None:
    run = await sync_to_async(made)(Plan((LOAD,), calls=3))
    await BenchmarkRun.objects.aupdate(status="running")
    await runner.perform(run.pk)
    assert gateway.seen == []


async def test_a_search_finds_how_many_callers_keep_an_slo(gateway: Engine) -> None:
    under_way = 0

    async def up_to_four(exchange: Exchange) -> None:
        nonlocal under_way
        under_way += 1
        try:
            await asyncio.sleep(0.02 if under_way <= 4 else 0.6)
            await two_tokens(exchange)
        finally:
            under_way -= 1

    gateway.behaviour = up_to_four
    stream = msgspec.structs.replace(LOAD, slo=Slo(ttft_seconds=0.5))
    bounds = Bounds("concurrency", high=16.0, trial_seconds=1.0)
    run = await performed(Plan((stream,)), kind="search", options=msgspec.to_builtins(bounds))
    found = run.result["search"]
    assert (run.status, found["value"], found["fails_at"], found["max_concurrency"]) == ("done", 4.0, 5.0, 4)
    assert run.result["streams"][0]["figures"]["goodput_ratio"] == found["good_ratio"]


async def test_a_search_for_what_cannot_be_kept_says_so(gateway: Engine) -> None:
    stream = msgspec.structs.replace(LOAD, slo=Slo(ttft_seconds=1e-6))
    bounds = Bounds("concurrency", trial_seconds=0.3)
    run = await performed(Plan((stream,)), kind="search", options=msgspec.to_builtins(bounds))
    assert (run.status, run.result["search"]["value"]) == ("done", None)
    assert run.result["search"]["words"].startswith("this SLO cannot be met: even at 1 callers at once only 0 of")


async def test_a_drill_sleeps_and_is_woken_by_a_call_again_and_again(gateway: Engine) -> None:
    levels: list[int] = []

    def fall_asleep(row: Replica, *, level: int, **_: Any) -> None:
        levels.append(level)
        Replica.objects.filter(pk=row.pk).update(state="sleeping", goal="sleeping")

    async def wake(exchange: Exchange) -> None:
        woken = Replica.objects.filter(state="sleeping")
        await woken.aupdate(state="ready", goal="ready")
        await two_tokens(exchange)

    gateway.behaviour = wake
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbs, "sleep", fall_asleep)
        plan = Plan((LOAD,), calls=1)
        run = await performed(plan, kind="drill", options={"level": 2, "cycles": 3})
    [stream] = run.result["streams"]
    assert (run.status, levels, stream["figures"]["ok"], stream["figures"]["times"]["ttft"]["count"]) == (
        "done", [2, 2, 2], 3, 3
    )  # fmt: skip
    assert (run.result["drill"]["cycles"], run.result["drill"]["sleep_seconds"]["count"]) == (3, 3)


async def test_a_drill_says_why_a_model_may_not_sleep(gateway: Engine) -> None:
    run = await sync_to_async(made)(Plan((LOAD,), calls=1), kind="drill", options={"level": 1, "cycles": 3})
    await Deployment.objects.aupdate(sleep_enabled=False)
    await Replica.objects.aupdate(spec={"sleep_enabled": False})
    await runner.perform(run.pk)
    await sync_to_async(run.refresh_from_db)()
    assert (run.status, run.code) == ("failed", "sleep_disabled")
