"""/ws/lifecycle: rows as they change. /ws/logs/<replica id>: an engine's log as it is written."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import Error as DatabaseError
from redis import RedisError

from models_app import snapshot
from models_app.api import presence
from models_app.engines import logs
from models_app.models import Replica
from sardeenz import events

SERVICES_SECONDS = 2.0
"""How often an open page's services are looked at."""
TRY_AGAIN_LATER = 1013
UNKNOWN_REPLICA = 4404
LOG_SECONDS = 0.3
"""How often a log that somebody watches is looked at."""


class LifecycleConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Subscribe, accept, send the snapshot, then forward. An event may repeat what the snapshot had: `seq` tells.

    `{type: services, services}` follows whenever a service falls silent or speaks again.
    """

    watching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if not _signed_in(self.scope):
            await self.close()
            return
        try:
            await self.channel_layer.group_add(events.LIFECYCLE, self.channel_name)
            await self.accept()
            first = await database_sync_to_async(snapshot.take)()
        except (RedisError, OSError, DatabaseError):
            await self.close(TRY_AGAIN_LATER)
            return
        await self.send_json(first)
        self.watching = asyncio.create_task(self._watch_services())

    async def disconnect(self, code: int) -> None:
        if self.watching is not None:
            self.watching.cancel()
        with suppress(RedisError, OSError):  # the subscription died with Redis
            await self.channel_layer.group_discard(events.LIFECYCLE, self.channel_name)

    async def _watch_services(self) -> None:
        silent: list[tuple[str, str]] = []
        while True:
            services = await database_sync_to_async(presence.services)()
            now_silent = [(row["node"], row["name"]) for row in services if row["silent"]]
            if now_silent != silent:
                silent = now_silent
                await self.send_json({"type": "services", "services": services})
            await asyncio.sleep(SERVICES_SECONDS)

    async def lifecycle_event(self, event: dict[str, Any]) -> None:
        """Channels calls this with each changed row that is sent to the lifecycle group."""
        await self.send_json({"type": "event", **event["payload"]})


class LogConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """`{type: tail, generation, lines}`, then `{type: lines, lines}`; a restart begins with a tail again."""

    replica_id: int
    name: str
    generation: int
    following: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if not _signed_in(self.scope):
            await self.close()
            return
        self.replica_id = self.scope["url_route"]["kwargs"]["replica_id"]
        try:
            await self.channel_layer.group_add(events.LIFECYCLE, self.channel_name)
            await self.accept()
            found = await database_sync_to_async(_name_and_generation)(self.replica_id)
        except (RedisError, OSError, DatabaseError):
            await self.close(TRY_AGAIN_LATER)
            return
        if found is None:
            await self.close(UNKNOWN_REPLICA)
            return
        self.name, self.generation = found
        self._follow()

    async def disconnect(self, code: int) -> None:
        if self.following is not None:
            self.following.cancel()
        with suppress(RedisError, OSError):
            await self.channel_layer.group_discard(events.LIFECYCLE, self.channel_name)

    async def lifecycle_event(self, event: dict[str, Any]) -> None:
        """Change to the log of the new engine when this replica starts again; end when the replica is gone."""
        changed = event["payload"]
        if (changed["kind"], changed.get("id")) != ("replica", self.replica_id) or self.following is None:
            return
        row = changed["row"]
        if row is None:
            await self.send_json({"type": "end"})
            await self.close()
        elif row["generation"] > self.generation:
            self.generation = row["generation"]
            self._follow()

    def _follow(self) -> None:
        if self.following is not None:
            self.following.cancel()
        self.following = asyncio.create_task(self._send_log(self.generation))

    async def _send_log(self, generation: int) -> None:
        """The tail, then every line that is added."""
        log = logs.path(self.replica_id, generation, self.name)
        offset, lines = await asyncio.to_thread(_tail, log)
        await self.send_json({"type": "tail", "generation": generation, "lines": lines})
        while True:
            text, offset = await asyncio.to_thread(logs.read_from, log, offset)
            if text:
                await self.send_json({"type": "lines", "lines": logs.split(text)})
            else:
                await asyncio.sleep(LOG_SECONDS)


def _tail(log: Path) -> tuple[int, list[str]]:
    """The end of the log as it is now, whole lines, and where it ended."""
    size = log.stat().st_size if log.exists() else 0
    start = max(size - logs.TAIL_BYTES, 0)
    text, offset = logs.read_from(log, start)
    lines = logs.split(text)
    return offset, lines[1:] if start else lines


def _signed_in(scope: Any) -> bool:
    user = scope.get("user")
    return user is not None and user.is_authenticated


def _name_and_generation(replica_id: int) -> tuple[str, int] | None:
    replica = Replica.objects.select_related("deployment").filter(pk=replica_id).first()
    if replica is None:
        return None
    return replica.deployment_name, replica.generation
