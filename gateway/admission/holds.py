"""Waiting: for a model to become ready, and what everything that waits may take together.

The wait belongs to the deployment, not to a request: one hold per deployment, one wake however many wait, and nobody's
leaving ends it for the others. Each request brings its own patience, and all together are bounded in number and bytes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.admission.clock import CallClock
from gateway.errors import ModelFailed, WaitLimit, WakeTimeout
from gateway.limits.limiter import KnownTeam
from gateway.metering import trail
from gateway.outage import Outage
from gateway.routing.destination import Destination
from gateway.routing.table import Route, Router
from gateway.tracing import Trace
from gateway.wire.model_request import ModelRequest
from models_app.errors import DeploymentStopped
from sardeenz.errors import Conflict, SardeenzError

ASK_SECONDS = 2.0
SHORTEST_PAUSE_SECONDS = 0.1
HEARTBEAT_SECONDS = 5.0
RETRY_SECONDS = 5.0
"""When to come back, where nothing is known of how long a model takes."""
RequestReady = Callable[[int], Awaitable[float | None]]
"""Has a deployment made ready; the result is the seconds after which asking again may help, where they are known."""
REFUSED = {"stopped": DeploymentStopped, "failed": ModelFailed}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one gateway process. `quiet_seconds` holds for callers that cannot be told that they wait: no stream."""

    body_bytes: int
    wait_count: int
    wait_bytes: int
    wait_seconds: float
    quiet_seconds: float
    slow_seconds: float = 60.0
    starved_seconds: float = 30.0


class Waiting(Protocol):
    """What is to be known of a request that may have to wait."""

    request: ModelRequest
    destination: Destination
    clock: CallClock
    trace: Trace | None

    @property
    def team(self) -> KnownTeam | None:
        """A queue shares a deployment's seats among teams; None means that the caller's key has no team."""

    @property
    def sees_all(self) -> bool:
        """Whether the caller may know of every model; others are told nothing that may name one."""

    @property
    def is_use(self) -> bool:
        """Whether the call keeps its model awake; a benchmark's may not."""

    def still_waiting(self, route: Route, why: str, eta_seconds: float | None) -> None:
        """Tell the client that it has not been forgotten."""


class WaitingRoom:
    """Bounds on all that waits, together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.count = 0
        self.bytes = 0

    @contextmanager
    def taken(self, call: Waiting, route: Route) -> Iterator[None]:
        """The call counts among those that wait for as long as this lasts. Raises WaitLimit."""
        limits, size = self._limits, call.request.size_bytes
        if self.count >= limits.wait_count or self.bytes + size > limits.wait_bytes:
            raise WaitLimit("too many requests wait already", eta_seconds=route.row.eta_seconds, state=route.state)
        self.count += 1
        self.bytes += size
        try:
            yield
        finally:
            self.count -= 1
            self.bytes -= size


class Patience:
    """One request's own: until when it waits, and when its client must hear of it again."""

    def __init__(self, limits: Limits, call: Waiting, seconds: float | None = None, spent_seconds: float = 0.0) -> None:
        self._call = call
        self._time = asyncio.get_running_loop().time
        self.began = self._time()
        most = limits.wait_seconds if call.request.streams_events else limits.quiet_seconds
        self.seconds = most if seconds is None else min(most, seconds)
        self._deadline = self.began + self.seconds - spent_seconds
        self._word_at = self.began + HEARTBEAT_SECONDS

    @property
    def over(self) -> bool:
        """Whether it has waited long enough."""
        return self._time() >= self._deadline

    async def wait(self, news: asyncio.Future[Any], tell: Callable[[], tuple[Route, str, float | None]]) -> None:
        """Wait for `news` or the end of patience; the client hears of it every few seconds."""
        while not news.done() and not self.over:
            until = min(self._deadline, self._word_at)
            # wait() rather than await: a waiter that is cancelled must not cancel what all wait for
            await asyncio.wait((news,), timeout=max(0.0, until - self._time()))
            if not news.done() and self._time() >= self._word_at:
                self._word_at += HEARTBEAT_SECONDS
                self._call.still_waiting(*tell())


class Hold:
    """The shared wait of one deployment. Its result is the error for all, or None: look at the table again."""

    def __init__(self) -> None:
        self.waiters: dict[int, tuple[float, int]] = {}
        self.done: asyncio.Future[SardeenzError | None] = asyncio.get_running_loop().create_future()
        self.again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends the pause before the next question."""
        self.driver: asyncio.Task[None]
        self.collided_pause = 0.0
        """Seconds until we asked again when somebody else changed a replica while we asked; 0 where nobody does."""

    def settle(self, error: SardeenzError | None) -> None:
        """An error is raised for every waiter, None lets every waiter look at the table; a second call does nothing."""
        if not self.done.done():
            self.done.set_result(error)


class Holds:
    """Everybody who waits for a deployment to have a ready replica."""

    def __init__(self, router: Router, waiting_room: WaitingRoom, limits: Limits, request_ready: RequestReady) -> None:
        self._router = router
        self._waiting_room = waiting_room
        self._limits = limits
        self._request_ready = request_ready
        self._holds: dict[int, Hold] = {}
        self.waking = Outage("asking for a model to be made ready")
        self.on_begin: Callable[[], None] = lambda: None

    async def wait(self, call: Waiting, route: Route, spent_seconds: float = 0.0) -> Route:
        """Hold the request until its deployment has a ready replica; of its patience so much was spent before."""
        names = call.sees_all
        if route.state in REFUSED:  # as far as known: it may have been started a moment ago
            await self._router.look()
            route = self._router.route(route.deployment_id)
        _refuse(route, names=names)
        patience = Patience(self._limits, call, spent_seconds=spent_seconds)
        since, met = time.time(), route
        began = time.monotonic()
        try:
            with self._waiting_room.taken(call, route):
                while not route.reachable:
                    await self._wait_once(call, route, patience, since)
                    route = self._router.route(route.deployment_id)
                    if not route.reachable:
                        _refuse(route, names=names)
                        if patience.over:
                            raise _late(route, patience.seconds)
        finally:
            waited = call.clock.keep(trail.MODEL, began, met.row.deployment_name, state=met.state)
            call.clock.wake_seconds += waited
            if call.trace is not None:
                call.trace.waited("wait for model", began)
        return route

    async def _wait_once(self, call: Waiting, route: Route, patience: Patience, since: float) -> None:
        hold = self._hold(route.deployment_id)
        hold.waiters[id(call)] = (since, call.request.priority)
        try:
            await patience.wait(hold.done, lambda: self._news(route, names=call.sees_all))
        finally:
            del hold.waiters[id(call)]
        if hold.done.done() and (error := hold.done.result()) is not None:
            raise error if call.sees_all else _without_names(error, route)

    def _news(self, route: Route, *, names: bool) -> tuple[Route, str, float | None]:
        route = self._router.route(route.deployment_id)
        return route, (names and route.row.message) or f"it is {route.state}", route.row.eta_seconds

    def waiting(self) -> dict[int, dict[str, float]]:
        """Who waits per deployment: how many, the oldest one's Unix time, the best (lowest) priority."""
        return {
            deployment_id: {
                "count": len(hold.waiters),
                "since": min(since for since, _ in hold.waiters.values()),
                "priority": min(priority for _, priority in hold.waiters.values()),
            }
            for deployment_id, hold in self._holds.items()
            if hold.waiters
        }

    def standing(self) -> dict[int, float]:
        """By the `id` of each call that waits: since when, monotonic."""
        epoch = time.time() - time.monotonic()
        return {who: since - epoch for hold in self._holds.values() for who, (since, _) in hold.waiters.items()}

    def _hold(self, deployment_id: int) -> Hold:
        hold = self._holds.get(deployment_id)
        if hold is None:
            hold = self._holds[deployment_id] = Hold()
            self.on_begin()
            hold.driver = asyncio.create_task(self._ask_until_settled(deployment_id, hold))
        return hold

    async def _ask_until_settled(self, deployment_id: int, hold: Hold) -> None:
        """Ask for a ready replica, and again while anybody waits: what is wanted is a level, not an edge."""
        try:
            while hold.waiters and not hold.done.done():
                hold.again = asyncio.get_running_loop().create_future()
                pause = ASK_SECONDS
                with self.waking.watch():
                    pause = await self._ask(deployment_id, hold)
                news = (hold.done, hold.again)
                await asyncio.wait(news, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._holds.get(deployment_id) is hold:
                del self._holds[deployment_id]
            hold.settle(None)

    @property
    def any(self) -> bool:
        """Whether a call waits for a model."""
        return bool(self._holds)

    def ask_again(self) -> None:
        """Something changed that may let a model be made ready: ask now, not at the next interval."""
        for hold in self._holds.values():
            if not hold.again.done():
                hold.again.set_result(None)

    async def _ask(self, deployment_id: int, hold: Hold) -> float:
        """Ask once; seconds after which to ask again."""
        until = None
        try:
            until = await self._request_ready(deployment_id)
        except Conflict:  # somebody changed the replica first: what it became is soon known
            hold.collided_pause = min(2 * hold.collided_pause or SHORTEST_PAUSE_SECONDS, ASK_SECONDS)
            return hold.collided_pause
        except SardeenzError as error:
            hold.settle(error)
        hold.collided_pause = 0.0
        return ASK_SECONDS if until is None else min(max(until, SHORTEST_PAUSE_SECONDS), ASK_SECONDS)

    def look(self) -> None:
        """The table or a replica has changed: those who can go on, or need not wait any longer, are let go.

        Where one did, a model has woken, and the next may.
        """
        before = len(self._holds)
        for deployment_id, hold in tuple(self._holds.items()):
            route = self._router.table.by_deployment.get(deployment_id)
            if route is None or route.reachable or route.state in REFUSED:
                del self._holds[deployment_id]
                hold.settle(None)
        if len(self._holds) < before:
            self.ask_again()


def _refuse(route: Route, *, names: bool) -> None:
    """Some states are not worth a wait: nothing a request may do ends them."""
    refusal = REFUSED.get(route.state)
    if refusal is not None:
        why = f": {route.row.message}" if names and route.row.message else ""
        raise refusal(f"the model `{route.served_name}` is {route.state}{why}", state=route.state, param="model")


def _without_names(error: SardeenzError, route: Route) -> SardeenzError:
    """The same for callers who may not know of every model: its words may name those that are in the way."""
    return type(error)(f"the model `{route.served_name}` cannot be made ready now", **error.fields)


def _late(route: Route, seconds: float) -> WakeTimeout:
    return WakeTimeout(
        f"the model `{route.served_name}` did not become ready within {seconds:.0f} s",
        state=route.state,
        eta_seconds=route.row.eta_seconds,
        retry_after_seconds=RETRY_SECONDS if route.row.eta_seconds is None else route.row.eta_seconds,
    )
