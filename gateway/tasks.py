"""Celery's way in: what is done to usage beside the requests. Nobody imports this."""

import time
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from gateway.metering.settlement import Settlement
from gateway.models import EngineAccount, UsageRecord

PRUNED_AT_ONCE = 10_000
PRUNE_SECONDS = 20.0

_settlement = Settlement()


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
