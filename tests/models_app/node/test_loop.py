"""The loop of a node publishes each second, keeps the rows true, and outlives what it depends on."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import LazySettings

from gpus import telemetry
from gpus.models import GPU, Node
from models_app.management.commands import run_node
from models_app.node.loop import NodeLoop
from tests.patience import until

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.django_db(transaction=True)
def test_a_step_publishes_a_frame_and_discovers_the_devices(settings: LazySettings) -> None:
    node = NodeLoop()
    node.step()
    node.settle(30)
    assert [frame["node"] for frame in telemetry.latest()] == [settings.NODE]
    assert GPU.objects.filter(node__name=settings.NODE, present=True).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_change_of_devices_is_discovered_at_once(settings: LazySettings) -> None:
    node = NodeLoop()
    node.step()
    node.settle(30)
    settings.GPUS = "simulated:1x80GiB"
    node.step()
    node.settle(30)
    assert list(GPU.objects.order_by("index").values_list("present", flat=True)) == [True, False]


@pytest.mark.django_db(transaction=True)
def test_being_seen_is_written_every_ten_seconds_and_not_every_second() -> None:
    node = NodeLoop()
    node.step()
    node.settle(30)
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    Node.objects.update(seen_at=long_ago)
    node.step()
    node.settle(30)
    assert Node.objects.get().seen_at == long_ago
    node._rows_at -= 10
    node.step()
    node.settle(30)
    assert Node.objects.get().seen_at != long_ago


@pytest.mark.django_db(transaction=True)
def test_rows_that_were_lost_are_made_again() -> None:
    node = NodeLoop()
    node.step()
    node.settle(30)
    GPU.objects.all().delete()
    Node.objects.all().delete()
    node._rows_at -= 10
    node.step()
    node.settle(30)
    assert GPU.objects.count() == 2


def test_a_failing_step_is_followed_by_another(settings: LazySettings, caplog: pytest.LogCaptureFixture) -> None:
    settings.GPUS = "nonsense"
    stop = threading.Event()
    thread = threading.Thread(target=run_node.run, args=(stop,))
    thread.start()
    until(lambda: sum("step failed" in record.message for record in caplog.records) >= 2)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def stops_cleanly_once(environment: dict[str, str], condition: Callable[[], object]) -> bool:
    argv = [sys.executable, "manage.py", "run_node"]
    with subprocess.Popen(argv, cwd=ROOT, env=environment) as process:
        until(condition, seconds=60)
        process.send_signal(signal.SIGTERM)
        return process.wait(30) == 0


def test_the_command_samples_until_sigterm(service_environment: dict[str, str]) -> None:
    assert stops_cleanly_once(service_environment, Node.objects.exists)
    assert len(telemetry.latest()) == 1


def test_the_command_samples_without_a_database(service_environment: dict[str, str]) -> None:
    away = {**service_environment, "SARDEENZ_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert stops_cleanly_once(away, telemetry.latest)
    assert not Node.objects.exists()
