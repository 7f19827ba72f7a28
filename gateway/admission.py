"""From a request to a lease on a replica, through a wait where the model must be woken first.

The wait belongs to the deployment, not to a request: one hold per deployment, one wake however many wait, and nobody's
leaving ends it for the others. Each request brings its own patience, and all together are bounded in number and bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from gateway.errors import ModelFailed, ModelStopped, ResponseNotFound, WaitLimit, WakeTimeout
from gateway.outage import FAULTS, Outage
from gateway.reporting import Reporter
from gateway.routing import Route, Router, Target
from sardeenz.errors import Conflict, SardeenzError

ASK_SECONDS = 2.0
HEARTBEAT_SECONDS = 5.0
REFUSED = {"stopped": ModelStopped, "failed": ModelFailed}


@dataclass(frozen=True, slots=True)
class Limits:
    """Per gateway process."""

    body_bytes: int
    wait_count: int
    wait_bytes: int
    wait_seconds: float


class Waiting(Protocol):
    """What admission must know of a request."""

    served_name: str
    marker: str | None
    size_bytes: int
    pinned: bool

    async def still_waiting(self, route: Route) -> None:
        """Tell the client that it has not been forgotten."""


class Hold:
    """The shared wait of one deployment. Its result is the error for all, or None: look at the table again."""

    def __init__(self) -> None:
        self.waiters = 0
        self.done: asyncio.Future[SardeenzError | None] = asyncio.get_running_loop().create_future()
        self.driver: asyncio.Task[None]

    def settle(self, error: SardeenzError | None) -> None:
        if not self.done.done():
            self.done.set_result(error)


class Admission:
    """Hands out leases."""

    def __init__(
        self, router: Router, reporter: Reporter, request_ready: Callable[[int], Awaitable[None]], limits: Limits
    ) -> None:
        self._router = router
        self._reporter = reporter
        self._request_ready = request_ready
        self._limits = limits
        self._holds: dict[int, Hold] = {}
        self._turn = 0
        self.waking = Outage("asking for a model to be made ready")
        self.waiting = 0
        self.waiting_bytes = 0
        router.on_swap.append(self._look_at_holds)

    def admit(self, call: Waiting, *, avoid: Target | None = None) -> "Lease":
        """`async with admission.admit(call) as target`."""
        return Lease(self, call, avoid)

    async def choose(self, call: Waiting, avoid: Target | None) -> Target:
        """The replica for this call; the caller must count itself in flight before it awaits anything."""
        if call.pinned:
            return self._pinned(call)
        route = self._router.route(call.served_name)
        if not route.targets:
            route = await self._wait(call, route)
        return self._best(route, call.marker, avoid)

    def returned(self, target: Target) -> None:
        """A lease ended."""
        target.in_flight -= 1
        if not self._router.routable(target):
            target.pool.close_idle()
        self._reporter.returned(target)

    def _pinned(self, call: Waiting) -> Target:
        """A stored response lives in one engine; nothing is woken to look for it."""
        targets = self._router.table.targets
        if call.marker is None and len(targets) == 1:
            return next(iter(targets.values()))
        target = targets.get(call.marker or "")
        if target is None:
            raise ResponseNotFound("no running replica is known to hold this response")
        return target

    def _best(self, route: Route, marker: str | None, avoid: Target | None) -> Target:
        """The one that is asked for, else the least busy one, in turns where they are equally busy."""
        targets = route.targets
        if len(targets) == 1:
            return targets[0]
        for target in targets:
            if target.marker == marker and target is not avoid:
                return target
        self._turn += 1
        start = self._turn % len(targets)
        others = [target for target in (*targets[start:], *targets[:start]) if target is not avoid]
        return min(others, key=_in_flight)

    # --- waiting for a replica ----------------------------------------------------------------------------------
    async def _wait(self, call: Waiting, route: Route) -> Route:
        """Hold the request until its deployment has a ready replica."""
        self._refuse(route)
        if self.waiting >= self._limits.wait_count or self.waiting_bytes + call.size_bytes > self._limits.wait_bytes:
            raise WaitLimit(
                "too many requests already wait for models to become ready",
                eta_seconds=route.eta_seconds,
                state=route.state,
            )
        self.waiting += 1
        self.waiting_bytes += call.size_bytes
        try:
            return await self._wait_in_turn(call, route)
        finally:
            self.waiting -= 1
            self.waiting_bytes -= call.size_bytes

    async def _wait_in_turn(self, call: Waiting, route: Route) -> Route:
        now = asyncio.get_running_loop().time
        deadline = now() + self._limits.wait_seconds
        word_at = now() + HEARTBEAT_SECONDS
        while not route.targets:
            hold = self._hold(route.deployment_id)
            hold.waiters += 1
            try:
                # wait() rather than await: a waiter that is cancelled must not cancel what all wait for
                await asyncio.wait((hold.done,), timeout=max(0.0, min(deadline, word_at) - now()))
            finally:
                hold.waiters -= 1
            if hold.done.done() and (error := hold.done.result()) is not None:
                raise error
            route = self._router.route(call.served_name)
            if not route.targets:
                self._refuse(route)
                if now() >= deadline:
                    raise _late(route, self._limits.wait_seconds)
                if now() >= word_at:
                    word_at += HEARTBEAT_SECONDS
                    await call.still_waiting(route)
        return route

    def _refuse(self, route: Route) -> None:
        """Some states are not worth a wait: nothing a request may do ends them."""
        refusal = REFUSED.get(route.state)
        if refusal is not None:
            why = f": {route.message}" if route.message else ""
            raise refusal(f"the model `{route.served_name}` is {route.state}{why}", state=route.state, param="model")

    def _hold(self, deployment_id: int) -> Hold:
        hold = self._holds.get(deployment_id)
        if hold is None:
            hold = self._holds[deployment_id] = Hold()
            hold.driver = asyncio.create_task(self._ask_until_settled(deployment_id, hold))
        return hold

    async def _ask_until_settled(self, deployment_id: int, hold: Hold) -> None:
        """Ask for a ready replica, and again while anybody waits: what is wanted is a level, not an edge."""
        try:
            while hold.waiters and not hold.done.done():
                try:
                    await self._request_ready(deployment_id)
                    self.waking.ended()
                except Conflict:
                    pass  # somebody moved the replica first; the next time we ask, we ask about what it became
                except SardeenzError as error:
                    hold.settle(error)
                except FAULTS as error:
                    self.waking.began(error)
                await asyncio.wait((hold.done,), timeout=ASK_SECONDS)
        finally:
            if self._holds.get(deployment_id) is hold:
                del self._holds[deployment_id]
            hold.settle(None)

    def _look_at_holds(self) -> None:
        """A new table: those who can go on, or need not wait any longer, are let go."""
        for deployment_id, hold in tuple(self._holds.items()):
            route = self._router.table.by_deployment.get(deployment_id)
            if route is None or route.targets or route.state in REFUSED:
                del self._holds[deployment_id]
                hold.settle(None)


class Lease:
    """One place in flight on one replica, given back however the block is left."""

    __slots__ = ("_admission", "_avoid", "_call", "_target")

    def __init__(self, admission: Admission, call: Waiting, avoid: Target | None) -> None:
        self._admission = admission
        self._call = call
        self._avoid = avoid
        self._target: Target

    async def __aenter__(self) -> Target:
        target = self._target = await self._admission.choose(self._call, self._avoid)
        target.in_flight += 1
        return target

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.returned(self._target)


def _in_flight(target: Target) -> int:
    return target.in_flight


def _late(route: Route, wait_seconds: float) -> WakeTimeout:
    return WakeTimeout(
        f"the model `{route.served_name}` did not become ready within {wait_seconds:.0f} s",
        state=route.state,
        eta_seconds=route.eta_seconds,
        retry_after_seconds=route.eta_seconds or 5.0,
    )
