"""Captured calls in Redis: one stream per deployment that keeps the latest, and none for long.

A reader that follows asks for what came after the id it saw last. Ids are milliseconds of the server's clock, so that
those of several streams can be compared; what came within the present millisecond is told by the next answer, because
another entry of the same millisecond may still come.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from gateway.capture.captured import Capture
from sardeenz.redis import async_client, client, key

KEPT = 200
"""Calls per deployment."""
BEGINNING = "0-0"
"""The id before every other."""

_FIELD = "call"


class Entry(NamedTuple):
    """A capture and its place in the stream."""

    id: str
    capture: Capture

    @property
    def order(self) -> tuple[int, int, int]:
        """Older first, also among several streams."""
        return (*_numbers(self.id), self.capture.deployment)


async def write(captures: Sequence[Capture]) -> None:
    """Add calls to their rings, in one round trip. Raises RedisError."""
    kept_ms = int(settings.CAPTURE_SECONDS * 1000)
    oldest = f"{int(time.time() * 1000) - kept_ms}"
    async with async_client().pipeline(transaction=False) as pipe:
        for capture in captures:
            text: Any = msgspec.json.encode(capture)
            pipe.xadd(_name(capture.deployment), {_FIELD: text}, maxlen=KEPT, approximate=False)
        for deployment_id in {capture.deployment for capture in captures}:
            pipe.xtrim(_name(deployment_id), minid=oldest, approximate=False)
            pipe.pexpire(_name(deployment_id), kept_ms)
        await pipe.execute()


def newest(deployment_ids: Collection[int], limit: int) -> list[Entry]:
    """The latest calls of these deployments, newest first. Raises RedisError."""
    first, last = _window()
    with client().pipeline(transaction=False) as pipe:
        for deployment_id in deployment_ids:
            pipe.xrevrange(_name(deployment_id), max=last, min=first, count=limit)
        entries = _entries(pipe.execute())
    return sorted(entries, key=lambda entry: entry.order, reverse=True)[:limit]


def after(deployment_ids: Collection[int], entry_id: str, limit: int) -> list[Entry]:
    """The first calls that came after this id, oldest first; a few more than `limit` where ids are equal."""
    first, last = _window()
    if _numbers(entry_id) >= _numbers(first):
        first = f"({entry_id}"
    with client().pipeline(transaction=False) as pipe:
        for deployment_id in deployment_ids:
            pipe.xrange(_name(deployment_id), min=first, max=last, count=limit)
        entries = sorted(_entries(pipe.execute()), key=lambda entry: entry.order)
    return [entry for entry in entries if _numbers(entry.id) <= _numbers(entries[min(limit, len(entries)) - 1].id)]


def one(deployment_id: int, entry_id: str) -> Entry | None:
    """One call, unless it has gone. Raises RedisError."""
    first, _ = _window()
    if _numbers(entry_id) < _numbers(first):
        return None
    entries = _entries([client().xrange(_name(deployment_id), min=entry_id, max=entry_id)])
    return entries[0] if entries else None


def clear(deployment_id: int) -> None:
    """Forget every call of this deployment. Raises RedisError."""
    client().delete(_name(deployment_id))


def _name(deployment_id: int) -> str:
    return key("captures", deployment_id)


def _window() -> tuple[str, str]:
    """The first id that is young enough to be shown, and the last that no later one can precede."""
    seconds, microseconds = client().time()
    now_ms = seconds * 1000 + microseconds // 1000
    return f"{max(now_ms - int(settings.CAPTURE_SECONDS * 1000), 0)}-0", str(max(now_ms - 1, 0))


def _entries(streams: Sequence[Any]) -> list[Entry]:
    """What was written by a version that we understand, and ended recently enough: an outage may have delayed it."""
    oldest = time.time() - settings.CAPTURE_SECONDS
    entries = []
    for entry_id, fields in (entry for stream in streams for entry in stream):
        try:
            capture = msgspec.json.decode(fields.get(_FIELD, ""), type=Capture)
        except msgspec.MsgspecError:
            continue
        if capture.at > oldest:
            entries.append(Entry(entry_id, capture))
    return entries


def _numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, _, place = entry_id.partition("-")
    return int(milliseconds), int(place or 0)
