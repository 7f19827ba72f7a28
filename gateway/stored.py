"""Which replica made which stored response, and for whom: the engine that made it is the only one that has it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from gateway.access.auth import KnownKey
from gateway.errors import ResponseNotFound, ResponsesUnavailable
from gateway.outage import FAULTS, Outage

REMEMBERED = 10_000
SAVE_AGAIN_SECONDS = 1.0
LOOK_AGAIN_SECONDS = (0.1, 0.4)
"""A client may ask another process at once, before it can have heard: only who still finds nothing then says so."""


class StoredResponses:
    """The latest in memory; all of them for a day in Redis, where the other gateway processes find them."""

    def __init__(
        self, save: Callable[[Mapping[str, str]], Awaitable[None]], find: Callable[[str], Awaitable[str | None]]
    ) -> None:
        self._save = save
        self._find = find
        self._known: OrderedDict[str, str] = OrderedDict()
        self._unsaved: dict[str, str] = {}
        self._news = asyncio.Event()
        self.outage = Outage("remembering stored responses")

    def remember(self, response_id: str | None, marker: str, key: KnownKey) -> None:
        """A response was made. No I/O."""
        if response_id is None:
            return
        self._keep(response_id, f"{marker} {_owner(key)}")
        if len(self._unsaved) < REMEMBERED:
            self._unsaved[response_id] = self._known[response_id]
            self._news.set()

    async def marker(self, response_id: str, key: KnownKey) -> str:
        """The replica that has it.

        Raises ResponseNotFound, also for a response of another team's, or ResponsesUnavailable.
        """
        holder = self._known.get(response_id) or await self._ask(response_id)
        for seconds in LOOK_AGAIN_SECONDS:
            if holder is None:
                await asyncio.sleep(seconds)
                holder = await self._ask(response_id)
        if holder is None or holder.partition(" ")[2] != _owner(key):
            raise ResponseNotFound("no running replica is known to hold this response")
        return holder.partition(" ")[0]

    async def _ask(self, response_id: str) -> str | None:
        try:
            holder = await self._find(response_id)
        except FAULTS as error:
            self.outage.began(error)
            raise ResponsesUnavailable(
                "which replica holds this response cannot be looked up right now", retry_after_seconds=1.0
            ) from error
        if holder is not None:
            self._keep(response_id, holder)
        return holder

    def _keep(self, response_id: str, value: str) -> None:
        self._known[response_id] = value
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def keep_saving(self) -> None:
        """Tell the other processes at once, of all that came meanwhile together."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.flush()
            if self._unsaved:
                self._news.set()
                await asyncio.sleep(SAVE_AGAIN_SECONDS)

    async def flush(self) -> None:
        """Tell them now; what cannot be told is kept."""
        if not self._unsaved:
            return
        batch, self._unsaved = self._unsaved, {}
        with self.outage.watch() as attempt:
            await self._save(batch)
        if attempt.failed:
            self._unsaved = batch | self._unsaved


def _owner(key: KnownKey) -> str:
    """A team shares its responses; a key without one keeps them to itself."""
    return f"team:{key.team.id}" if key.team else f"key:{key.id}"
