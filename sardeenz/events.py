"""What is announced while it happens: websocket groups, and the channel that tells gateways to look again.

Events are hints with a payload for browsers; the truth stays in rows. A lost event costs a second, never a fact.
"""

import logging
from typing import Any, Literal, TypedDict

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis import RedisError

from sardeenz import redis

TELEMETRY = "telemetry"
LIFECYCLE = "lifecycle"
ROUTES_CHANNEL = redis.key("events", "routes")

logger = logging.getLogger(__name__)


class WaitingEvent(TypedDict):
    """Who waits, by deployment id: everybody, so that the next one makes up for one that was lost."""

    kind: Literal["waiting"]
    waiting: dict[str, Any]


class LifecycleEvent(TypedDict):
    """One changed or removed row. The browser keeps the highest `seq` per (kind, id)."""

    kind: Literal["deployment", "replica", "gpu", "node"]
    id: int
    seq: int
    row: dict[str, Any] | None


def publish(group: str, payload: object) -> None:
    """Send `payload` to every websocket in `group`; a Redis that is away is logged, never raised."""
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group, {"type": f"{group}.event", "payload": payload})
    except (RedisError, OSError) as error:
        logger.warning("event not published: group=%s error=%s", group, error)


def routes_changed() -> None:
    """Tell every gateway process to read its route table again now."""
    try:
        redis.client().publish(ROUTES_CHANNEL, "")
    except (RedisError, OSError) as error:
        logger.warning("route change not announced: error=%s", error)
