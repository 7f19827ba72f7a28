"""Put deployments to sleep that nobody has asked for a while."""

import logging
from datetime import datetime

from django.db.models import F
from django.utils import timezone
from redis import RedisError

from models_app.lifecycle import verbs
from models_app.models import Replica
from models_app.states import Goal, State
from models_app.traffic import activity
from sardeenz.errors import SardeenzError

logger = logging.getLogger(__name__)


def sleep_idle() -> None:
    """Ready replicas of unpinned deployments whose idle time is over, and that hold no lease."""
    settings_on = {"deployment__idle_sleep_seconds__isnull": False, "deployment__pinned": False}
    replicas = Replica.objects.filter(state=State.READY, goal=Goal.READY, replaces=None, **settings_on)
    candidates = list(replicas.annotate(idle_seconds=F("deployment__idle_sleep_seconds")).select_related("deployment"))
    if not candidates:
        return
    try:
        reports = activity.read_reports()
        idle = [(replica, _idle_for(replica)) for replica in candidates]
    except (RedisError, OSError) as error:
        logger.warning("idle times unknown: error=%s", error)
        return
    for replica, seconds in idle:
        if seconds >= replica.idle_seconds and not activity.in_flight(replica.marker, reports):
            _sleep(replica, seconds)


def _idle_for(replica: Replica) -> float:
    """Seconds since the last use, or since it became ready: the clock never runs while it loads."""
    marks: list[datetime | None] = [activity.last_used(replica.deployment_id), replica.ready_at]
    known = [mark for mark in marks if mark is not None]
    return (timezone.now() - max(known)).total_seconds() if known else 0.0


def _sleep(replica: Replica, idle_seconds: float) -> None:
    allowed = replica.deployment.idle_sleep_seconds
    message = f"nobody asked for it for {idle_seconds:.0f} s; its deployment lets it be idle for {allowed:.0f} s"
    inputs = {"idle_seconds": idle_seconds, "idle_sleep_seconds": allowed}
    try:
        verbs.sleep(replica, actor="policy:idle", message=message, fields=inputs)
    except SardeenzError as error:
        logger.info("not put to sleep: replica=%s code=%s", replica.pk, error.code)
