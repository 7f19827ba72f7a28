"""The gateway of this installation: `gateway.app:make` under uvicorn, see `sardeenz.run.serve_gateway`.

What may block (PostgreSQL) happens in a few threads of our own: a database that hangs costs threads, not requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections

from gateway import fleet_metrics, tracing
from gateway.access import rows, tokens
from gateway.admission.holds import Limits
from gateway.admission.peers_redis import exchange
from gateway.admission.reporting import WaitingCalls
from gateway.capture import ring
from gateway.in_flight import channel
from gateway.metering import refused_stored, usage_rows
from gateway.server import Gateway, Needs
from models_app.policy import demand
from models_app.traffic import activity, routes
from sardeenz import events
from sardeenz.redis import async_client, key

POLL_SECONDS = 5.0
STORED_SECONDS = 24 * 3600

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


async def announcements() -> AsyncIterator[None]:
    """Once when subscribed, then at each change of routes."""
    async with async_client().pubsub() as channel:
        await channel.subscribe(events.ROUTES_CHANNEL)
        while True:
            if await channel.get_message(timeout=POLL_SECONDS) is not None:
                yield


async def report(
    gateway_id: str, routable: Iterable[str], leases: Mapping[str, int], waiting: WaitingCalls, written_until: float
) -> None:
    await activity.areport(async_client(), gateway_id, routable, leases, waiting, written_until)


async def forget(gateway_id: str) -> None:
    """The reporter calls this when a gateway process ends, so that nobody waits for its report to expire."""
    await activity.aforget(async_client(), gateway_id)


async def touch(deployment_ids: Iterable[int]) -> None:
    """Note that these deployments were used."""
    await activity.atouch(async_client(), deployment_ids)


def _stored(response_id: str) -> str:
    return key("response", response_id)


async def save_responses(made: Mapping[str, str]) -> None:
    """Which replica made these stored responses, and for whom."""
    async with async_client().pipeline(transaction=False) as pipe:
        for response_id, value in made.items():
            pipe.set(_stored(response_id), value, ex=STORED_SECONDS)
        await pipe.execute()


async def find_response(response_id: str) -> str | None:
    """The same, of one that another process made."""
    value = await async_client().get(_stored(response_id))
    return value if isinstance(value, str) else None


def make() -> Gateway:
    """A gateway process's application, with an id of its own: made where it serves, after any fork."""
    return Gateway(
        Needs(
            load_routes=in_thread(routes.load_routes),
            announcements=announcements,
            load_aliases=in_thread(rows.load_aliases),
            load_keys=in_thread(rows.load_keys),
            key_of_token=tokens.key_id,
            request_ready=in_thread(demand.request_ready, _wakers),
            report=report,
            forget=forget,
            touch=touch,
            spent=in_thread(usage_rows.spent),
            write_usage=in_thread(usage_rows.write_usage),
            exchange=exchange,
            save_responses=save_responses,
            find_response=find_response,
            write_captures=ring.write,
            fleet_metrics=in_thread(fleet_metrics.text),
            write_refused=refused_stored.write,
            questions=channel.questions,
            send_answer=channel.send,
        ),
        Limits(
            body_bytes=settings.BODY_BYTES,
            wait_count=settings.WAIT_LIMIT,
            wait_bytes=settings.WAIT_BYTES,
            wait_seconds=settings.WAIT_SECONDS,
            quiet_seconds=settings.QUIET_SECONDS,
            slow_seconds=settings.SLOW_SECONDS,
            starved_seconds=settings.STARVED_SECONDS,
        ),
        route_ttl_seconds=settings.ROUTE_TTL_SECONDS,
        idle_seconds=settings.ENGINE_IDLE_SECONDS,
        metrics_dir=settings.DATA_DIR / "metrics",
        origins=frozenset(origin.encode() for origin in settings.CORS_ORIGINS),
        open_tracing=tracing.from_environment,
    )
