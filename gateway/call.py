"""One call: what was asked, by whom, and what became of it."""

import asyncio
import time
from typing import Any

from gateway.access.auth import KnownKey
from gateway.admission import holds
from gateway.errors import AnswerIncomplete
from gateway.limits.limiter import KnownTeam
from gateway.metering.meter import Record
from gateway.routing.table import Route
from gateway.routing.targets import Target
from gateway.tracing import Trace, Tracing
from gateway.wire import openai
from gateway.wire.http import Reply, Request
from gateway.wire.openai import Fields
from gateway.wire.paths import Endpoint
from gateway.wire.tap import StreamTap, WholeTap
from gateway.wire.usage import CHARGED, NOTHING, UNKNOWN, Usage

BYTES_PER_TOKEN = 4
MOST_ESTIMATED_TOKENS = 4096  # a picture is many bytes and few tokens
AFFINITY_BYTES = 512

FORWARDED = frozenset(
    {b"accept", b"content-type", b"traceparent", b"tracestate", b"anthropic-version", b"anthropic-beta"}
)
"""Request headers an engine gets to see. Not the caller's key, cookies, nor anything that says who calls."""


class Call:
    """One request on its way."""

    # Values of the class where most calls never set their own: that spares each call a dozen steps.
    method = b"POST"
    path: bytes | None = None
    pinned = False
    marker: str | None = None
    route: Route | None = None
    replica: Target | None = None
    leased = False
    sent = False
    """Whether the engine that was asked last has the request."""
    expects_end = False
    """Whether the answer is a stream that has an end of its own."""
    outcome = "ok"
    wake_seconds = 0.0
    queue_seconds = 0.0
    gpu_seconds = 0.0
    trace: Trace | None = None
    _reminder: asyncio.TimerHandle | None = None

    def __init__(
        self,
        endpoint: Endpoint,
        fields: Fields,
        body: bytes,
        request: Request,
        reply: Reply,
        key: KnownKey,
        tracing: Tracing | None = None,
    ) -> None:
        self.began = time.monotonic()
        self.endpoint = endpoint
        self.fields = fields
        self.stream = stream = fields.stream
        self.streams_events = stream and endpoint.streams
        """Whether the answer is to be an event stream."""
        self.body = body
        self.size_bytes = len(body)
        self.estimated_tokens = min(self.size_bytes // BYTES_PER_TOKEN, MOST_ESTIMATED_TOKENS) + 1
        """What it may use, before anybody has counted."""
        self.headers = headers = request.headers
        self.reply = reply
        self.key = key
        self.session = headers.get(b"x-session-id")
        """What says that requests belong together: the caller's header, or OpenAI's `prompt_cache_key`."""
        if self.session is None and fields.session is not None:
            self.session = fields.session.encode()
        self.priority = 0 if key.team is None else key.team.priority
        """Lower is earlier. Nobody may ask for more urgency than the team has; without a team that is 0."""
        if fields.priority is not None and fields.priority > self.priority:
            self.priority = fields.priority
        self.force_usage = stream and endpoint.usage_option and not _asks_for_usage(fields)
        self.tap = self._tap()
        if request.query:
            self.path = endpoint.engine_path + b"?" + request.query
        if tracing is not None:  # before the head is made: it takes the caller's trace headers out of the request
            self.trace = tracing.trace(request)
        self._head = _forwarded(headers, reply.request_id)

    @property
    def team(self) -> KnownTeam | None:
        """Whose share of a queue this is."""
        return self.key.team

    @property
    def sees_all(self) -> bool:
        """Whether its key may ask for every model, and so know of it."""
        return not self.key.allowed_models

    @property
    def affinity(self) -> bytes:
        """How its conversation begins: what a replica's prefix cache may already hold."""
        start = max(self.body.find(b'"messages"'), self.body.find(b'"prompt"'), 0)
        return self.body[start : start + AFFINITY_BYTES]

    def still_waiting(self, route: Route, why: str, eta_seconds: float | None) -> None:
        """Admission's word that the wait goes on: only a stream can be told so without lying about the status."""
        self.reply.state = route.state.encode("ascii", "replace")
        if self.streams_events:
            self.reply.hold_open(why.encode(), eta_seconds)

    def await_first_piece(self) -> None:
        """The engine has the request: until its answer begins, the client of a stream hears that nobody is lost."""
        self._reminder = asyncio.get_running_loop().call_later(holds.HEARTBEAT_SECONDS, self._remind)

    def _remind(self) -> None:
        self.reply.hold_open(b"it has the request", None)
        self.await_first_piece()

    def heard(self) -> None:
        """The answer begins, or there will be none."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    def _tap(self) -> StreamTap | WholeTap:
        return StreamTap() if self.streams_events or (self.stream and self.endpoint.multipart) else WholeTap()

    # --- what the engine is sent --------------------------------------------------------------------------------
    def outgoing(self, route: Route) -> tuple[bytes | memoryview, bytes]:
        """The body for this deployment's engines, in two pieces: as it came, and what had to be set at its end."""
        name, fields = route.served_name, self.fields
        if self.endpoint.multipart:
            if name == fields.model:
                return self.body, b""
            return openai.renamed_form(self.body, self.headers.get(b"content-type", b""), name), b""
        changes: dict[str, Any] = {}
        if name != fields.model and not self.pinned:
            changes["model"] = name
        if self.force_usage:
            # Usage on every piece too would reach the caller, who gets none by asking for that alone.
            options = {**(fields.stream_options or {}), "include_usage": True, "continuous_usage_stats": False}
            changes["stream_options"] = options if fields.stream_options else {"include_usage": True}
        if self.endpoint.takes_priority:
            wanted = self.priority if route.row.schedules_by_priority else 0
            if wanted != (fields.priority or 0):
                changes["priority"] = wanted
        return openai.amended(self.body, changes) if changes else (self.body, b"")

    def lines(self, target: Target, size: int, more: bytes) -> bytes:
        """The head of the request to this replica's engine, with `more` lines."""
        first = target.post_head(self.endpoint) if self.path is None else target.head(self.method, self.path)
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (first, self._head, more, size)

    # --- what became of it --------------------------------------------------------------------------------------
    def judge(self) -> None:
        """The answer came to its end: whether it says itself that it failed.

        Raises AnswerIncomplete for a stream that lacks its end, for its client cannot know.
        """
        if self.reply.status != 200 and self.reply.started:
            return
        failure = self.tap.end(expected=self.expects_end)
        if failure is not None:
            self.outcome = failure
        if self.tap.lacks_end:
            raise AnswerIncomplete("the engine ended the stream before its answer was complete")

    def forget_answer(self) -> None:
        """Somebody else is asked instead."""
        self.sent = False
        self.outcome = "ok"
        self.tap = self._tap()

    @property
    def used(self) -> Usage:
        """Tokens by the engine's own count; unknown where it could not say it."""
        if not self.sent or 400 <= self.reply.status < 500:
            return NOTHING
        return self.tap.usage if self.outcome == "ok" else UNKNOWN

    def owed(self, usage: Usage) -> int | None:
        """Tokens to be charged: none for what an engine failed at, unknown while nobody has counted."""
        if self.outcome not in CHARGED:
            return 0
        return usage.total

    def record(self, route: Route, usage: Usage) -> Record:
        """The proxy gives this record of an ended call to the meter; durations are in seconds, `at` is Unix time."""
        now = time.monotonic()
        tap, target, team = self.tap, self.replica, self.key.team
        return Record(
            key_id=self.key.id,
            served_name=route.served_name,
            path=self.endpoint.path,
            replica_id=target.replica_id if target else None,
            status=self.reply.status,
            outcome=self.outcome,
            stream=self.stream,
            usage=usage,
            wake_seconds=self.wake_seconds,
            queue_seconds=self.queue_seconds,
            ttft_seconds=tap.content_at - self.began if tap.content_at else None,
            e2e_seconds=now - self.began,
            at=time.time(),
            team_id=team.id if team else None,
            asked_name=self.fields.model,
            deployment_id=route.deployment_id,
            gap_seconds=tap.gap_seconds if self.stream else None,
            longest_gap_seconds=tap.longest_gap_seconds if self.stream else None,
            gpu_seconds=self.gpu_seconds,
            generation=target.generation if target else None,
            pieces=tap.pieces,
            choices=self.fields.choices if self.endpoint.several_answers else 1,
            body_bytes=self.size_bytes,
            apart=self.fields.beams and self.endpoint.several_answers,
        )


def _forwarded(headers: dict[bytes, bytes], request_id: bytes) -> bytes:
    lines = b"x-request-id: %b\r\n" % request_id
    for name in FORWARDED.intersection(headers):
        lines += b"%b: %b\r\n" % (name, headers[name])
    return lines


def _asks_for_usage(fields: Fields) -> bool:
    return bool(fields.stream_options and fields.stream_options.get("include_usage"))
