"""Workers of simulated GPUs that a test lets go round itself, with real engines; none of these is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection

from gpus import discovery, processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Replica

W = TypeVar("W", bound=Reconciler)


@contextmanager
def fresh_workers(kind: type[W]) -> Iterator[list[W]]:
    """One for each GPU, none of which holds anything; what they started is ended."""
    discovery.discover()
    try:
        yield [kind(gpu.uuid) for gpu in GPU.objects.order_by("index")]
    finally:
        for engine in processes.find_all(installation_id()).values():
            processes.kill(engine)
        while processes.find_all(installation_id()):
            time.sleep(0.02)
        processes.reap()
        connection.close()


def until(workers: Reconciler | list[Reconciler], done: Callable[[], bool], what: str, seconds: float = 100) -> float:
    """Let the workers go round until it is so; how many seconds that took."""
    began = time.monotonic()
    while not done():
        rows = list(Replica.objects.values_list("deployment__name", "state", "goal", "reason", "message"))
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}: {rows}"
        for worker in workers if isinstance(workers, list) else [workers]:
            worker.run()
    return time.monotonic() - began
