"""Calls that wait for a model, as operators see them: how many, since when, until when, and for what.

Gateways know who waits, rows know for what; both are read when somebody looks. Open pages hear of it with each tick.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from redis import RedisError

from models_app.models import Replica
from models_app.rows import WaitingRow, WaitReason
from models_app.states import State
from models_app.traffic import activity, routes
from models_app.traffic.activity import Queued
from models_app.traffic.callers import WAITS_FOR_ROOM, Waiting
from sardeenz import events

WORDS: dict[WaitReason, str] = {
    "wake": "it wakes",
    "load": "it starts",
    "room": "it waits for room on its GPU",
    "engine": "its engine accepts no connection",
    "queue": "as many calls as it takes at once are being answered",
}

logger = logging.getLogger(__name__)


def by_deployment() -> dict[int, WaitingRow]:
    """Of every deployment that calls wait for; one query, none where nobody waits. Empty while Redis is away."""
    try:
        reports = activity.read_reports()
    except (RedisError, OSError) as error:
        logger.warning("who waits is unknown: error=%s", error)
        return {}
    waits = activity.waiting(reports)
    queued: dict[int, list[Queued]] = defaultdict(list)
    for report in reports:
        for deployment_id, queue in report.queued.items():
            queued[deployment_id].append(queue)
    if not waits and not queued:
        return {}
    placed: dict[int, list[Replica]] = defaultdict(list)
    for replica in Replica.objects.filter(deployment__in=waits).order_by("pk"):
        placed[replica.deployment_id].append(replica)
    return {
        deployment_id: _row(waits.get(deployment_id), queued.get(deployment_id, ()), placed[deployment_id])
        for deployment_id in sorted({*waits, *queued})
    }


def publish() -> None:
    """Tell open pages who waits for what; also when nobody does, so that a lost frame costs one tick."""
    shown = {str(deployment_id): row for deployment_id, row in by_deployment().items()}
    events.publish(events.LIFECYCLE, {"kind": "waiting", "waiting": shown})


def _row(waits: Waiting | None, queued: Iterable[Queued], placed: list[Replica]) -> WaitingRow:
    queues = list(queued)
    count = sum(queue.count for queue in queues)
    since = [queue.since for queue in queues]
    if waits is None:
        reason: WaitReason = "queue"
        message = WORDS[reason]
        known = [queue.expected_at for queue in queues if queue.expected_at is not None]
        expected = datetime.fromtimestamp(max(known), UTC) if known else None
    else:
        count += waits.count
        since.append(waits.since)
        reason, message = _what_for(placed)
        eta_seconds = routes.eta_seconds(placed)
        expected = None if eta_seconds is None else timezone.now() + timedelta(seconds=eta_seconds)
    return {
        "count": count,
        "since": datetime.fromtimestamp(min(since), UTC).isoformat(),
        "expected_at": None if expected is None else expected.isoformat(),
        "reason": reason,
        "message": message,
    }


def _what_for(placed: list[Replica]) -> tuple[WaitReason, str]:
    """What a deployment without a replica to ask is waited for, in a word and in a sentence."""
    states = {row.state for row in placed}
    waits = next((row for row in placed if row.reason == WAITS_FOR_ROOM), None)
    reason: WaitReason
    if waits is not None:
        return "room", waits.message or WORDS["room"]
    if states & {State.WAKING, State.SLEEPING, State.DRAINING}:
        reason = "wake"
    elif State.READY in states:
        reason = "engine"
    else:
        reason = "load"
    return reason, next((row.message for row in placed if row.message), WORDS[reason])
