"""What a call used, read from the last bytes of its answer; plain integers in memory, rows in batches."""

import logging
import math
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from django.db import DataError, IntegrityError

from gateway import tally
from gateway.outage import FAULTS, Outage
from gateway.tally import Tally

TAIL_BYTES = 2048
KEPT_RECORDS = 50_000
BATCH = 1000
COUNTED = 100
"""So many records wait to be counted at most: a tenth of a millisecond's work."""

_CHAT = b'"content":"'
_CHAT_LENGTH = len(_CHAT)
_USAGE = b'"usage":'
_USAGE_LENGTH = len(_USAGE)
_CONTENT = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|delta|arguments|partial_json)": ?"[^"]'
).search
_RESPONSE_ID = re.compile(rb'"id": ?"([A-Za-z0-9_.-]{1,128})"').search
_COUNTS = re.compile(
    rb'"((?:prompt|completion|input|output|cached|total|cache_read_input|cache_creation_input)_tokens)": ?(\d+)'
).findall

logger = logging.getLogger(__name__)


class Usage(NamedTuple):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Details(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: _Count | None = None


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Usage of chat completions and completions, as vLLM says it."""

    prompt_tokens: _Count
    total_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _Details | None = None


_decode_usual = msgspec.json.Decoder(_Usual).decode


DROPPED = "dropped"
"""The outcome of a record that stands for others that could not be kept: what they used will never be known."""

FREE = frozenset({"/v1/tokenize", "/v1/detokenize", "/v1/messages/count_tokens", "/v1/responses/{id}"})
"""Paths for which no engine counts a token; a stored response repeats the usage of the call that made it."""

NOTHING = Usage(0, 0, 0)
"""Of a call that is known to have used no tokens: it never reached a model."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One finished call, as `UsageRecord` keeps it. Seconds are seconds, `at` is a unix time."""

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
    team_id: int | None = None
    asked_name: str = ""
    deployment_id: int | None = None
    gap_seconds: float | None = None
    longest_gap_seconds: float | None = None
    gpu_seconds: float = 0.0
    generation: int | None = None
    pieces: int = 0
    choices: int = 1
    body_bytes: int = 0


class Tap:
    """Sees an answer's bytes go by: keeps the last few, and when and how often there was content."""

    # Values of the class, so that a tap for a whole answer costs next to nothing.
    content_at: float | None = None
    pieces = 0
    _longest = 0.0
    _last_at = 0.0
    _first = b""
    _tail: deque[bytes] | None = None
    """From the second piece on."""

    def see(self, data: bytes, *, stream: bool) -> None:
        """Called for every piece on its way to the client. Searches for content, parses nothing."""
        if stream:
            # A plain search finds what most pieces hold three times as fast as the expression that knows every dialect.
            place = data.find(_CHAT) + _CHAT_LENGTH
            if (place >= _CHAT_LENGTH and data[place : place + 1] not in b'"') or _CONTENT(data):
                now = time.monotonic()
                if self.content_at is None:
                    self.content_at = now
                elif now - self._last_at > self._longest:
                    self._longest = now - self._last_at
                self._last_at = now
                self.pieces += 1
        if self._tail is not None:
            self._tail.append(data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:])
        elif self._first:
            self._tail = deque((self._first[-TAIL_BYTES:], data[-TAIL_BYTES:]), maxlen=8)
            self._first = self._first[:TAIL_BYTES]
        else:
            self._first = data

    @property
    def gap_seconds(self) -> float | None:
        """Mean time between pieces of content; None with fewer than two."""
        if self.content_at is None or self.pieces < 2:
            return None
        return (self._last_at - self.content_at) / (self.pieces - 1)

    @property
    def longest_gap_seconds(self) -> float | None:
        """The longest of them."""
        return self._longest if self.pieces > 1 else None

    @property
    def between_events(self) -> bool:
        """Whether the last byte ended an event, so that another may follow."""
        last = self._tail[-1] if self._tail else self._first
        return not last or last.endswith((b"\n\n", b"\r\n\r\n"))

    def response_id(self) -> str | None:
        """The first id in the answer: that of a stored response."""
        match = _RESPONSE_ID(self._first, 0, TAIL_BYTES)
        return match[1].decode() if match else None

    def usage(self) -> Usage:
        """The last usage object. A quoted one inside generated text has escaped quotes and does not match.

        Only of an answer that came to its end: before that some engines say what was used so far.
        """
        tail = b"".join(self._tail) if self._tail else self._first
        start = tail.rfind(_USAGE, -TAIL_BYTES)
        if start < 0:
            return Usage()
        start += _USAGE_LENGTH
        end = tail.find(b"}", start) + 1
        if tail.find(b"{", start + 2, end) > 0:  # that was the end of its details
            end = tail.find(b"}", end) + 1
        try:
            said = _decode_usual(tail[start:end])
        except msgspec.DecodeError:
            return _usage(_COUNTS(tail, start))
        details = said.prompt_tokens_details
        return Usage(said.prompt_tokens, said.completion_tokens, None if details is None else details.cached_tokens)


class Meter:
    """Counts calls, and hands their records to the database a batch at a time.

    `known` says whether a name is that of a deployment: only those become labels, never what a caller made up.
    """

    def __init__(
        self,
        write_usage: Callable[[Sequence[Record]], Awaitable[None]],
        known: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._write_usage = write_usage
        self._known = known
        self._records: deque[Record] = deque()
        self.outage = Outage("writing usage records")
        self._tallies: dict[str, Tally] = {}
        self._uncounted: list[Record] = []
        self.dropped = 0
        self._doubts: dict[tuple[int | None, int | None], Record] = {}
        self._oldest = math.inf

    def note(self, record: Record) -> None:
        """One call has ended. No I/O.

        To be called before the call's lease is given back: who sees no lease may then conclude from `written_until`.
        """
        if record.path in FREE:
            record = msgspec.structs.replace(record, usage=NOTHING)
        self._uncounted.append(record)
        if len(self._uncounted) >= COUNTED:
            self._count()
        if len(self._records) >= KEPT_RECORDS:
            self._drop(record)
            return
        self._records.append(record)
        began = record.at - record.e2e_seconds
        if began < self._oldest:
            self._oldest = began

    @property
    def tallies(self) -> dict[str, Tally]:
        """What all calls came to, by the name of the deployment."""
        self._count()
        return self._tallies

    def _count(self) -> None:
        """Many at once: counting costs a third of what it costs between the steps of a call."""
        records, self._uncounted = self._uncounted, []
        for record in records:
            counted = self._tallies.get(record.served_name)
            if counted is None and self._known(record.served_name):
                counted = self._tallies[record.served_name] = Tally()
            if counted is not None:
                _count(counted, record)

    @property
    def written_until(self) -> float:
        """Unix time: of every call that began before it and has ended, the record is in the database."""
        return self._oldest if self._records or self._doubts else time.time()

    async def flush(self) -> None:
        """Write what there is; what cannot be written is kept, up to a limit."""
        while self._records:
            batch = [self._records[place] for place in range(min(BATCH, len(self._records)))]
            if not await self._tried(batch):
                return
            for _ in batch:
                self._records.popleft()
        doubts = dict(self._doubts)
        if doubts and not await self._tried(list(doubts.values())):
            return
        self._doubts = {place: record for place, record in self._doubts.items() if record is not doubts.get(place)}
        if not self._records:
            self._oldest = math.inf

    async def _tried(self, batch: Sequence[Record]) -> bool:
        """Whether this batch is done with: written, or refused for good."""
        try:
            await self._write_usage(batch)
        except (DataError, IntegrityError) as error:  # these would fail for ever, and hold up all that follow
            logger.warning("usage records refused: count=%d error=%r", len(batch), error)
            for record in batch:
                self._drop(record)
        except FAULTS as error:
            self.outage.began(error)
            return False
        else:
            self.outage.ended()
        return True

    def _drop(self, record: Record) -> None:
        """Its row is lost; that there was one is remembered for the account of its engine."""
        self.dropped += record.outcome != DROPPED
        if record.replica_id is not None:
            place = record.replica_id, record.generation
            self._doubts[place] = msgspec.structs.replace(record, outcome=DROPPED, usage=NOTHING, asked_name="")


def _usage(found: Sequence[tuple[bytes, bytes]]) -> Usage:
    """What counts mean that are said in whatever dialect and order."""
    counts = {name: int(count) for name, count in reversed(found)}  # the first of each stays
    told = counts.get
    prompt = told(b"prompt_tokens", told(b"input_tokens"))
    completion = told(b"completion_tokens", told(b"output_tokens"))
    cached, total = told(b"cached_tokens"), told(b"total_tokens")
    if total is not None:  # what ranks or embeds completes nothing, and some of it says the total alone
        prompt = total if prompt is None and completion is None else prompt
        completion = total - (prompt or 0) if completion is None else completion
    if prompt is not None and cached is None:  # Anthropic's prompt tokens are without those of the cache
        read = told(b"cache_read_input_tokens")
        prompt, cached = prompt + (read or 0) + told(b"cache_creation_input_tokens", 0), read
    return Usage(prompt, completion, cached)


def _count(counted: Tally, record: Record) -> None:
    call = (record.path, record.status, record.outcome)
    counted.calls[call] = counted.calls.get(call, 0) + 1
    counted.wake.observe(tally.WAKE, record.wake_seconds)
    counted.queue.observe(tally.QUEUE, record.queue_seconds)
    counted.e2e.observe(tally.E2E, record.e2e_seconds)
    if record.ttft_seconds is not None:
        counted.ttft.observe(tally.TTFT, record.ttft_seconds)
    if record.gap_seconds is not None:
        counted.gap.observe(tally.GAP, record.gap_seconds)
    prompt, completion, cached = record.usage
    counted.prompt += prompt or 0
    counted.completion += completion or 0
    counted.cached += cached or 0
