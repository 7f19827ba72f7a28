"""Which replica answers for which name. A table is built anew, announced, then swapped in; it is never edited.

The order matters for drains: a replica is reported as routed *before* the first request can reach it, and stops being
handed out before it is reported as gone. So whoever reads "not in routes, no leases" may believe it.
"""

import asyncio
import json
import random
import time
import zlib
from bisect import bisect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

from gateway.access.rows import AliasRow
from gateway.errors import ModelNotAllowed, ModelNotFound, RoutesUnavailable
from gateway.outage import Outage
from gateway.routing.replicas import RoutedReplica
from models_app.traffic.routes import Route as RouteRow

LoadRoutes = Callable[[], Awaitable[Iterable[RouteRow]]]
LoadAliases = Callable[[], Awaitable[Iterable[AliasRow]]]
Announcements = Callable[[], AsyncIterator[None]]

LOOK_SECONDS = 0.25
"""From one reading of the table to the next that doubts about it may cause."""
LOOK_LIMIT_SECONDS = 2.0

LISTED = frozenset({"ready", "sleeping", "starting"})
"""States of a deployment that answers now or after a wait, and is therefore shown by /v1/models."""


class Route:
    """One deployment and the replicas that may be handed new requests. Never changed."""

    __slots__ = ("deployment_id", "replicas", "row", "served_name", "state")

    def __init__(self, row: RouteRow, replicas: tuple[RoutedReplica, ...]) -> None:
        self.row = row
        self.replicas = replicas
        self.deployment_id = row.deployment_id
        self.served_name = row.served_name
        self.state = row.state

    @property
    def reachable(self) -> bool:
        """Whether there is a replica to ask, as far as known."""
        return any(not replica.health.refuses for replica in self.replicas)


class Split:
    """What a name stands for: one deployment, or the members of an alias with their shares and their order."""

    __slots__ = ("_heads", "_total", "_weights", "captures", "name", "routes")

    def __init__(self, name: str, routes: tuple[Route, ...], weights: Iterable[int]) -> None:
        self.name = name
        self.routes = routes
        self.captures = any(route.row.capture_until is not None for route in routes)
        """Whether calls may have to be kept."""
        weighed = [(place, weight) for place, weight in enumerate(weights) if weight > 0] or [(0, 1)]
        self._heads = [place for place, _ in weighed]
        self._weights = list(accumulate(weight for _, weight in weighed))
        self._total = self._weights[-1]

    def order(self, session: bytes | None, marker: str | None = None) -> tuple[Route, ...]:
        """The deployment to ask, then those to fall back on: the one with this replica, or a draw.

        A session keeps its share of the split.
        """
        if len(self.routes) == 1:
            return self.routes
        place = None if marker is None else self._place_of(marker)
        if place is None:
            draw = zlib.crc32(session) % self._total if session else random.randrange(self._total)  # noqa: S311
            place = self._heads[bisect(self._weights, draw)]
        return (self.routes[place], *self.routes[:place], *self.routes[place + 1 :])

    def _place_of(self, marker: str) -> int | None:
        places = enumerate(self.routes)
        return next((place for place, route in places if any(one.marker == marker for one in route.replicas)), None)


class RouteTable:
    """All routes at one instant. Immutable once built."""

    def __init__(self, routes: Iterable[Route], aliases: Iterable[AliasRow] = ()) -> None:
        self.routes = tuple(routes)
        self.by_deployment = {route.deployment_id: route for route in self.routes}
        self.replicas = {replica.marker: replica for route in self.routes for replica in route.replicas}
        self.markers = frozenset(self.replicas)
        self.splits = {route.served_name: Split(route.served_name, (route,), (1,)) for route in self.routes}
        for alias in aliases:
            known = [member for member in alias.members if member.deployment_id in self.by_deployment]
            if known and alias.name not in self.splits:
                behind = tuple(self.by_deployment[member.deployment_id] for member in known)
                self.splits[alias.name] = Split(alias.name, behind, [member.weight for member in known])
        self._cards = {name: card for name, split in self.splits.items() if (card := _card(split)) is not None}
        self._listings: dict[frozenset[str], bytes] = {}

    def listing(self, allowed: frozenset[str]) -> bytes:
        """The models a key may ask for, as /v1/models tells them."""
        listing = self._listings.get(allowed)
        if listing is None:
            shown = [card for name, card in self._cards.items() if not allowed or name in allowed]
            listing = self._listings[allowed] = json.dumps({"object": "list", "data": shown}).encode()
        return listing

    def card(self, name: str) -> bytes | None:
        """This is the JSON of one model, as /v1/models/<name> shows it; None means that no listed model is so named."""
        card = self._cards.get(name)
        return None if card is None else json.dumps(card).encode()


def _card(split: Split) -> dict[str, Any] | None:
    """The first of its deployments that answers, now or after a wait, speaks for the name."""
    shown = [route for route in split.routes if route.state in LISTED]
    if not shown:
        return None
    route = next((route for route in shown if route.replicas), shown[0])
    card: dict[str, Any] = {
        "id": split.name,
        "object": "model",
        "created": route.row.created,
        "owned_by": "sardeenz",
        "max_model_len": route.row.max_model_len,
        "capabilities": list(route.row.capabilities),
        "state": route.state,
        "simulated": route.row.simulated,
    }
    return card if split.name == route.served_name else card | {"alias_of": [one.served_name for one in split.routes]}


class Router:
    """The current table, and the loops that keep it current."""

    def __init__(
        self,
        load_routes: LoadRoutes,
        load_aliases: LoadAliases,
        announcements: Announcements,
        *,
        ttl_seconds: float,
        idle_seconds: float,
    ) -> None:
        self._load_routes = load_routes
        self._load_aliases = load_aliases
        self._announcements = announcements
        self._ttl_seconds = ttl_seconds
        self._idle_seconds = idle_seconds
        self._stale = asyncio.Event()
        self._rows: tuple[tuple[RouteRow, ...], tuple[AliasRow, ...]] | None = None
        self._retired: dict[str, RoutedReplica] = {}
        self._read_began = 0.0  # of the last reading that has ended
        self._read_ended: asyncio.Future[None] | None = None
        self.loading = Outage("reading the route table")
        self.listening = Outage("listening for route changes")
        self.table = RouteTable(())
        self.announce: Callable[[frozenset[str]], Awaitable[None]] = _nobody
        self.on_swap: list[Callable[[], None]] = []

    @property
    def loaded(self) -> bool:
        """Whether any table was ever read."""
        return self._rows is not None

    def check_loaded(self) -> None:
        """Without a table nothing can be said about any model."""
        if not self.loaded:
            raise RoutesUnavailable("the route table is not known yet", retry_after_seconds=1.0)

    def split(self, name: str) -> Split:
        """What this name stands for. Raises ModelNotFound."""
        split = self.table.splits.get(name)
        if split is None:
            self.check_loaded()
            words = f"the model `{name[:200]}` does not exist; GET /v1/models lists those there are"
            raise ModelNotFound(words, param="model")
        return split

    async def newest_split(self, name: str) -> Split:
        """The same; before it is said that there is none, the table is read once more: the name may be a new one."""
        if name not in self.table.splits:
            await self.look()
            if name not in self.table.splits and self.loading.lasting:
                raise RoutesUnavailable("it cannot be found out right now whether there is this model")
        return self.split(name)

    def route(self, deployment_id: int) -> Route:
        """The deployment as it is now. Raises ModelNotFound when it has gone."""
        route = self.table.by_deployment.get(deployment_id)
        if route is None:
            raise ModelNotFound("the model was removed", param="model")
        return route

    async def card(self, name: str, allowed: frozenset[str]) -> bytes:
        """One model of /v1/models. Raises ModelNotFound, ModelNotAllowed."""
        await self.newest_split(name)
        card = self.table.card(name)
        if card is None:
            raise ModelNotFound(f"the model `{name[:200]}` does not exist", param="model")
        if allowed and name not in allowed:
            raise ModelNotAllowed(f"this API key may not use the model `{name[:200]}`", param="model")
        return card

    def leases(self) -> dict[str, int]:
        """What is in flight per replica, those no longer routed included."""
        self._retired = {marker: replica for marker, replica in self._retired.items() if replica.in_flight}
        replicas = (*self.table.replicas.values(), *self._retired.values())
        return {replica.marker: replica.in_flight for replica in replicas if replica.in_flight}

    def hear(self, elsewhere: Mapping[str, int]) -> None:
        """What other gateway processes have in flight per replica."""
        now = time.monotonic()
        for replica in (*self.table.replicas.values(), *self._retired.values()):
            replica.hear(elsewhere.get(replica.marker, 0), now)

    def routable(self, replica: RoutedReplica) -> bool:
        """Whether this replica may be handed a new request."""
        return self.table.replicas.get(replica.marker) is replica

    def look_again(self) -> None:
        """Read the table soon: somebody saw that it may be wrong."""
        early = self._read_began + LOOK_SECONDS - time.monotonic()
        if early <= 0:
            self._stale.set()
        else:
            asyncio.get_running_loop().call_later(early, self._stale.set)

    async def look(self) -> None:
        """Wait for a table that is read after now. All who wait share one reading; there are four a second at most."""
        asked_at = time.monotonic()
        await asyncio.sleep(max(0.0, self._read_began + LOOK_SECONDS - asked_at))
        try:
            async with asyncio.timeout(LOOK_LIMIT_SECONDS):
                while self._read_began < asked_at:
                    self._stale.set()
                    self._read_ended = self._read_ended or asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._read_ended)
        except TimeoutError:
            pass

    async def refresh(self) -> None:
        """Read the table and adopt it; on a fault the last good one stays."""
        began = time.monotonic()
        try:
            await self._refresh()
        finally:
            self._read_began = began
            if self._read_ended is not None and not self._read_ended.done():
                self._read_ended.set_result(None)
            self._read_ended = None

    async def _refresh(self) -> None:
        rows = self._rows
        with self.loading.watch():
            routes, aliases = await asyncio.gather(self._load_routes(), self._load_aliases())
            rows = (tuple(routes), tuple(aliases))
        if rows is not None and rows != self._rows:
            await self._adopt(rows)

    async def _adopt(self, rows: tuple[tuple[RouteRow, ...], tuple[AliasRow, ...]]) -> None:
        known = {**self._retired, **self.table.replicas}
        table = RouteTable((self._route(row, known) for row in rows[0]), rows[1])
        if not table.markers <= self.table.markers:
            await self.announce(table.markers | self.table.markers)
        gone = [replica for marker, replica in self.table.replicas.items() if table.replicas.get(marker) is not replica]
        self._rows, self.table = rows, table
        for replica in gone:
            self._retired[replica.marker] = replica
            replica.pool.close_idle()
        for marker in table.markers:
            self._retired.pop(marker, None)
        for tell in self.on_swap:
            tell()

    def _route(self, row: RouteRow, known: dict[str, RoutedReplica]) -> Route:
        replicas = [
            known.get(each.marker) or RoutedReplica(each, row.deployment_id, row.gpus, idle_seconds=self._idle_seconds)
            for each in row.replicas
        ]
        return Route(row, tuple(replicas))

    async def keep_current(self) -> None:
        """Read the table when told to, and every `ttl_seconds` in case nobody could tell."""
        while True:
            self._stale.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(self._ttl_seconds):
                    await self._stale.wait()
            except TimeoutError:
                pass

    async def listen(self) -> None:
        """Subscribe, then look, then look again at each announcement; start over when Redis went away."""
        while True:
            with self.listening.watch():
                async for _ in self._announcements():
                    self.listening.ended()
                    self._stale.set()
            await asyncio.sleep(1)

    def tick(self) -> None:
        """Once a second: connections too long idle or silent end."""
        for replica in (*self.table.replicas.values(), *self._retired.values()):
            replica.pool.tick()

    def close(self) -> None:
        """Let go of every idle connection."""
        for replica in self.table.replicas.values():
            replica.pool.close_idle()


async def _nobody(_: frozenset[str]) -> None:
    """Until a reporter is there."""
