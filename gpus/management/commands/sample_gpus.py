"""manage.py sample_gpus"""

import signal
import threading

from django.core.management.base import BaseCommand

from gpus import sampler


class Command(BaseCommand):
    help = "Publish what this node's GPUs and engines do, once a second, until SIGTERM."

    def handle(self, *args: object, **options: object) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        sampler.run(stop)
