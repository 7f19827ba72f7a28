"""What gateways hold in flight and when a deployment was last used: Redis shapes, one writer each.

Every gateway process writes one hash that lives a few seconds, so its leases die with it; a counter that is
incremented and decremented would leak upward once and block a drain for ever. On its own node a process's end is a
fact: whoever reads the report of one that is gone takes it away at once. `routes` and `leases` travel in one write: a
reader that sees a replica missing from `routes` sees all its leases that were ever handed out.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import redis.asyncio
from django.conf import settings

from gpus import processes
from models_app.traffic.callers import Waiting
from sardeenz import heartbeats
from sardeenz.redis import client, key

_LAST_USED = key("last_used")
_UNENDED = key("gateways")
_identity = cache(processes.identity)


@dataclass(frozen=True, slots=True)
class Queued:
    """Requests that wait for one deployment to be less busy."""

    count: int
    since: float
    """Unix time of the oldest."""
    expected_at: float | None
    """Unix time at which the last of them is likely to have its turn."""


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What one gateway process last said; replicas are named by marker `<id>:<generation>`."""

    gateway_id: str
    routes: frozenset[str]
    leases: Mapping[str, int]
    at: float
    waiting: Mapping[int, Waiting] = field(default_factory=dict)
    """By deployment: the requests it holds until a replica is ready."""
    queued: Mapping[int, Queued] = field(default_factory=dict)
    """By deployment: the requests that stand in the queue of a ready one."""
    written_until: float = 0.0
    """Unix time until which the usage of what it ended is in the database."""


async def areport(
    connection: redis.asyncio.Redis,
    gateway_id: str,
    routes: Iterable[str],
    leases: Mapping[str, int],
    waiting: Mapping[int, Mapping[str, float | None]] | None = None,
    written_until: float = 0.0,
) -> None:
    """Say which replicas this gateway may hand new requests to, how many each has in flight, and who waits.

    By deployment, `waiting` has `count`, `since` (Unix time of the oldest) and `priority` (the lowest number) of those
    who wait for a ready replica; `queued`, `queued_since` and `expected_at` of those who stand in its queue.
    """
    name = key("gateway", gateway_id)
    fields: dict[Any, Any] = {}
    fields |= {"routes": json.dumps(sorted(routes)), "leases": json.dumps(dict(leases)), "at": str(time.time())}
    waits = {str(deployment_id): dict(calls) for deployment_id, calls in (waiting or {}).items()}
    fields |= {"waiting": json.dumps(waits), "written_until": str(written_until), "process": _identity(os.getpid())}
    async with connection.pipeline(transaction=True) as pipe:
        pipe.hset(name, mapping=fields)
        pipe.pexpire(name, int(settings.GATEWAY_TTL_SECONDS * 1000))
        pipe.sadd(_UNENDED, gateway_id)
        pipe.hset(heartbeats.NAME, mapping=heartbeats.field(_service()))
        await pipe.execute()


async def aforget(connection: redis.asyncio.Redis, gateway_id: str) -> None:
    """A gateway that ends in order takes its report with it."""
    async with connection.pipeline(transaction=True) as pipe:
        pipe.delete(key("gateway", gateway_id))
        pipe.srem(_UNENDED, gateway_id)
        pipe.hdel(heartbeats.NAME, f"{settings.NODE}/{_service()}")
        await pipe.execute()


def _service() -> str:
    return heartbeats.service_name("gateway")


def unended() -> set[str]:
    """The gateways that reported once and did not end in order: those alive, and those that were killed."""
    return cast("set[str]", client().smembers(_UNENDED))


def bury(gateway_ids: Iterable[str]) -> None:
    """What followed from the deaths of these gateways has been done."""
    client().srem(_UNENDED, *gateway_ids)


async def atouch(connection: redis.asyncio.Redis, deployment_ids: Iterable[int]) -> None:
    """These deployments answered a request just now."""
    now = str(time.time())
    used: dict[Any, Any] = {str(deployment_id): now for deployment_id in deployment_ids}
    if used:
        await connection.hset(_LAST_USED, mapping=used)


def read_reports() -> list[GatewayReport]:
    """The reports of all gateways alive. Raises RedisError when nothing can be known."""
    names = list(client().scan_iter(key("gateway", "*"), count=1000))
    with client().pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(name)
        fields_by_name = dict(zip(names, pipe.execute(), strict=True))
    if dead := [name for name, fields in fields_by_name.items() if processes.is_gone(fields.get("process", ""))]:
        client().delete(*dead)
    return [
        GatewayReport(
            name.removeprefix(key("gateway", "")),
            frozenset(json.loads(fields["routes"])),
            json.loads(fields["leases"]),
            float(fields["at"]),
            _read_waiting(json.loads(fields.get("waiting", "{}"))),
            _queued(json.loads(fields.get("waiting", "{}"))),
            float(fields.get("written_until", 0.0)),
        )
        for name, fields in fields_by_name.items()
        if fields and name not in dead
    ]


def _read_waiting(waits: Mapping[str, Mapping[str, Any]]) -> dict[int, Waiting]:
    return {
        int(deployment_id): Waiting(int(calls["count"]), float(calls["since"]), int(calls["priority"]))
        for deployment_id, calls in waits.items()
        if calls.get("count")
    }


def _queued(waits: Mapping[str, Mapping[str, Any]]) -> dict[int, Queued]:
    return {
        int(deployment_id): Queued(int(calls["queued"]), float(calls["queued_since"]), calls.get("expected_at"))
        for deployment_id, calls in waits.items()
        if calls.get("queued")
    }


def waiting(reports: Iterable[GatewayReport]) -> dict[int, Waiting]:
    """Who waits for what, by deployment, over all gateways."""
    together: dict[int, Waiting] = {}
    for report in reports:
        for deployment_id, calls in report.waiting.items():
            known = together.get(deployment_id)
            together[deployment_id] = calls if known is None else known + calls
    return together


def in_flight(marker: str, reports: Iterable[GatewayReport]) -> int:
    """Requests of this replica that gateways have not seen the end of."""
    return sum(report.leases.get(marker, 0) for report in reports)


def let_go(marker: str, reports: Collection[GatewayReport]) -> bool:
    """No gateway may hand this replica a new request, and none has one in flight."""
    return not in_flight(marker, reports) and all(marker not in report.routes for report in reports)


def known_to_all(marker: str, reports: Iterable[GatewayReport]) -> bool:
    """Every gateway may hand this replica new requests: a move's target has been acknowledged."""
    return all(marker in report.routes for report in reports)


def all_last_used() -> dict[int, float]:
    """Unix time of the last use by deployment, of those that were ever used."""
    used = cast("dict[str, str]", client().hgetall(_LAST_USED))
    return {int(deployment_id): float(at) for deployment_id, at in used.items()}


def last_used(deployment_id: int) -> datetime | None:
    """When a gateway last finished or began a request for this deployment; None when it never did."""
    value = client().hget(_LAST_USED, str(deployment_id))
    return datetime.fromtimestamp(float(value), UTC) if isinstance(value, str) else None
