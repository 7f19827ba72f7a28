"""Makes the sum of all records equal the engine's own counters, calls that were cancelled included.

An answer that does not come to its end has no usage object: its record is open. When an engine is quiet (no gateway
holds a lease on it, it runs and queues nothing) and every record of what it did is written, the difference between its
counters and the records is what the open ones used; it is divided among them. What falls to a call that its engine
failed is charged to nobody. Where anybody else may have caused the difference (a gateway was killed with records
unwritten, records had to be dropped, a beam search counted far more than it used) it is nobody's, and they are lost.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from redis import RedisError

from gateway.metering.usage_fields import SUMS, add_to_hours
from gateway.models import EngineAccount, Told, UsageRecord
from gateway.wire.usage import CHARGED
from models_app.engines import metrics
from models_app.models import Replica
from models_app.states import State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport

CLOCK_SECONDS = 1.0
"""By how much the clocks of the machines that run gateways may differ."""

ANSWERS = (State.READY, State.DRAINING, State.SLEEPING)
GONE = (State.PENDING, State.STOPPED, State.FAILED)

_CHARGED = ("prompt_tokens", "completion_tokens")
_ADD_TO_HOUR = add_to_hours(f"VALUES (%s, %s, %s, %s, {', '.join('%s' if name in _CHARGED else '0' for name in SUMS)})")

logger = logging.getLogger(__name__)


class Counters(NamedTuple):
    """Tokens an engine has counted since its start."""

    prompt_tokens: int
    completion_tokens: int


NOBODY = Counters(0, 0)


class Settlement:
    """Goes over the accounts again and again; remembers only which gateways were missing the last time."""

    def __init__(self) -> None:
        self._missing: set[str] = set()

    def settle(self) -> None:
        """One pass. An account is settled by the second pass that finds its engine quiet and its counters the same."""
        try:
            reports = self._reports()
        except (RedisError, OSError) as error:
            logger.warning("nothing settled: error=%s", error)
            return
        accounts = list(EngineAccount.objects.filter(closed=False))
        replicas = Replica.objects.in_bulk([account.replica_id for account in accounts])
        live: dict[str, tuple[EngineAccount, Replica]] = {}
        for account in accounts:
            replica = replicas.get(account.replica_id)
            if replica is None or replica.generation != account.generation or replica.state in GONE:
                close(account)
            elif reports and not account.settled and replica.state in ANSWERS:
                live[replica.marker] = account, replica
        gauges = metrics.scrape({marker: replica.url for marker, (_, replica) in live.items()})
        for marker, (account, replica) in live.items():
            _compare(account, replica, _quiet(marker, gauges.get(marker), reports), reports)

    def _reports(self) -> list[GatewayReport]:
        """What the gateways say; nothing while one of them is missing that did not end in order.

        One that is still missing the next time was killed: what it knew and had not written is lost.
        """
        expected = activity.unended()
        reports = activity.read_reports()
        missing = (expected & activity.unended()) - {report.gateway_id for report in reports}
        killed, self._missing = missing & self._missing, missing
        if killed:
            logger.warning("gateways ended without a word, open calls may be lost: %s", sorted(killed))
            EngineAccount.objects.filter(closed=False).update(doubtful=True, settled=False)
            activity.bury(killed)
            self._missing -= killed
        return [] if self._missing else reports


def _quiet(marker: str, said: metrics.EngineMetrics | None, reports: Iterable[GatewayReport]) -> Counters | None:
    """The engine's counters, if nobody uses it now."""
    if said is None or any(report.leases.get(marker) for report in reports):
        return None
    prompt_tokens, completion_tokens = said["prompt_tokens"], said["generation_tokens"]
    if said["running"] != 0 or said["waiting"] != 0 or prompt_tokens is None or completion_tokens is None:
        return None
    return Counters(prompt_tokens, completion_tokens)


def _compare(account: EngineAccount, replica: Replica, now: Counters | None, reports: Iterable[GatewayReport]) -> None:
    """Note the counters; settle where they did not change since all that they count was written."""
    seen = account.seen_prompt_tokens, account.seen_completion_tokens
    if now is None or account.seen_at is None or seen != now:
        account.seen_prompt_tokens, account.seen_completion_tokens = now or (None, None)
        account.seen_at = timezone.now() if now else None
        account.save(update_fields=["seen_prompt_tokens", "seen_completion_tokens", "seen_at"])
        return
    written = account.seen_at + timedelta(seconds=CLOCK_SECONDS)
    if all(report.written_until >= written.timestamp() for report in reports):
        agree(account, now, Counters(*replica.own_tokens))


@transaction.atomic
def agree(account: EngineAccount, counters: Counters, own: Counters) -> None:
    """Divide what the engine counted beyond all records, and beyond our `own` canaries, among the open ones."""
    held = EngineAccount.objects.select_for_update().get(pk=account.pk)
    prompt = counters.prompt_tokens - own.prompt_tokens - held.told_prompt_tokens - held.other_prompt_tokens
    completion = (
        counters.completion_tokens - own.completion_tokens - held.told_completion_tokens - held.other_completion_tokens
    )
    open_records = _open(held)
    records = list(open_records.order_by("pk"))
    if held.doubtful or prompt < 0 or completion < 0:
        charged = NOBODY
    else:
        charged = _divide(records, prompt, completion)
    other = Counters(prompt - charged.prompt_tokens, completion - charged.completion_tokens)
    if any(other):
        logger.warning("%s: %d prompt and %d completion tokens are nobody's", held, *other)
    held.told_prompt_tokens += charged.prompt_tokens
    held.told_completion_tokens += charged.completion_tokens
    held.other_prompt_tokens += other.prompt_tokens
    held.other_completion_tokens += other.completion_tokens
    held.lost += open_records.update(told=Told.LOST)
    held.doubtful = False
    held.settled = True
    held.save()


@transaction.atomic
def close(account: EngineAccount) -> None:
    """The engine is gone, and with it what it counted: what is open stays unknown."""
    held = EngineAccount.objects.select_for_update().get(pk=account.pk)
    lost = _open(held).update(told=Told.LOST)
    EngineAccount.objects.filter(pk=held.pk).update(closed=True, lost=F("lost") + lost)


def _open(account: EngineAccount) -> QuerySet[UsageRecord]:
    return UsageRecord.objects.filter(replica_id=account.replica_id, generation=account.generation, told=Told.OPEN)


def _divide(records: Sequence[UsageRecord], prompt: int, completion: int) -> Counters:
    """Give each its share, and tell what was charged: what its engine failed costs a caller nothing."""
    prompts = shares(prompt, [record.body_bytes for record in records])
    completions = _completions(completion, records)
    charged: list[UsageRecord] = []
    hours: defaultdict[tuple[datetime, int | None, int | None, str], list[int]] = defaultdict(lambda: [0, 0])
    for record, prompt_tokens, completion_tokens in zip(records, prompts, completions, strict=True):
        if record.outcome not in CHARGED:
            continue
        record.prompt_tokens, record.completion_tokens = prompt_tokens, completion_tokens
        record.told, record.prompt_copies = Told.COUNTERS, 1
        charged.append(record)
        hour = record.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        sums = hours[hour, record.key_id, record.team_id, record.served_name]
        sums[0] += prompt_tokens
        sums[1] += completion_tokens
    UsageRecord.objects.bulk_update(
        charged, ["prompt_tokens", "completion_tokens", "told", "prompt_copies"], batch_size=500
    )
    # In the order in which gateways add to them.
    places = sorted(hours, key=lambda place: (place[0], place[1] or 0, place[2] or 0, place[3]))
    with connection.cursor() as cursor:
        cursor.executemany(_ADD_TO_HOUR, [(*place, *hours[place]) for place in places])
    return Counters(sum(sums[0] for sums in hours.values()), sum(sums[1] for sums in hours.values()))


def _completions(total: int, records: Sequence[UsageRecord]) -> list[int]:
    """A stream made about as many tokens as the pieces it relayed; what is left was made by those that do not stream,
    in the time they took."""
    pieces = [record.pieces if record.stream else 0 for record in records]
    busy = [0 if record.stream else _engine_milliseconds(record) for record in records]
    streamed = min(total, sum(pieces)) if any(busy) else total
    parts = zip(shares(streamed, pieces), shares(total - streamed, busy), strict=True)
    return [part + more for part, more in parts]


def _engine_milliseconds(record: UsageRecord) -> int:
    return max(round(1000 * (record.e2e_seconds - record.wake_seconds - record.queue_seconds)), 1)


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts as the weights are to each other; what does not divide goes to the heaviest."""
    if not weights:
        return []
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    parts[weights.index(max(weights))] += total - sum(parts)
    return parts
