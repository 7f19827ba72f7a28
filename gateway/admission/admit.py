"""From a call and a deployment to a lease on one of its replicas: through a wake, a queue and a choice if need be."""

import asyncio
import time
import zlib
from collections.abc import Callable

from gateway.admission.holds import Holds, Limits, Patience, Waiting, WaitingRoom
from gateway.admission.peers import SeatDemand
from gateway.admission.queueing import FairQueue
from gateway.admission.reporting import Reporter
from gateway.errors import NoReplicaAnswers, QueueFull, QueueTimeout, ResponseNotFound
from gateway.metering import trail
from gateway.routing.reach import Reach
from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route, Router

LEARNING = 0.1
"""Weight of the latest call in the mean time a seat is taken for."""
SPREAD = 0x9E3779B1
"""Two checksums differ by the same bits whatever the key: without this, one of three replicas would get half."""


class Entry:
    """One request in a queue; granted a seat when `seat` is done."""

    __slots__ = ("call", "deadline", "priority", "seat", "since", "team", "weight")

    def __init__(self, call: Waiting, deadline: float) -> None:
        team = call.team
        self.call = call
        self.team = team.id if team else None
        self.weight = team.weight if team else 1
        self.priority = call.request.priority
        self.since = time.monotonic()
        self.deadline = deadline
        self.seat: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Seats:
    """The seats of one deployment that limits how many requests may be in flight, and the queue for them."""

    __slots__ = ("granted", "held_seconds", "queue")

    def __init__(self, starved_seconds: float) -> None:
        self.queue: FairQueue[Entry] = FairQueue(starved_seconds)
        self.granted = 0
        self.held_seconds = 0.0

    def learn(self, seconds: float) -> None:
        """A seat was free again after so long."""
        self.held_seconds += LEARNING * (seconds - self.held_seconds) if self.held_seconds else seconds


class Admission:
    """One Admission per gateway process leases replicas to calls and holds the calls that have to wait."""

    def __init__(
        self,
        router: Router,
        reporter: Reporter,
        holds: Holds,
        waiting_room: WaitingRoom,
        limits: Limits,
        share: Callable[[int, int], int],
    ) -> None:
        self._router = router
        self._reporter = reporter
        self._holds = holds
        self._waiting_room = waiting_room
        self._limits = limits
        self._share = share
        self._seats: dict[int, Seats] = {}
        self._next = 0
        self.reach = Reach(router, holds.look)

    @property
    def waiting(self) -> int:
        """Requests held: for a model to become ready, or in a queue."""
        return self._waiting_room.count

    @property
    def waiting_bytes(self) -> int:
        """This is the size in bytes of the bodies of all requests that are held."""
        return self._waiting_room.bytes

    def lease(self, call: Waiting, route: Route, avoid: RoutedReplica | None, last: bool) -> "Lease | None":
        """A seat at the replica for this call, if nothing has to be waited for. To be given back, whatever happens.

        Not `last` when another deployment may be asked.
        """
        if call.destination.pinned:
            return Lease(self._pinned(call), probe=False)
        if route.replicas and (route.row.max_concurrency is None or self._has_seat(route)):
            return self._best(call, route, avoid, last)
        return None

    async def wait(self, call: Waiting, route: Route, avoid: RoutedReplica | None, last: bool) -> "Lease":
        """The same, after a wait."""
        while True:
            if not route.replicas:
                route = await self._holds.wait(call, route)
            if route.row.max_concurrency is None or self._has_seat(route):
                return self._best(call, route, avoid, last)
            await self._wait_for_seat(call, route)
            route = self._router.route(route.deployment_id)
            if route.replicas:
                return self._best(call, route, avoid, last)

    async def until_reachable(self, call: Waiting, route: Route, spent_seconds: float) -> None:
        """An engine refused the connection: wait for it, or for another, as for one that starts."""
        if not route.reachable:
            await self._holds.wait(call, route, spent_seconds)

    def give_back(self, call: Waiting, lease: "Lease") -> None:
        """The call is done with its seat."""
        now = time.monotonic()
        replica = lease.replica
        call.clock.gpu_seconds += replica.leave(lease.entered, now)
        routable = self._router.routable(replica)
        if not routable:
            replica.pool.close_idle()
        self._reporter.returned(replica, routable=routable, used=call.is_use)
        seats = self._seats.get(replica.deployment_id)
        if seats is not None:
            seats.learn(now - lease.began)
            if seats.queue.levels:
                self._pump(replica.deployment_id, seats)

    # --- which replica ------------------------------------------------------------------------------------------
    def _pinned(self, call: Waiting) -> RoutedReplica:
        """A stored response lives in one engine; nothing is woken to look for it."""
        replicas = self._router.table.replicas
        if call.destination.marker is None and len(replicas) == 1:
            return next(iter(replicas.values()))
        replica = replicas.get(call.destination.marker or "")
        if replica is None:
            raise ResponseNotFound("no running replica is known to hold this response")
        return replica

    def _best(self, call: Waiting, route: Route, avoid: RoutedReplica | None, last: bool) -> "Lease":
        """A seat at the one that is asked for, else the one this session or prefix belongs to, else the least busy."""
        replicas = route.replicas
        if len(replicas) == 1:
            replica = replicas[0]
            if not last and not replica.health.usable(time.monotonic()):
                raise _none_answers(route)
        else:
            replica = self._among(replicas, call, route, avoid, last)
        return Lease(replica, probe=replica.health.chosen())

    def _among(
        self, replicas: tuple[RoutedReplica, ...], call: Waiting, route: Route, avoid: RoutedReplica | None, last: bool
    ) -> RoutedReplica:
        for replica in replicas:
            if replica.marker == call.destination.marker and replica is not avoid:
                return replica
        now = time.monotonic()
        usable = [replica for replica in replicas if replica is not avoid and replica.health.usable(now)]
        if not usable:
            if not last:
                raise _none_answers(route)
            usable = [replica for replica in replicas if replica is not avoid]
        key = call.request.session or (call.request.affinity if route.row.prefix_affinity else None)
        if key is not None:
            return _by_rank(usable, key)
        self._next += 1
        start = self._next % len(usable)
        return min((*usable[start:], *usable[:start]), key=_in_flight)

    # --- seats and their queue ---------------------------------------------------------------------------------
    def _has_seat(self, route: Route) -> bool:
        seats = self._seats.get(route.deployment_id)
        if seats is None:
            seats = self._seats[route.deployment_id] = Seats(self._limits.starved_seconds)
        return not seats.queue.levels and self._free(route, seats) > 0

    def _free(self, route: Route, seats: Seats) -> int:
        """Seats nobody of this process has; other processes have their own share."""
        limit = route.row.max_concurrency
        if limit is None:
            return len(seats.queue)
        free = self._share(route.deployment_id, limit) - seats.granted
        for replica in route.replicas:
            free -= replica.in_flight
        return free

    async def _wait_for_seat(self, call: Waiting, route: Route) -> None:
        """Stand in the queue until a seat is granted; it is taken by whoever awaits this, at once."""
        seats = self._seats[route.deployment_id]
        if len(seats.queue) >= route.row.queue_limit:
            raise self._full(route, seats)
        patience = Patience(self._limits, call, route.row.queue_seconds)
        entry = Entry(call, time.monotonic() + patience.seconds)
        began, ahead = time.monotonic(), len(seats.queue)
        seats.queue.push(entry)
        waited = False
        try:
            with self._waiting_room.taken(call, route):
                await patience.wait(entry.seat, lambda: self._news(route, seats))
            waited = True
            if not entry.seat.done():
                raise QueueTimeout(
                    f"no seat at the model `{route.served_name}` became free within {patience.seconds:.0f} s",
                    eta_seconds=self._eta(route, seats),
                    state=route.state,
                )
        finally:
            row, known = route.row, {"ahead": ahead, "seats": route.row.max_concurrency}
            call.clock.queue_seconds += call.clock.keep(trail.SEAT, began, row.deployment_name, **known)
            if call.trace is not None:
                call.trace.waited("wait for seat", began)
            if not entry.seat.done():
                seats.queue.remove(entry)
            else:
                seats.granted -= 1
                if not waited:  # granted to somebody who has just left
                    self._pump(route.deployment_id, seats)

    def _full(self, route: Route, seats: Seats) -> QueueFull:
        eta = self._eta(route, seats)
        return QueueFull(
            f"{len(seats.queue)} requests wait for the model `{route.served_name}` already",
            limit=route.row.queue_limit,
            state=route.state,
            eta_seconds=eta,
            retry_after_seconds=eta or 1.0,
        )

    def _news(self, route: Route, seats: Seats) -> tuple[Route, str, float | None]:
        return route, f"{len(seats.queue)} requests stand in its queue", self._eta(route, seats)

    def _eta(self, route: Route, seats: Seats) -> float | None:
        """Until the last in the queue has a seat, from how long seats were taken lately."""
        share = self._share(route.deployment_id, route.row.max_concurrency or 1)
        return seats.held_seconds * (len(seats.queue) + 1) / max(1, share) or None

    def pump(self) -> None:
        """Seats may have become free: another table, other shares, or time."""
        for deployment_id, seats in tuple(self._seats.items()):
            self._pump(deployment_id, seats)

    def _pump(self, deployment_id: int, seats: Seats) -> None:
        route = self._router.table.by_deployment.get(deployment_id)
        while seats.queue.levels and (route is None or not route.replicas or self._free(route, seats) > 0):
            # Without a replica they all go on: to wait for one, or to be told that there is none.
            entry = seats.queue.pop()
            if entry is None:
                return
            if not entry.seat.done():
                seats.granted += 1
                entry.seat.set_result(None)

    def queued(self) -> dict[int, dict[str, float | None]]:
        """Who stands in a deployment's queue: how many, since which Unix time, and when the last may have its seat."""
        now, clock = time.time(), time.monotonic()
        queues: dict[int, dict[str, float | None]] = {}
        for deployment_id, seats in self._seats.items():
            route = self._router.table.by_deployment.get(deployment_id)
            if (oldest := seats.queue.oldest) is not None and route is not None:
                eta = self._eta(route, seats)
                queues[deployment_id] = {
                    "queued": len(seats.queue),
                    "queued_since": now - (clock - oldest),
                    "expected_at": None if eta is None else now + eta,
                }
        return queues

    def standing(self) -> dict[int, tuple[str, float]]:
        """By the `id` of each call that waits: for what, and since when, monotonic."""
        queues = (seats.queue for seats in self._seats.values())
        lines = (line for queue in queues for level in queue.levels.values() for line in level.lines.values())
        queued = {id(entry.call): ("queued", entry.since) for line in lines for entry in line.entries}
        return queued | {who: ("waking", since) for who, since in self._holds.standing().items()}

    def seat_demands(self) -> dict[int, SeatDemand]:
        """What this process has and wants of every deployment that limits its seats."""
        return {
            route.deployment_id: self._seat_demand(route, route.row.max_concurrency)
            for route in self._router.table.routes
            if route.row.max_concurrency is not None
        }

    def _seat_demand(self, route: Route, limit: int) -> SeatDemand:
        busy = sum([replica.in_flight for replica in route.replicas])
        seats = self._seats.get(route.deployment_id)
        if seats is None:
            return SeatDemand(limit, busy)
        queue = seats.queue
        waited = time.monotonic() - (queue.oldest or time.monotonic())
        return SeatDemand(limit, busy + seats.granted, len(queue), queue.weight or 1, waited)


class Lease:
    """One seat in flight on one replica, counted from the moment it is made."""

    __slots__ = ("began", "entered", "probe", "replica")

    def __init__(self, replica: RoutedReplica, *, probe: bool) -> None:
        self.replica = replica
        self.probe = probe
        self.began = time.monotonic()
        self.entered = replica.enter(self.began)


def _in_flight(replica: RoutedReplica) -> int:
    return replica.in_flight


def _by_rank(replicas: list[RoutedReplica], key: bytes) -> RoutedReplica:
    """Rendezvous hashing, so that every process agrees; one that is a quarter busier than the mean is passed over."""
    most = 1.25 * sum(replica.in_flight for replica in replicas) / len(replicas) + 1
    seed = zlib.crc32(key)
    ranked = sorted(replicas, key=lambda replica: zlib.crc32(replica.rank, seed) * SPREAD & 0xFFFFFFFF, reverse=True)
    return next(replica for replica in ranked if replica.in_flight <= most)


def _none_answers(route: Route) -> NoReplicaAnswers:
    return NoReplicaAnswers(f"no replica of the model `{route.served_name}` answered lately", state=route.state)
