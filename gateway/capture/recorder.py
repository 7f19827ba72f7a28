"""Copies calls of deployments that capture. On the path of a request bytes are only counted and kept, within bounds;
what becomes of them (`transcript`, `ring`) happens beside it. Where nothing captures, nothing here is called."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.call import Call
from gateway.capture.captured import Capture
from gateway.capture.redaction import redact
from gateway.capture.transcript import told
from gateway.metering.meter import Record
from gateway.outage import Outage
from gateway.routing.table import Route
from gateway.wire.copies import Copy, Kept

MOST_CALLS = 64
"""Copied at once, until they are redacted."""
MOST_BYTES = 16 << 20
"""Of all these copies. A body that waits for its own call costs nothing more."""
BODY_END_BYTES = 64 << 10
"""The same of a body that would exceed MOST_BYTES."""
MOST_UNWRITTEN = 256
"""Redacted calls that wait for Redis; the oldest go first."""
WRITE_SECONDS = 0.25
WRITE_LIMIT_SECONDS = 1.0
REST_RATIO = 4.0
"""Redaction pauses so many times as long as it worked: calls have the processor first."""

HEADERS = (b"content-type", b"user-agent", b"x-session-id", b"traceparent")
"""Request headers that are kept."""
HEADER_CHARS = 200

WriteCaptures = Callable[[Sequence[Capture]], Awaitable[None]]


class Finished(NamedTuple):
    """A call that ended, before it is redacted."""

    deployment_id: int
    record: Record
    request_id: str
    method: str
    headers: dict[bytes, bytes]
    body: Kept
    body_bytes: int
    copy: Copy


class Recorder:
    """Holds what is copied, and hands it on in batches. `counts` tells what became of calls that were to be kept."""

    def __init__(self, write: WriteCaptures) -> None:
        self._write = write
        self._finished: deque[Finished] = deque()
        self._unwritten: deque[Capture] = deque()
        self._copying = 0
        self._bytes = 0
        self.outage = Outage("writing captured calls")
        self.counts = {"kept": 0, "missed": 0, "dropped": 0}

    # --- on the path --------------------------------------------------------------------------------------------
    def begin(self, call: Call, routes: tuple[Route, ...]) -> None:
        """Copy this call where one of the deployments it may reach captures now, within the bounds above."""
        now = time.time()
        capturing = frozenset(route.deployment_id for route in routes if (route.row.capture_until or 0.0) > now)
        if not capturing:
            return
        if self._copying >= MOST_CALLS or self._bytes >= MOST_BYTES:
            self.counts["missed"] += 1
            return
        self._copying += 1
        call.reply.copy = Copy(capturing, tuple(route.deployment_id for route in routes), self._resize)

    def _resize(self, copy: Copy, size_bytes: int) -> None:
        """A copy grew. The one that exceeds MOST_BYTES goes."""
        self._bytes += size_bytes - copy.kept_bytes
        copy.kept_bytes = size_bytes
        if self._bytes > MOST_BYTES and size_bytes:
            copy.give_up()

    def end(self, copy: Copy, call: Call, record: Record) -> None:
        """The call has ended, and nothing more will be said. No I/O."""
        keeper = copy.keeper(record.deployment_id)
        if keeper is None or copy.given_up:
            self.counts["missed"] += keeper is not None
            self._release(copy)
            return
        request_id, method = call.reply.request_id.decode("ascii", "replace"), call.request.method.decode()
        body = self._kept(call.request.body, copy)
        headers = {name: call.request.headers[name] for name in HEADERS if name in call.request.headers}
        self._finished.append(Finished(keeper, record, request_id, method, headers, body, len(call.request.body), copy))

    def _kept(self, body: bytes, copy: Copy) -> Kept:
        """The whole body, or its ends: from now on it is held for us alone."""
        if self._bytes + len(body) <= MOST_BYTES or len(body) <= 2 * BODY_END_BYTES:
            kept = Kept(body)
        else:
            kept = Kept(body[:BODY_END_BYTES], body[-BODY_END_BYTES:], len(body) - 2 * BODY_END_BYTES)
        copy.kept_bytes += len(kept.head) + len(kept.tail)
        self._bytes += len(kept.head) + len(kept.tail)
        return kept

    def _release(self, copy: Copy) -> None:
        self._copying -= 1
        self._bytes -= copy.kept_bytes
        copy.kept_bytes = 0

    # --- beside it ----------------------------------------------------------------------------------------------
    async def keep_writing(self) -> None:
        """Redact and write what ended, for ever."""
        while True:
            await self.flush(rest_ratio=REST_RATIO)
            await asyncio.sleep(WRITE_SECONDS)

    async def flush(self, *, rest_ratio: float = 0.0) -> None:
        """Redact in a thread, then write. What cannot be written waits, up to a limit."""
        for _ in range(len(self._finished)):
            capture, worked_seconds = await self._redacted(self._finished.popleft())
            self._unwritten.append(capture)
            if len(self._unwritten) > MOST_UNWRITTEN:
                self._unwritten.popleft()
                self.counts["dropped"] += 1
            await asyncio.sleep(rest_ratio * worked_seconds)
        if self._unwritten:
            await self._try_to_write(list(self._unwritten))

    async def _redacted(self, finished: Finished) -> tuple[Capture, float]:
        interrupted = False
        try:
            return await asyncio.to_thread(_captured, finished)
        except asyncio.CancelledError:
            interrupted = True
            raise
        finally:
            if interrupted:  # the process ends: its last flush writes it
                self._finished.appendleft(finished)
            else:
                self._release(finished.copy)

    async def _try_to_write(self, waiting: Sequence[Capture]) -> None:
        with self.outage.watch():
            async with asyncio.timeout(WRITE_LIMIT_SECONDS):
                await self._write(waiting)
            self.counts["kept"] += len(waiting)
            self._unwritten.clear()


def _captured(finished: Finished) -> tuple[Capture, float]:
    """The capture, and how long the processor worked on it."""
    began = time.thread_time()
    return captured(finished), time.thread_time() - began


def captured(finished: Finished) -> Capture:
    """The call as it is kept: everything a person wrote is redacted."""
    record = finished.record
    content_type = finished.headers.get(b"content-type", b"")
    return Capture(
        at=record.at,
        request_id=finished.request_id,
        deployment=finished.deployment_id,
        served_name=record.served_name,
        asked_name=record.asked_name,
        key_id=record.key_id,
        team=record.team_id,
        method=finished.method,
        path=record.path,
        stream=record.stream,
        status=record.status,
        outcome=record.outcome,
        replica_id=record.replica_id,
        queue_seconds=record.queue_seconds,
        wake_seconds=record.wake_seconds,
        ttft_seconds=record.ttft_seconds,
        e2e_seconds=record.e2e_seconds,
        prompt_tokens=record.usage.prompt_tokens,
        cached_tokens=record.usage.cached_tokens,
        completion_tokens=record.usage.completion_tokens,
        headers={
            name.decode(): redact(value.decode("latin-1"))[:HEADER_CHARS] for name, value in finished.headers.items()
        },
        request=told(finished.body, content_type),
        request_bytes=finished.body_bytes,
        response=told(finished.copy.kept()),
        response_bytes=finished.copy.size_bytes,
    )
