"""What calls used and how they fared: plain integers in memory, rows in batches."""

import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from django.db import DataError, IntegrityError

from gateway.metering import tally
from gateway.metering.tally import Tally
from gateway.metering.trail import Step
from gateway.outage import Outage
from gateway.wire.usage import NOTHING, Usage

KEPT_RECORDS = 50_000
BATCH = 1000
COUNTED = 100
"""So many records wait to be counted at most: a tenth of a millisecond's work."""

logger = logging.getLogger(__name__)

DROPPED = "dropped"
"""The outcome of a record that stands for others that could not be kept: what they used will never be known."""

FREE = frozenset({"/v1/tokenize", "/v1/detokenize", "/v1/messages/count_tokens", "/v1/responses/{id}"})
"""Paths for which no engine counts a token; a stored response repeats the usage of the call that made it."""


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
    request_id: str = ""
    beside: int | None = None
    trail: list[Step] | None = None
    apart: bool = False
    """The engine counts for it what nobody used: the next difference of its account is nobody's."""
    kept: bool = True
    """Whether it is usage; else its engine's account alone knows of it."""


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
        if record.kept:
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

    def doubt(self, record: Record) -> None:
        """An engine may have counted for a call that somebody else answered in the end. To be called like `note`."""
        if record.replica_id is not None:
            place = record.replica_id, record.generation
            self._doubts[place] = msgspec.structs.replace(record, outcome=DROPPED, usage=NOTHING, asked_name="")
            self._oldest = min(self._oldest, record.at - record.e2e_seconds)

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
        with self.outage.watch() as attempt:
            try:
                await self._write_usage(batch)
            except (DataError, IntegrityError) as error:  # these would fail for ever, and hold up all that follow
                logger.warning("usage records refused: count=%d error=%r", len(batch), error)
                for record in batch:
                    self._drop(record)
        return not attempt.failed

    def _drop(self, record: Record) -> None:
        """Its row is lost; that there was one is remembered for the account of its engine."""
        self.dropped += record.outcome != DROPPED
        self.doubt(record)


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
