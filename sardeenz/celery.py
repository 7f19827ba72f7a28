"""The Celery application: queues by name, no result backend, no retries. The tick is the retry.

A message is a poke that carries no facts; losing one costs a tick, running one twice costs nothing.
"""

import logging
import os
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, setup_logging, task_prerun, worker_ready, worker_shutdown
from django.conf import settings
from django.db import close_old_connections
from django.utils.log import configure_logging
from kombu import Message
from kombu.exceptions import KombuError
from kombu.mixins import ConsumerMixin
from redis import RedisError

from sardeenz.heartbeats import Heartbeat, service_name

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")

CONTROL_QUEUE = "control"
BENCHMARKS_QUEUE = "benchmarks"
"""Whoever reads it starts a process for each benchmark: an installation that measures nothing pays for none."""

RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)

app = Celery("sardeenz")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def gpu_queue(uuid: str) -> str:
    """The queue that only the worker of this GPU reads."""
    return f"gpu.{uuid}"


@task_prerun.connect
def _fit_connection(**_: object) -> None:
    """A task begins on a connection that works and is not too old, as a request to Django does."""
    close_old_connections()


@worker_ready.connect
def _be_heard(sender: Any, **_: object) -> None:
    """Until this worker ends in order; one that is killed or stopped falls silent."""
    heartbeat = Heartbeat(service_name(str(sender.hostname).partition("@")[0]))
    worker_shutdown.connect(lambda **_: heartbeat.stop(), weak=False)
    heartbeat.start()


class Beside(ConsumerMixin):
    """Reads a queue in a thread of its own, so that a long task of the same worker keeps nothing waiting there.

    It is for tasks that return at once, as those do which only start a process.
    """

    def __init__(self, queue: str) -> None:
        self.connection = app.connection_for_read()
        self._queue = app.amqp.queues[queue]

    def start(self) -> None:
        """Read until the worker ends."""
        threading.Thread(target=self.read, daemon=True, name=f"queue {self._queue.name}").start()

    def stop(self) -> None:
        """Take nothing more; what was taken is done."""
        self.should_stop = True

    def read(self) -> None:
        """Read, and begin again when Redis is back: nobody else would notice that this thread is gone."""
        while not self.should_stop:
            try:
                self.run()
            except (KombuError, RedisError, OSError):
                logger.exception("queue not read, trying again: queue=%s", self._queue.name)
                time.sleep(RETRY_SECONDS)

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        """One line each time: the worker itself tells at length that Redis is away."""
        logger.warning("queue not read, trying again: queue=%s seconds=%.0f error=%s", self._queue.name, interval, exc)

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        """What kombu asks of whoever reads."""
        return [Consumer(queues=[self._queue], callbacks=[self._take], accept=["json"])]

    def _take(self, body: Any, message: Message) -> None:
        """Run it here and now; what fails is logged by Celery as everywhere, and the next one is taken."""
        message.ack()
        task = app.tasks.get(str(message.headers.get("task")))
        if task is None:
            logger.error("unknown task dropped: task=%s queue=%s", message.headers.get("task"), self._queue.name)
            return
        args, kwargs, _ = body
        if task.apply(args, kwargs).failed():
            logger.error("task failed: task=%s args=%s", task.name, args)


@celeryd_after_setup.connect
def _read_benchmarks_beside(instance: Any, **_: object) -> None:
    """A worker that reads other queues as well runs their tasks one by one, and a benchmark would wait for them."""
    queues = instance.app.amqp.queues
    if BENCHMARKS_QUEUE not in queues.consume_from or len(queues.consume_from) == 1:
        return
    queues.deselect(BENCHMARKS_QUEUE)
    beside = Beside(BENCHMARKS_QUEUE)
    worker_ready.connect(lambda **_: beside.start(), weak=False)
    worker_shutdown.connect(lambda **_: beside.stop(), weak=False)


@setup_logging.connect
def _log_as_django_does(**_: object) -> None:
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
