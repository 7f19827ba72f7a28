"""Benchmarks of an installation whose parts are busy, killed or deleted meanwhile."""

import os
import signal
from collections import Counter
from typing import Any

import psycopg
import pytest
from django.db import connection

from gateway.benchmark import book
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Stream
from gateway.models import ApiKey, BenchmarkRun
from models_app.engines import metrics
from models_app.lifecycle import verbs
from models_app.models import Deployment, Replica
from sardeenz.celery import CONTROL_QUEUE, app
from tests import factories
from tests.e2e.stack import Stack, wait_for
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e, pytest.mark.timeout(300)]

ANSWER = Lengths(tokens=20)
STREAM = Stream("chat", Arrival("constant", rate=10.0), Lengths(tokens=8), ANSWER)


@pytest.fixture
def chat(stack: Stack) -> Replica:
    """A deployment that answers."""
    args = ["--load-seconds", "0.2", "--ttft-seconds", "0.05", "--tokens-per-second", "50"]
    [replica] = verbs.deploy(factories.deployment(name="chat", extra_args=args), actor="test")
    return wait_for(replica, "ready")


def begun(*, seconds: float = 120.0) -> BenchmarkRun:
    """A run whose load is answered."""
    run = book.make(Plan((STREAM,), seconds=seconds), actor="test")
    until(lambda: answered(run) >= 5, "calls are answered", 60)
    return run


def answered(run: BenchmarkRun) -> int:
    """How many calls of its load came to a good end by now."""
    run.refresh_from_db()
    assert run.ended_at is None, (run.code, run.message)
    return sum(stream["ok"] for stream in run.progress.get("streams", []))


def over(run: BenchmarkRun) -> BenchmarkRun:
    """The run, once it has ended; its key is gone with it."""
    until(lambda: BenchmarkRun.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), "the run ends", 60)
    until(lambda: not ApiKey.objects.filter(name__startswith="benchmark").exists(), "its key is gone")
    run.refresh_from_db()
    return run


def figures(run: BenchmarkRun) -> Any:
    """What the result says of the load."""
    assert run.result is not None
    return run.result["streams"][0]["figures"]


def failed(run: BenchmarkRun) -> Counter[str]:
    """How many calls ended badly, by code."""
    return Counter(figures(run)["failed"])


def test_no_task_of_the_control_worker_keeps_a_benchmark_waiting(stack: Stack, chat: Replica) -> None:
    with psycopg.connect(stack.environment["SARDEENZ_DATABASE_URL"]) as other:
        other.execute("LOCK TABLE gateway_engineaccount IN ACCESS EXCLUSIVE MODE")
        app.send_task("gateway.settle", queue=CONTROL_QUEUE)
        until(lambda: waits_for_a_lock("gateway_engineaccount"), "the control worker is busy")
        run = over(begun(seconds=3.0))
        assert waits_for_a_lock("gateway_engineaccount")
    assert (run.status, run.code, failed(run)) == ("done", "", Counter())


def waits_for_a_lock(table: str) -> bool:
    """Whether somebody waits for this table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())",
            [table],
        )
        return cursor.fetchone() is not None


def test_a_killed_runner_is_told_and_leaves_no_load(stack: Stack, chat: Replica) -> None:
    run = begun()
    os.kill(int(run.runner.split()[1]), signal.SIGKILL)
    run = over(run)
    assert (run.status, run.code) == ("failed", "runner_lost")
    assert "killed" in run.message
    until(lambda: metrics.scrape({"chat": chat.url})["chat"]["running"] == 0, "the engine has nothing to do")


def test_a_killed_gateway_shows_as_failed_calls_and_the_rest_is_measured(stack: Stack, chat: Replica) -> None:
    run = begun(seconds=40.0)
    stack.kill("gateway")
    until(lambda: refused(run) >= 5, "calls fail")
    stack.start("gateway")
    before = answered(run)
    until(lambda: answered(run) > before, "calls are answered again")
    run = over(run)
    assert (run.status, run.code) == ("done", "")
    assert set(failed(run)) == {"connection_lost", "not_connected"}
    assert figures(run)["calls"] == figures(run)["ok"] + failed(run).total()
    assert figures(run)["times"]["e2e"]["never"] == failed(run).total()


def refused(run: BenchmarkRun) -> int:
    """How many calls of its load failed by now."""
    run.refresh_from_db()
    return sum(stream["failed"] for stream in run.progress["streams"])


def test_a_gateway_that_never_comes_back_keeps_what_was_measured(stack: Stack, chat: Replica) -> None:
    run = begun(seconds=12.0)
    stack.kill("gateway")
    run = over(run)
    assert (run.status, run.code) == ("done", "")
    assert figures(run)["ok"] >= 5
    assert failed(run)["not_connected"] > 0


def test_a_deployment_that_is_deleted_meanwhile_ends_it(stack: Stack, chat: Replica) -> None:
    run = begun()
    verbs.delete(chat.deployment, actor="test")
    run = over(run)
    assert (run.status, run.code) == ("failed", "deployment_gone")
    assert "chat was deleted" in run.message
    assert figures(run)["ok"] >= 5
    until(lambda: not Deployment.objects.exists(), "the deployment is gone")
