"""What is announced while it happens: websocket groups, and the channel that tells gateways to look again.

Events are hints with a payload for browsers; the truth stays in rows. A lost event costs a second, never a fact.
"""

import asyncio
import logging
import os
import threading
from functools import cache
from typing import Any, Literal, TypedDict

from channels.layers import get_channel_layer
from redis import RedisError

from sardeenz import redis

TELEMETRY = "telemetry"
LIFECYCLE = "lifecycle"
ROUTES_CHANNEL = redis.key("events", "routes")
PUBLISH_SECONDS = 5.0
"""A Redis that takes longer counts as away."""

logger = logging.getLogger(__name__)


class WaitingEvent(TypedDict):
    """Who waits, by deployment id: everybody, so that the next one makes up for one that was lost."""

    kind: Literal["waiting"]
    waiting: dict[str, Any]


class LifecycleEvent(TypedDict):
    """One changed or removed row. The browser keeps the highest `seq` per (kind, id)."""

    kind: Literal["deployment", "replica", "gpu", "node", "benchmark"]
    id: int
    seq: int
    row: dict[str, Any] | None


def publish(group: str, payload: object) -> None:
    """Send `payload` to every websocket in `group`; a Redis that is away is logged, never raised."""
    sending = get_channel_layer().group_send(group, {"type": f"{group}.event", "payload": payload})
    try:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(sending, PUBLISH_SECONDS), _loop()).result()
    except (RedisError, OSError) as error:
        logger.warning("event not published: group=%s error=%s", group, error)


def routes_changed() -> None:
    """Tell every gateway process to read its route table again now."""
    try:
        redis.client().publish(ROUTES_CHANNEL, "")
    except (RedisError, OSError) as error:
        logger.warning("route change not announced: error=%s", error)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Where this process publishes: Channels connects to Redis anew for every loop, so there is one."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="events").start()
    return loop


os.register_at_fork(after_in_child=_loop.cache_clear)
