"""The gateway of this installation: `sardeenz.asgi:gateway` under uvicorn.

What may block (PostgreSQL) happens in a few threads of our own: a database that hangs costs threads, not requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections
from django.db.models import Q
from django.utils import timezone

from gateway import usage_rows
from gateway.admission import Limits
from gateway.auth import KnownKey
from gateway.models import ApiKey, Scope
from gateway.server import Gateway, Needs
from models_app import activity, demand, routes
from sardeenz import events
from sardeenz.redis import async_client

POLL_SECONDS = 5.0

Given = ParamSpec("Given")
Found = TypeVar("Found")

_readers = ThreadPoolExecutor(3, "gateway-rows")
_wakers = ThreadPoolExecutor(4, "gateway-wake")


def in_thread(
    work: Callable[Given, Found], executor: ThreadPoolExecutor = _readers
) -> Callable[Given, Awaitable[Found]]:
    """`work` as a coroutine function, on a database connection that is checked first."""

    def checked(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        close_old_connections()
        return work(*args, **kwargs)

    async def call(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        return await asyncio.get_running_loop().run_in_executor(executor, lambda: checked(*args, **kwargs))

    return call


def load_keys() -> list[KnownKey]:
    """Every key that is good now."""
    good = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)
    return [
        KnownKey(digest, key_id, Scope.INFERENCE in scopes, expires_at.timestamp() if expires_at else None)
        for digest, key_id, scopes, expires_at in good.values_list("digest", "id", "scopes", "expires_at")
    ]


async def announcements() -> AsyncIterator[None]:
    """Once when subscribed, then at each change of routes."""
    async with async_client().pubsub() as channel:
        await channel.subscribe(events.ROUTES_CHANNEL)
        while True:
            if await channel.get_message(timeout=POLL_SECONDS) is not None:
                yield


async def report(gateway_id: str, routable: Iterable[str], leases: Mapping[str, int]) -> None:
    """Write this process's report."""
    await activity.areport(async_client(), gateway_id, routable, leases)


async def forget(gateway_id: str) -> None:
    """Remove it."""
    await activity.aforget(async_client(), gateway_id)


async def touch(deployment_ids: Iterable[int]) -> None:
    """Note that these deployments were used."""
    await activity.atouch(async_client(), deployment_ids)


application = Gateway(
    Needs(
        load_routes=in_thread(routes.load_routes),
        announcements=announcements,
        load_keys=in_thread(load_keys),
        request_ready=in_thread(demand.request_ready, _wakers),
        report=report,
        forget=forget,
        touch=touch,
        write_usage=in_thread(usage_rows.write_usage),
    ),
    Limits(
        body_bytes=settings.BODY_BYTES,
        wait_count=settings.WAIT_LIMIT,
        wait_bytes=settings.WAIT_BYTES,
        wait_seconds=settings.WAIT_SECONDS,
    ),
    route_ttl_seconds=settings.ROUTE_TTL_SECONDS,
    idle_seconds=settings.ENGINE_IDLE_SECONDS,
)
