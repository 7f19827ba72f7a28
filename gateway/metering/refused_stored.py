"""Refused calls in Redis: each gateway process writes its own rows, readers put them together."""

import time
from collections.abc import Iterable
from typing import cast

import msgspec

from gateway.metering.refused import Refusal
from sardeenz.redis import async_client, client, key

KEPT_SECONDS = 24 * 3600.0

_ALL = key("refused")
_decode = msgspec.json.Decoder(list[Refusal]).decode


async def write(gateway_id: str, rows: bytes) -> None:
    """This process's rows, instead of those it wrote before."""
    connection = async_client()
    async with connection.pipeline(transaction=False) as pipe:
        pipe.hset(_ALL, gateway_id, rows.decode())
        pipe.expire(_ALL, int(KEPT_SECONDS))
        await pipe.execute()


def read() -> list[Refusal]:
    """Those of the last day, of all processes together, the newest first. Raises RedisError."""
    since = time.time() - KEPT_SECONDS
    written = cast("dict[str, str]", client().hgetall(_ALL))
    by_process = {
        gateway_id: [row for row in _decode(rows) if row.last_at >= since] for gateway_id, rows in written.items()
    }
    if over := [gateway_id for gateway_id, rows in by_process.items() if not rows]:
        client().hdel(_ALL, *over)
    return _together(row for rows in by_process.values() for row in rows)


def _together(rows: Iterable[Refusal]) -> list[Refusal]:
    latest: dict[tuple[str, str, int | None], Refusal] = {}
    for row in rows:
        place = row.code, row.about, row.key_id
        known = latest.get(place)
        if known is None:
            latest[place] = row
        else:
            known.count += row.count
            known.first_at, known.last_at = min(known.first_at, row.first_at), max(known.last_at, row.last_at)
    return sorted(latest.values(), key=lambda row: row.last_at, reverse=True)
