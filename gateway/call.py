"""One call: its request, where it goes, its clock and its account, in one hand with the reply."""

import asyncio
import time

from gateway.access.auth import KnownKey
from gateway.admission import holds
from gateway.admission.clock import CallClock
from gateway.errors import CancelledByOperator
from gateway.limits.limiter import KnownTeam
from gateway.metering import trail
from gateway.metering.call_account import CallAccount
from gateway.metering.meter import Record
from gateway.routing.destination import Destination
from gateway.routing.table import Route
from gateway.tracing import Trace, Tracing
from gateway.wire.http import Reply, Request
from gateway.wire.model_request import ModelRequest
from gateway.wire.openai import Fields
from gateway.wire.paths import Endpoint
from gateway.wire.usage import Usage
from sardeenz.errors import EngineError, SardeenzError


class Call:
    """One request on its way. With `pinned_to` it is about a stored response, which that replica alone has."""

    __slots__ = ("_reminder", "account", "clock", "destination", "key", "reply", "request", "stopped_by", "trace")

    def __init__(
        self,
        endpoint: Endpoint,
        fields: Fields,
        body: bytes,
        request: Request,
        reply: Reply,
        key: KnownKey,
        tracing: Tracing | None = None,
        pinned_to: str | None = None,
    ) -> None:
        self.clock = CallClock()
        self.key = key
        self.reply = reply
        # Before the request is made: it takes the caller's trace headers out.
        self.trace: Trace | None = None if tracing is None else tracing.trace(request)
        most_urgent = 0 if key.team is None else key.team.priority
        pinned = pinned_to is not None
        self.request = made = ModelRequest(endpoint, fields, body, request, reply.request_id, most_urgent, pinned)
        self.destination = Destination(pinned_to, pinned)
        self.account = CallAccount(made.streams_parts)
        self._reminder: asyncio.TimerHandle | None = None
        self.stopped_by: CancelledByOperator | None = None
        """Why it is to end although its client is there."""

    @property
    def team(self) -> KnownTeam | None:
        """Whose share of a queue this is."""
        return self.key.team

    @property
    def sees_all(self) -> bool:
        """Whether its key may ask for every model, and so know of it."""
        return not self.key.allowed_models

    @property
    def is_use(self) -> bool:
        """Whether the idle time of its model begins anew."""
        return self.key.keeps_awake

    def still_waiting(self, route: Route, why: str, eta_seconds: float | None) -> None:
        """Admission's word that the wait goes on: only a stream can be told so without lying about the status."""
        self.reply.state = route.state.encode("ascii", "replace")
        if self.request.streams_events:
            self.reply.hold_open(why.encode(), eta_seconds)

    def await_first_piece(self) -> None:
        """The engine has the request: until its answer begins, the client of a stream hears that nobody is lost."""
        self._reminder = asyncio.get_running_loop().call_later(holds.HEARTBEAT_SECONDS, self._remind)

    def _remind(self) -> None:
        self.reply.hold_open(b"it has the request", None)
        self.await_first_piece()

    def stop_reminding(self) -> None:
        """The answer begins, or there will be none."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    def judge(self) -> None:
        """The answer came to its end. Raises AnswerIncomplete for a stream that lacks its own."""
        if self.reply.status == 200 or not self.reply.started:
            self.account.judge()

    def stop(self, error: CancelledByOperator) -> None:
        """End it wherever it is, as if its client had left; but the client is told why."""
        self.stopped_by = error
        self.reply.abandon()

    def tell_stopped(self, error: CancelledByOperator) -> None:
        """The last word to its client. Raises ResponseBroken where that stands in the middle of something."""
        self.fail(error, f"{error.fields['actor']} cancelled this call")
        reply = self.reply
        if reply.committed:
            reply.held_open = self.account.expects_end and self.account.tap.between_events
        reply.refuse(error)

    def fail(self, error: SardeenzError, why: str = "") -> None:
        """The call ends without the answer that it asked for; its record says `why` where its caller is told less."""
        self.account.outcome = error.code
        if (route := self.destination.route) is not None:
            self.clock.refuse(route.row.deployment_name, error.code, why or error.message)

    def was_turned_away(self, route: Route, error: SardeenzError) -> None:
        """Whoever was asked last did not answer, and somebody else is asked."""
        replica = self.destination.replica if isinstance(error, EngineError) else None
        began = self.destination.asked_at if replica is not None else time.monotonic()
        number = replica.replica_id if replica is not None else None
        known = {"replica": number, "code": error.code, "message": error.message}
        self.clock.keep(trail.ASKED, began, route.row.deployment_name, **known)

    def ask_anew(self) -> None:
        """Somebody else is asked instead."""
        self.destination.sent = False
        self.account.begin_anew()

    @property
    def usage(self) -> Usage:
        """Tokens by the engine's own count; unknown where it could not say it."""
        return self.account.usage(self.destination.sent, self.reply.status)

    def record(self, route: Route, usage: Usage) -> Record:
        """The proxy gives this record of an ended call to the meter; durations are in seconds, `at` is Unix time."""
        now = time.monotonic()
        request, clock, replica, team = self.request, self.clock, self.destination.replica, self.key.team
        tap, stream = self.account.tap, request.stream
        several, fields = request.endpoint.several_answers, request.fields
        return Record(
            key_id=self.key.id,
            served_name=route.served_name,
            path=request.endpoint.path,
            replica_id=replica.replica_id if replica else None,
            status=self.reply.status,
            outcome=self.account.outcome,
            stream=stream,
            usage=usage,
            wake_seconds=clock.wake_seconds,
            queue_seconds=clock.queue_seconds,
            ttft_seconds=tap.content_at - clock.began if tap.content_at else None,
            e2e_seconds=now - clock.began,
            at=time.time(),
            team_id=team.id if team else None,
            asked_name=fields.model,
            deployment_id=route.deployment_id,
            gap_seconds=tap.gap_seconds if stream else None,
            longest_gap_seconds=tap.longest_gap_seconds if stream else None,
            gpu_seconds=clock.gpu_seconds,
            generation=replica.generation if replica else None,
            pieces=tap.pieces,
            choices=fields.choices if several else 1,
            body_bytes=request.size_bytes,
            request_id=self.reply.request_id.decode("latin-1"),
            beside=self.destination.beside,
            trail=clock.trail,
            apart=fields.beams and several,
            kept=self.key.metered,
        )
