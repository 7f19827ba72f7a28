"""The Celery application: queues by name, no result backend, no retries. The tick is the retry.

A message is a poke that carries no facts; losing one costs a tick, running one twice costs nothing.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutdown
from django.conf import settings
from django.utils.log import configure_logging

from sardeenz.heartbeats import Heartbeat, service_name

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")

CONTROL_QUEUE = "control"
BENCHMARKS_QUEUE = "benchmarks"
"""Whoever reads it starts a process for each benchmark: an installation that measures nothing pays for none."""

app = Celery("sardeenz")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def gpu_queue(uuid: str) -> str:
    """The queue that only the worker of this GPU reads."""
    return f"gpu.{uuid}"


@worker_ready.connect
def _be_heard(sender: Any, **_: object) -> None:
    """Until this worker ends in order; one that is killed or stopped falls silent."""
    heartbeat = Heartbeat(service_name(str(sender.hostname).partition("@")[0]))
    worker_shutdown.connect(lambda **_: heartbeat.stop(), weak=False)
    heartbeat.start()


@setup_logging.connect
def _log_as_django_does(**_: object) -> None:
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
