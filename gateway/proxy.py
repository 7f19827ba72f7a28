"""One call from its body to its last byte: lease, ask, relay, account. Bytes pass through; nothing is re-encoded."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from gateway import engine_refusals
from gateway.access.auth import KnownKey
from gateway.admission.admit import Admission
from gateway.call import Call
from gateway.capture.recorder import Recorder
from gateway.errors import ContextExceeded, EngineFailed, ModelNotAllowed, ModelNotFound
from gateway.limits.limiter import Limiter
from gateway.metering.meter import Meter
from gateway.relay import Relay
from gateway.routing.replicas import RoutedReplica
from gateway.routing.table import Route, Router, Split
from gateway.stored import StoredResponses
from gateway.wire import heads
from gateway.wire.strip import HELD_BYTES, Strip
from gateway.wire.tap import first_failure, has_event
from gateway.wire.upstream import Connection, NotConnected, NothingAnswered, Stranger
from gateway.wire.usage import NOTHING
from models_app.errors import EngineRefused
from sardeenz.errors import EngineError, SardeenzError, Unavailable

ENGINE_ERROR_BYTES = 64 * 1024
STRANGER_SECONDS = 5.0
"""Long enough for a worker to tell that an engine's port is somebody else's; then it is our key that is wrong."""


class Proxy:
    """One Proxy per gateway process carries all calls; the server hands each call to `carry`."""

    def __init__(
        self,
        router: Router,
        admission: Admission,
        limiter: Limiter,
        meter: Meter,
        stored: StoredResponses,
        recorder: Recorder,
        newest_key: Callable[[KnownKey], Awaitable[KnownKey]],
    ) -> None:
        self._router = router
        self._admission = admission
        self._limiter = limiter
        self._meter = meter
        self._stored = stored
        self._recorder = recorder
        self._newest_key = newest_key
        self.running: dict[Call, None] = {}
        """The calls that are being carried, the oldest first."""
        self.on_begin: Callable[[], None] = _ignored
        """Called as each call begins, before its limits are looked at."""
        self.refused: Callable[[str, str, int], None] = _uncounted
        """Told of calls that are refused before any model is asked: code, name, key."""

    async def carry(self, call: Call) -> None:
        """Answer one call; whatever happens is told to the client and accounted."""
        charge = None
        request, destination = call.request, call.destination
        name = request.fields.model
        if call.trace is not None:
            call.trace.begin(call)
        self.running[call] = None
        try:
            split = self._router.table.splits.get(name) or await self._router.newest_split(name)
            if call.key.allowed_models:
                await self._check_allowed(call, split)
            key = call.key
            routes = split.order(request.session, destination.marker)
            destination.route = routes[0]
            if split.captures and call.key.metered:
                self._recorder.begin(call, routes)
            self.on_begin()
            charge = self._limiter.admit(key, request.estimated_tokens)
            call.reply.extra += charge.lines
            if len(routes) == 1:
                await self._exchange(call, routes[0], last=True)
            else:
                await self._answer(call, routes)
        except SardeenzError as error:
            self._refuse(call, error)
        except asyncio.CancelledError:
            if call.stopped_by is None:
                call.account.outcome = "cancelled"
                raise
            call.tell_stopped(call.stopped_by)
        finally:
            del self.running[call]
            if destination.route is not None:
                # Nothing is awaited between the lease's return and this: without a lease the record is noted.
                usage = call.usage
                if charge is not None:
                    self._limiter.settle(charge, call.account.owed(usage), call.clock.gpu_seconds)
                record = call.record(destination.route, usage)
                self._meter.note(record)
                if (copy := call.reply.copy) is not None:
                    self._recorder.end(copy, call, record)
            if call.trace is not None:
                call.trace.end(call)

    def _refuse(self, call: Call, error: SardeenzError) -> None:
        """Tell the client; what was refused before any model was asked is counted elsewhere than calls."""
        call.fail(error)
        if call.destination.route is None:
            self.refused(error.code, call.request.fields.model[:200], call.key.id)
        call.reply.refuse(error)

    async def _check_allowed(self, call: Call, split: Split) -> None:
        """Raise ModelNotAllowed; before that the key is read once more, as its rights may have been changed."""
        name = call.request.fields.model
        if call.key.may_ask_for(name) or (call.destination.pinned and self._by_an_alias(call.key, split)):
            return
        call.key = await self._newest_key(call.key)
        if not call.key.may_ask_for(name):
            raise ModelNotAllowed(f"this API key may not use the model `{name[:200]}`", param="model")

    def _by_an_alias(self, key: KnownKey, split: Split) -> bool:
        """Whether this key may have made a response with this deployment by another of its names."""
        (route,) = split.routes
        splits = self._router.table.splits.values()
        return any(key.may_ask_for(each.name) for each in splits if route in each.routes)

    async def _answer(self, call: Call, routes: tuple[Route, ...]) -> None:
        """Ask the deployments in turn, as long as none has said anything of its own.

        For whom a prompt is too long, that says one with a longer context may answer.
        """
        refusal: ContextExceeded | None = None
        for place, route in enumerate(routes):
            last = place + 1 == len(routes)
            if refusal is not None and not engine_refusals.may_be_longer(route, refusal):
                continue
            try:
                if place:  # while others were waited for, it may have moved
                    route = self._router.route(route.deployment_id)
                return await self._exchange(call, route, last=last)
            except ContextExceeded as error:
                refusal = error
                call.was_turned_away(route, error)
                call.ask_anew()
            except (Unavailable, EngineError, ModelNotFound) as error:
                if call.reply.committed or (last and refusal is None):
                    raise
                self._leave(call, route, error)
        if refusal is not None:
            self._tell(call, 400, refusal.fields["body"])

    async def _exchange(self, call: Call, route: Route, *, last: bool) -> None:
        """Ask one replica; if the connection ends before the first byte, ask once more, elsewhere where possible.

        Where there was no connection nothing was sent: that is tried as long as the call may wait.
        """
        call.destination.route = route
        if not route.replicas and not call.reply.started:
            call.reply.state = route.state.encode("ascii", "replace")
        admission, waited = self._admission, call.clock.wake_seconds
        failed: RoutedReplica | None = None
        strange_until = 0.0
        while True:
            lease = admission.lease(call, route, failed, last) or await admission.wait(call, route, failed, last)
            replica, ended, refused = lease.replica, False, False
            call.destination.asked_at = lease.began
            replica.unnoticed += not call.is_use
            try:
                await self._ask(call, route, replica, last=last, fresh=failed is not None)
                ended = True
                return
            except NotConnected as error:
                admission.reach.lost(replica)
                call.was_turned_away(route, error)
                call.ask_anew()
                strange_until = _strange_until(error, strange_until)
                if call.destination.pinned or not (last or route.reachable):
                    raise
                refused = True
            except NothingAnswered as error:
                replica.health.failed(time.monotonic())
                self._router.look_again()
                if failed is not None:
                    raise
                self._leave(call, route, error)
                failed = replica
            except EngineError as error:
                if not isinstance(error, EngineFailed | EngineRefused):
                    replica.health.failed(time.monotonic())
                raise
            finally:
                if lease.probe and not ended:
                    replica.health.let_go()
                replica.unnoticed -= not call.is_use
                admission.give_back(call, lease)
            route = self._router.route(route.deployment_id)
            if refused:
                await self._until_reachable(call, route, call.clock.wake_seconds - waited)
                route = self._router.route(route.deployment_id)

    async def _until_reachable(self, call: Call, route: Route, waited: float) -> None:
        """Hold a call that met an engine that accepts no connection, as one that meets a model that starts."""
        call.destination.leased = False
        if not call.reply.started:
            call.reply.state = b"starting"
        await self._admission.until_reachable(call, route, waited)

    def _leave(self, call: Call, route: Route, error: SardeenzError) -> None:
        """Somebody else is asked instead. What this engine counted for it meanwhile nobody will know."""
        call.was_turned_away(route, error)
        if call.destination.sent:
            self._meter.doubt(call.record(route, NOTHING))
        call.ask_anew()

    async def _ask(self, call: Call, route: Route, replica: RoutedReplica, *, last: bool, fresh: bool) -> None:
        """One request to one engine, and its answer to the client."""
        request, destination = call.request, call.destination
        destination.begin(replica)
        body, tail = request.engine_body(route.served_name, route.row.schedules_by_priority)
        attempt = None if call.trace is None else call.trace.attempt(route, replica)
        more = b"" if attempt is None else attempt.ids
        head = request.engine_head(replica.first_lines(request), len(body) + len(tail), more)
        pool, answer = replica.pool, None
        if request.streams_events:
            call.await_first_piece()
        try:
            answer = (None if fresh else pool.idle()) or await pool.connect()
            said = answer.request(head, body, tail)
            destination.sent = True
            await said
            if answer.status >= 500:
                self._failed(replica, answer, last)
            elif replica.health.failures:
                replica.health.answered()
            if answer.complete and answer.status == 200 and not request.stream and not call.reply.started:
                self._whole(call, replica, answer, answer.take() or b"", last)
            else:
                await self._relay(call, replica, answer, last)
            if answer.status < 500:
                self._ended(replica, call)
        finally:
            call.stop_reminding()
            if answer is not None:
                pool.release(answer)
            if attempt is not None:
                attempt.end(0 if answer is None else answer.status)

    def _ended(self, replica: RoutedReplica, call: Call) -> None:
        """An answer came to its end: a failure, if it said so itself."""
        if call.account.outcome == EngineFailed.code:
            replica.health.failed(time.monotonic())
        elif replica.health.failures:
            replica.health.succeeded()

    def _failed(self, replica: RoutedReplica, answer: Connection, last: bool) -> None:
        """A 5xx counts against the replica, and sends the call on where there is somewhere to go."""
        replica.health.failed(time.monotonic())
        if not last:
            raise EngineFailed(f"the engine answered with status {answer.status}", status=answer.status)

    def _whole(self, call: Call, replica: RoutedReplica, answer: Connection, data: bytes, last: bool) -> None:
        """All of the answer at once."""
        call.account.tap.see(data)
        if answer.status == 200:
            call.judge()
            if not last and call.account.outcome != "ok":
                self._ask_elsewhere(replica, call.account.outcome)
        if call.request.endpoint.stored:
            self._remember(call, replica)
        call.reply.whole(answer.status, heads.passed_on(answer.headers, call.reply.state), data)

    async def _relay(self, call: Call, replica: RoutedReplica, answer: Connection, last: bool) -> None:
        reply = call.reply
        if answer.status != 200:
            call.stop_reminding()
        if answer.status == 401:  # between us and the engine; the caller's key was good
            raise Stranger("the engine refused the gateway's key", status=401)
        refused = b""
        if answer.status in engine_refusals.READ:
            refused = await engine_refusals.read(answer)
            engine_refusals.check(call, answer.status, refused, last=last)
        if answer.status >= 400:
            call.account.outcome = EngineFailed.code if answer.status >= 500 else EngineRefused.code
        if reply.started and answer.status != 200:
            await self._late_refusal(call, answer, refused)
        elif refused and answer.drained:
            self._whole(call, replica, answer, refused, last)
        elif call.request.stream:
            data = refused if last or answer.status != 200 else await self._first_event(call, replica, answer)
            await self._pass_on(call, replica, answer, data)
        else:
            data = refused or await answer.read()
            if answer.drained and not reply.started:
                self._whole(call, replica, answer, data, last)
            else:
                await self._pass_on(call, replica, answer, data)

    async def _first_event(self, call: Call, replica: RoutedReplica, answer: Connection) -> bytes:
        """The beginning of a stream, before its client hears any: if it is an error, or nothing, another is asked."""
        data = b""
        while not has_event(data) and len(data) < HELD_BYTES:
            more = await answer.read()
            if not more:
                break
            data += more
        if call.request.streams_events:
            nothing = answer.drained and not has_event(data) and heads.has_events(answer.headers)
            self._ask_elsewhere(replica, EngineFailed.code if nothing else first_failure(data))
        return data

    def _ask_elsewhere(self, replica: RoutedReplica, failure: str | None) -> None:
        """An error inside a 200 sends the call on, too; one that is the caller's fault does not count."""
        if failure == EngineFailed.code:
            replica.health.failed(time.monotonic())
        if failure is not None:
            raise EngineFailed("the engine answered that it failed", status=200)

    async def _pass_on(self, call: Call, replica: RoutedReplica, answer: Connection, data: bytes) -> None:
        """Piece by piece, as fast as the client takes it."""
        reply, request = call.reply, call.request
        strip = Strip() if request.force_usage and answer.status == 200 else None
        if not reply.started:
            reply.start(
                answer.status,
                heads.passed_on(answer.headers, reply.state),
                None if strip else heads.size(answer.headers),
            )
        call.account.expects_end = request.streams_events and answer.status == 200 and heads.has_events(answer.headers)
        relay = Relay(call, strip, partial(self._remember, call, replica) if request.endpoint.stored else None)
        try:
            if data:
                relay(data)
            while not answer.complete:
                if reply.crowded:
                    await reply.drained()
                await answer.flow(relay)
            relay.end(answer.take() or b"")
        except EngineError:  # a stream that breaks between two events can still say why
            reply.held_open = request.streams_events and answer.status == 200 and call.account.tap.between_events
            raise

    async def _late_refusal(self, call: Call, answer: Connection, body: bytes) -> None:
        """The engine refused after 200 was said: its own words, as an event."""
        while (data := await answer.read()) and len(body) < ENGINE_ERROR_BYTES:
            body += data
        self._tell(call, answer.status, body)

    def _tell(self, call: Call, status: int, body: bytes) -> None:
        """An engine's refusal, in its own words."""
        call.account.outcome = EngineRefused.code
        if call.reply.started:
            prefix = b"event: error\n" if call.request.endpoint.dialect == "anthropic" else b""
            call.reply.finish(prefix + b"data: " + b" ".join(body.splitlines()) + b"\n\n")
        else:
            call.reply.whole(status, [(b"content-type", b"application/json")], body)

    def _remember(self, call: Call, replica: RoutedReplica) -> None:
        self._stored.remember(call.account.tap.response_id(), replica.marker, call.key)


def _strange_until(error: NotConnected, until: float) -> float:
    """How long a call puts up with a stranger on its engine's port; 0 without one. Raises EngineRefused after that."""
    if not isinstance(error, Stranger):
        return until
    now = time.monotonic()
    if until and now > until:
        raise EngineRefused(error.message, status=401) from error
    return until or now + STRANGER_SECONDS


def _ignored() -> None:
    """This function hears of calls that begin until the server sets `Proxy.on_begin`."""


def _uncounted(code: str, name: str, key_id: int) -> None:
    """This function ignores refused calls until the server sets `Proxy.refused`."""
