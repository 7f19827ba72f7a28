"""`manage.py run_node` publishes a frame of this node each second until SIGTERM."""

import logging
import signal
import threading
import time

from django.conf import settings
from django.core.management.base import BaseCommand

from models_app.node.loop import NodeLoop
from sardeenz import heartbeats

PERIOD_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    requires_system_checks = ()  # `up` has made them
    help = "Publish what this node's GPUs and engines do, once a second, until SIGTERM."

    def handle(self, *args: object, **options: object) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run(stop)


def run(stop: threading.Event) -> None:
    """Step at every whole second until told to stop; whatever fails, the next second is tried."""
    node = NodeLoop()
    governor = threading.Thread(target=node.governing.keep, args=(stop,), daemon=True, name="governor")
    governor.start()
    while not stop.wait(PERIOD_SECONDS - time.time() % PERIOD_SECONDS):
        try:
            node.step()
        except Exception:  # the loop outlives every fault of driver, engine, Redis and PostgreSQL
            logger.exception("step failed: node=%s", settings.NODE)
        heartbeats.say(heartbeats.service_name("node"))
    heartbeats.leave(heartbeats.service_name("node"))
    node.settle(PERIOD_SECONDS)
    governor.join(PERIOD_SECONDS)
