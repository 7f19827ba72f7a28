"""Celery's way in: what is done to usage beside the requests. Nobody imports this."""

import logging
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from gateway.benchmark import book
from gateway.metering import spread_rows
from gateway.metering.settlement import Settlement
from gateway.models import EngineAccount, UsageRecord

PRUNED_AT_ONCE = 10_000
PRUNE_SECONDS = 20.0
ROLL_UP_SECONDS = 10.0

_settlement = Settlement()

logger = logging.getLogger(__name__)


@shared_task(name="gateway.settle")
def settle() -> None:
    """Find out what the calls used whose answers did not come to their end."""
    _settlement.settle()


@shared_task(name="gateway.prune_usage")
def prune_usage() -> None:
    """Forget single calls older than SARDEENZ_USAGE_DAYS, and accounts of engines gone as long; the hours stay.

    A batch at a time, and for a bounded time: what is left is the next run's.
    """
    before = timezone.now() - timedelta(days=settings.USAGE_DAYS)
    end = time.monotonic() + PRUNE_SECONDS
    old = UsageRecord.objects.filter(at__lt=before).order_by("at").values("pk")
    while time.monotonic() < end:
        deleted, _ = UsageRecord.objects.filter(pk__in=old[:PRUNED_AT_ONCE]).delete()
        if deleted < PRUNED_AT_ONCE:
            break
    EngineAccount.objects.filter(closed=True, written_at__lt=before).delete()
    spread_rows.forget(timezone.now())


@shared_task(name="gateway.roll_up_usage")
def roll_up_usage() -> None:
    """Add up how the calls of the steps that are over were spread."""
    spread_rows.roll_up(timezone.now(), ROLL_UP_SECONDS)


@shared_task(name=book.RUN)
def run_benchmark(number: int) -> None:
    """Start a process for this benchmark: its load is in nobody's way, and while nothing is measured there is none.

    It stays in the worker's process group, so that whoever stops the worker stops it too.
    """
    process = subprocess.Popen([sys.executable, "-m", "gateway.benchmark", str(number)], env=os.environ)
    threading.Thread(target=_see_it_end, args=(number, process), daemon=True, name=f"benchmark {number}").start()


def _see_it_end(number: int, process: "subprocess.Popen[bytes]") -> None:
    """One that was killed has said nothing of its end."""
    status = process.wait()
    if status:
        logger.warning("benchmark ended: number=%d status=%d", number, status)
    try:
        book.lost(number, timezone.now())
    finally:
        connection.close()


@shared_task(name="gateway.lost_benchmarks")
def lost_benchmarks() -> None:
    """Runners that were killed together with the worker that started them."""
    book.bury(timezone.now())
