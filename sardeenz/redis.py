"""One synchronous and one asynchronous Redis client per process, and the key names."""

from functools import cache

import redis
import redis.asyncio
from django.conf import settings

PREFIX = "sardeenz:"


def key(*parts: object) -> str:
    """The parts are joined by colons: key("a", "b") is `sardeenz:a:b`."""
    return PREFIX + ":".join(str(part) for part in parts)


@cache
def client() -> redis.Redis:
    """The synchronous client; texts come back as str."""
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, socket_connect_timeout=2, socket_timeout=5)


@cache
def async_client() -> redis.asyncio.Redis:
    """The asynchronous client of this process's one event loop; texts come back as str."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL, decode_responses=True, socket_connect_timeout=2, socket_timeout=5
    )
