"""Which replica answers for which name. A table is built anew, announced, then swapped in; it is never edited.

The order matters for drains: a replica is reported as routed *before* the first request can reach it, and stops being
handed out before it is reported as gone. So whoever reads "not in routes, no leases" may believe it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import ModelNotFound, RoutesUnavailable
from gateway.outage import FAULTS, Outage
from gateway.paths import Endpoint
from gateway.upstream import Pool

LISTED = frozenset({"ready", "sleeping", "starting"})
"""States of a deployment that answers now or after a wait, and is therefore shown by /v1/models."""


class ReplicaRow(Protocol):
    """A ready replica as `models_app.routes` gives it."""

    @property
    def id(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...


class RouteRow(Protocol):
    """A deployment as `models_app.routes` gives it."""

    @property
    def deployment_id(self) -> int: ...
    @property
    def served_name(self) -> str: ...
    @property
    def replicas(self) -> Sequence[ReplicaRow]: ...
    @property
    def state(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def eta_seconds(self) -> float | None: ...
    @property
    def max_model_len(self) -> int | None: ...
    @property
    def created(self) -> int: ...


class Target:
    """One routable replica and what is in flight to it; it outlives the tables that name it."""

    __slots__ = ("_heads", "_key", "deployment_id", "in_flight", "marker", "pool", "replica_id")

    def __init__(self, row: ReplicaRow, deployment_id: int, *, idle_seconds: float) -> None:
        self.marker = f"{row.id}:{row.generation}"
        self.replica_id = row.id
        self.deployment_id = deployment_id
        self.in_flight = 0
        self.pool = Pool(row.url, idle_seconds=idle_seconds)
        self._key = row.api_key.encode()
        self._heads: dict[bytes, bytes] = {}

    def post_head(self, endpoint: Endpoint) -> bytes:
        """The first lines of a POST to this engine, made once per path."""
        head = self._heads.get(endpoint.engine_path)
        if head is None:
            head = self._heads[endpoint.engine_path] = self.head(b"POST", endpoint.engine_path)
        return head

    def head(self, method: bytes, path: bytes) -> bytes:
        """Request line, host, and the engine's own key: a caller's key never leaves the gateway."""
        lines = b"%s %s HTTP/1.1\r\nhost: %s\r\nauthorization: Bearer %s\r\n"
        return lines % (method, path, self.pool.authority, self._key)


@dataclass(frozen=True, slots=True)
class Route:
    """One served name."""

    deployment_id: int
    served_name: str
    state: str
    message: str
    eta_seconds: float | None
    max_model_len: int | None
    created: int
    targets: tuple[Target, ...]


class RouteTable:
    """All routes at one instant. Immutable once built."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self.by_name = {route.served_name: route for route in self.routes}
        self.by_deployment = {route.deployment_id: route for route in self.routes}
        self.targets = {target.marker: target for route in self.routes for target in route.targets}
        self.markers = frozenset(self.targets)
        shown = [_card(route) for route in self.routes if route.state in LISTED]
        self.listing = json.dumps({"object": "list", "data": shown}).encode()
        self.cards = {card["id"]: json.dumps(card).encode() for card in shown}


def _card(route: Route) -> dict[str, object]:
    return {
        "id": route.served_name,
        "object": "model",
        "created": route.created,
        "owned_by": "sardeenz",
        "max_model_len": route.max_model_len,
        "state": route.state,
    }


class Router:
    """The current table, and the loops that keep it current."""

    def __init__(
        self,
        load_routes: Callable[[], Awaitable[Iterable[RouteRow]]],
        announcements: Callable[[], AsyncIterator[None]],
        *,
        ttl_seconds: float,
        idle_seconds: float,
    ) -> None:
        self._load_routes = load_routes
        self._announcements = announcements
        self._ttl_seconds = ttl_seconds
        self._idle_seconds = idle_seconds
        self._stale = asyncio.Event()
        self._rows: tuple[RouteRow, ...] | None = None
        self._retired: dict[str, Target] = {}
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

    def route(self, served_name: str) -> Route:
        """The route of this name."""
        route = self.table.by_name.get(served_name)
        if route is None:
            self.check_loaded()
            raise ModelNotFound(f"the model `{served_name[:200]}` does not exist", param="model")
        return route

    def leases(self) -> dict[str, int]:
        """What is in flight per replica, those no longer routed included."""
        self._retired = {marker: target for marker, target in self._retired.items() if target.in_flight}
        targets = (*self.table.targets.values(), *self._retired.values())
        return {target.marker: target.in_flight for target in targets if target.in_flight}

    def routable(self, target: Target) -> bool:
        """Whether this replica may be handed a new request."""
        return self.table.targets.get(target.marker) is target

    def look_again(self) -> None:
        """Read the table soon: somebody saw that it may be wrong."""
        self._stale.set()

    async def refresh(self) -> None:
        """Read the table and adopt it; on a fault the last good one stays."""
        try:
            rows = tuple(await self._load_routes())
        except FAULTS as error:
            self.loading.began(error)
            return
        self.loading.ended()
        if rows != self._rows:
            await self._adopt(rows)

    async def _adopt(self, rows: tuple[RouteRow, ...]) -> None:
        known = {**self._retired, **self.table.targets}
        table = RouteTable(self._route(row, known) for row in rows)
        if not table.markers <= self.table.markers:
            await self.announce(table.markers | self.table.markers)
        gone = [target for marker, target in self.table.targets.items() if table.targets.get(marker) is not target]
        self._rows, self.table = rows, table
        for target in gone:
            self._retired[target.marker] = target
            target.pool.close_idle()
        for marker in table.markers:
            self._retired.pop(marker, None)
        for tell in self.on_swap:
            tell()

    def _route(self, row: RouteRow, known: dict[str, Target]) -> Route:
        targets = []
        for replica in row.replicas:
            target = known.get(f"{replica.id}:{replica.generation}")
            targets.append(target or Target(replica, row.deployment_id, idle_seconds=self._idle_seconds))
        return Route(
            row.deployment_id,
            row.served_name,
            row.state,
            row.message,
            row.eta_seconds,
            row.max_model_len,
            row.created,
            tuple(targets),
        )

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
            try:
                async for _ in self._announcements():
                    self.listening.ended()
                    self._stale.set()
            except FAULTS as error:
                self.listening.began(error)
            await asyncio.sleep(1)

    def tick(self) -> None:
        """Once a second: connections too long idle or silent end."""
        for target in (*self.table.targets.values(), *self._retired.values()):
            target.pool.tick()

    def close(self) -> None:
        """Let go of every idle connection."""
        for target in self.table.targets.values():
            target.pool.close_idle()


async def _nobody(_: frozenset[str]) -> None:
    """Until a reporter is there."""
