"""Who is silent, seen of real processes: killed, stopped, and clocks that were stepped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from celery.beat import ScheduleEntry
from django.conf import settings
from django.test import Client
from redis import asyncio as redis_asyncio

from gpus import processes
from models_app import tasks
from models_app.api import presence
from models_app.lifecycle import queues
from models_app.traffic import activity
from sardeenz import heartbeats, redis
from sardeenz.celery import app
from sardeenz.run.beat import SteadyScheduler
from tests import factories

pytestmark = pytest.mark.django_db


def aged(name: str, seconds: float) -> None:
    """A service that was heard so long ago."""
    word = json.dumps({"pid": 1, "host": "h", "at": time.time() - seconds})
    redis.client().hset(heartbeats.NAME, f"{settings.NODE}/{name}", word)


def report(gateway_id: str, process: str) -> None:
    """A gateway's report as its process would write it."""

    async def write() -> None:
        connection = redis_asyncio.Redis.from_url(settings.REDIS_URL, decode_responses=True)
        await activity.areport(connection, gateway_id, ["1:1"], {"1:1": 3})
        await connection.hset(redis.key("gateway", gateway_id), "process", process)
        await connection.aclose()

    async_to_sync(write)()


def test_the_report_of_a_gateway_that_ended_here_goes_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)
    named = processes.identity(child.pid)
    report("alive", named)
    assert [each.gateway_id for each in activity.read_reports()] == ["alive"]
    child.kill()
    child.communicate()
    assert activity.read_reports() == []
    assert not redis.client().exists(redis.key("gateway", "alive"))
    assert activity.unended() == {"alive"}


def test_of_a_gateway_elsewhere_only_time_tells() -> None:
    report("elsewhere", "another-boot/pid:[1] 4711 1.0")
    report("unnamed", "")
    assert len(activity.read_reports()) == 2


def test_a_stopped_process_is_no_dead_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)
    try:
        named = processes.identity(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        assert not processes.is_gone(named)
    finally:
        child.kill()
        child.communicate()
    assert processes.is_gone(named)


def test_who_is_silent_is_said_with_what_it_means() -> None:
    gpu = factories.gpu()
    for name in (f"gpu-{gpu.uuid}", "beat", "control", "node", "gateway-0", heartbeats.TICKS):
        aged(name, 30)
    heartbeats.say("web")
    rows = {row["name"]: row for row in presence.services()}
    assert not rows["web"]["silent"]
    assert {name for name, row in rows.items() if row["silent"]} == rows.keys() - {"web"}
    assert f"The worker of GPU {gpu.index} on {settings.NODE} is silent since" in rows[f"gpu-{gpu.uuid}"]["words"]
    assert all("UTC" in row["words"] for row in rows.values() if row["silent"])
    assert "{" not in "".join(row["words"] for row in rows.values())


def test_the_api_tells_who_is_heard(client: Client) -> None:
    client.force_login(factories.user())
    heartbeats.say("node")
    aged("beat", 60)
    told = client.get("/api/services").json()
    assert [(row["name"], row["silent"]) for row in told] == [("beat", True), ("node", False)]


def test_a_word_from_the_future_is_as_good_as_none_and_who_leaves_is_not_missed() -> None:
    aged("beat", -3600)
    aged("control", 2 * heartbeats.FORGET_SECONDS)
    heartbeats.say("node")
    heartbeats.leave("node")
    assert [(row["name"], row["silent"]) for row in presence.services()] == [("beat", True)]


def test_a_tick_is_heard() -> None:
    tasks.tick()
    assert [row["name"] for row in presence.services()] == [heartbeats.TICKS]


@pytest.fixture
def beat(monkeypatch: pytest.MonkeyPatch) -> tuple[SteadyScheduler, list[str], Callable[[float], None]]:
    """A scheduler without a broker, what it sent, and its clock's hand."""
    now, sent = [1000.0], list[str]()
    monkeypatch.setattr(SteadyScheduler, "clock", staticmethod(lambda: now[0]))
    monkeypatch.setattr(SteadyScheduler, "producer", None)

    def apply_entry(_: SteadyScheduler, entry: ScheduleEntry, producer: Any = None) -> None:
        sent.append(entry.name)

    monkeypatch.setattr(SteadyScheduler, "apply_entry", apply_entry)

    def move(seconds: float) -> None:
        now[0] += seconds

    return SteadyScheduler(app=app), sent, move


def test_every_entry_comes_at_its_interval(
    beat: tuple[SteadyScheduler, list[str], Callable[[float], None]],
) -> None:
    scheduler, sent, move = beat
    assert {entry.name for entry in scheduler.schedule.values()} == set(settings.CELERY_BEAT_SCHEDULE)
    for _ in range(121):
        assert 0 <= scheduler.tick() <= heartbeats.PERIOD_SECONDS
        move(0.5)
    assert sent.count("tick") == 31
    assert sent.count("settle") == 21
    assert sent.count("prune_usage") == 1
    assert [row["name"] for row in presence.services()] == ["beat"]


def test_steps_of_the_wall_clock_change_nothing(
    beat: tuple[SteadyScheduler, list[str], Callable[[float], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, sent, move = beat
    steps = count()
    monkeypatch.setattr(time, "time", lambda: 1.8e9 + (-3600 if next(steps) % 2 else 3600))
    for _ in range(10):
        scheduler.tick()
        move(2.0)
    assert sent.count("tick") == 10


def test_beat_uses_it_and_keeps_no_file() -> None:
    assert app.conf.beat_scheduler == "sardeenz.run.beat:SteadyScheduler"


def test_a_poke_is_not_held_up_by_a_mark_of_a_clock_that_was_ahead() -> None:
    redis.client().set(redis.key("poked", "GPU-1"), "1", ex=3600)
    queues.poke("GPU-1")
    assert 0 < redis.client().ttl(redis.key("poked", "GPU-1")) <= 5
