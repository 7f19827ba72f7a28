"""What a call used, read from the last bytes of its answer; plain integers in memory, rows in batches."""

import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from django.db import DataError, IntegrityError

from gateway.outage import FAULTS, Outage

TAIL_BYTES = 2048
KEPT_RECORDS = 50_000
BATCH = 1000

_CONTENT = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|delta|arguments|partial_json)": ?"[^"]'
).search
_RESPONSE_ID = re.compile(rb'"id": ?"([A-Za-z0-9_.-]{1,128})"').search
_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)": ?(\d+)').search
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)": ?(\d+)').search
_CACHED = re.compile(rb'"(?:cached_tokens|cache_read_input_tokens)": ?(\d+)').search

logger = logging.getLogger(__name__)


class Usage(NamedTuple):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


class Record(NamedTuple):
    """One finished call, as `UsageRecord` keeps it."""

    key_id: int
    served_name: str
    path: str
    replica_id: int | None
    status: int
    outcome: str
    stream: bool
    usage: Usage
    wake_seconds: float
    queue_seconds: float
    ttft_seconds: float | None
    e2e_seconds: float
    at: float


class Tap:
    """Sees an answer's bytes go by; keeps the last few and the moment of the first content."""

    __slots__ = ("_first", "_tail", "content_at")

    def __init__(self) -> None:
        self.content_at: float | None = None
        self._first = b""
        self._tail: deque[bytes] = deque(maxlen=8)

    def see(self, data: bytes, *, stream: bool) -> None:
        """Called for every piece on its way to the client."""
        if self.content_at is None and stream and _CONTENT(data):
            self.content_at = time.monotonic()
        if not self._first:
            self._first = data[:TAIL_BYTES]
        self._tail.append(data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:])

    @property
    def between_events(self) -> bool:
        """Whether the last byte ended an event, so that another may follow."""
        return not self._tail or self._tail[-1].endswith((b"\n\n", b"\r\n\r\n"))

    def response_id(self) -> str | None:
        """The first id in the answer: that of a stored response."""
        match = _RESPONSE_ID(self._first)
        return match[1].decode() if match else None

    def usage(self) -> Usage:
        """The last usage object. A quoted one inside generated text has escaped quotes and does not match."""
        tail = b"".join(self._tail)[-TAIL_BYTES:]
        start = tail.rfind(b'"usage":')
        if start < 0:
            return Usage()
        return Usage(*(int(match[1]) if match else None for match in _counts(tail, start)))


def _counts(tail: bytes, start: int) -> tuple[re.Match[bytes] | None, ...]:
    tail = tail[start:]
    return _PROMPT(tail), _COMPLETION(tail), _CACHED(tail)


class Meter:
    """Counts calls, and hands their records to the database a batch at a time."""

    def __init__(self, write_usage: Callable[[Sequence[Record]], Awaitable[None]]) -> None:
        self._write_usage = write_usage
        self._records: deque[Record] = deque()
        self.outage = Outage("writing usage records")
        self.calls: dict[tuple[str, str, int, str], int] = {}
        self.tokens: dict[tuple[str, str], int] = {}
        self.seconds: dict[tuple[str, str], tuple[int, float]] = {}
        self.dropped = 0

    def note(self, record: Record) -> None:
        """One call has ended. No I/O."""
        name = record.served_name
        key = (name, record.path, record.status, record.outcome)
        self.calls[key] = self.calls.get(key, 0) + 1
        self._add(name, "wake", record.wake_seconds)
        self._add(name, "e2e", record.e2e_seconds)
        if record.ttft_seconds is not None:
            self._add(name, "ttft", record.ttft_seconds)
        self._count(name, "prompt", record.usage.prompt_tokens)
        self._count(name, "completion", record.usage.completion_tokens)
        self._count(name, "cached", record.usage.cached_tokens)
        if len(self._records) >= KEPT_RECORDS:
            self.dropped += 1
        else:
            self._records.append(record)

    def _add(self, name: str, phase: str, seconds: float) -> None:
        count, total = self.seconds.get((name, phase), (0, 0.0))
        self.seconds[name, phase] = (count + 1, total + seconds)

    def phases(self, phase: str) -> list[tuple[tuple[str, str], tuple[int, float]]]:
        """How often, and how long in all, calls of each model spent in this phase."""
        return [(key, value) for key, value in self.seconds.items() if key[1] == phase]

    def _count(self, name: str, kind: str, tokens: int | None) -> None:
        if tokens:
            self.tokens[name, kind] = self.tokens.get((name, kind), 0) + tokens

    async def flush(self) -> None:
        """Write what there is; what cannot be written is kept, up to a limit."""
        while self._records:
            batch = [self._records[place] for place in range(min(BATCH, len(self._records)))]
            try:
                await self._write_usage(batch)
            except (DataError, IntegrityError) as error:  # these would fail for ever, and hold up all that follow
                logger.warning("usage records refused: count=%d error=%r", len(batch), error)
                self.dropped += len(batch)
            except FAULTS as error:
                self.outage.began(error)
                return
            else:
                self.outage.ended()
            for _ in batch:
                self._records.popleft()
