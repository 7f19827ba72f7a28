"""Finished calls into rows, and what was spent out of them. Runs in a thread: the work is PostgreSQL's, not ours."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet, Sum

from gateway.limits.limiter import Spent
from gateway.metering.meter import DROPPED, Record
from gateway.models import Told, UsageHour

_FIELDS = """key_id, team_id, served_name, asked_name, path, replica_id, generation, status, outcome, stream, told,
    pieces, prompt_copies, body_bytes, prompt_tokens, cached_tokens, completion_tokens, wake_seconds, queue_seconds,
    ttft_seconds, gap_seconds, longest_gap_seconds, e2e_seconds, gpu_seconds, at"""
_SUMS = (
    "calls", "failed", "cancelled", "prompt_tokens", "cached_tokens", "completion_tokens",
    "wake_seconds", "queue_seconds", "e2e_seconds", "gpu_seconds",
)  # fmt: skip

# One statement, so that the batch is read once. A key or team deleted in the meantime leaves its records without a
# name. Accounts come before hours, and both in order: gateways that write at once wait for each other, never in a ring.
_WRITE = f"""
    WITH rows AS (
        SELECT r.*, k.id AS key_id, t.id AS team_id, to_timestamp(r.ended) AS at
        FROM jsonb_to_recordset(%s::jsonb) AS r(
            key bigint, team bigint, served_name text, asked_name text, path text, replica_id bigint, generation int,
            status int, outcome text, stream bool, told text, pieces int, prompt_copies int, body_bytes bigint,
            prompt_tokens int, cached_tokens int, completion_tokens int, wake_seconds float8, queue_seconds float8,
            ttft_seconds float8, gap_seconds float8, longest_gap_seconds float8, e2e_seconds float8,
            gpu_seconds float8, ended float8, apart bool)
        LEFT JOIN gateway_apikey k ON k.id = r.key
        LEFT JOIN gateway_team t ON t.id = r.team
    ), records AS (
        INSERT INTO gateway_usagerecord ({_FIELDS})
        SELECT {_FIELDS} FROM rows WHERE outcome <> '{DROPPED}' ORDER BY ended
    ), accounts AS (
        INSERT INTO gateway_engineaccount AS account (replica_id, generation, told_prompt_tokens,
            told_completion_tokens, other_prompt_tokens, other_completion_tokens, written_at, settled, doubtful, lost,
            closed)
        SELECT replica_id, generation, coalesce(sum(prompt_tokens::bigint * prompt_copies), 0),
            coalesce(sum(completion_tokens), 0), 0, 0, now(), false, bool_or(apart OR outcome = '{DROPPED}'), 0, false
        FROM rows WHERE replica_id IS NOT NULL AND generation IS NOT NULL
        GROUP BY replica_id, generation ORDER BY replica_id, generation
        ON CONFLICT (replica_id, generation) DO UPDATE SET
            told_prompt_tokens = account.told_prompt_tokens + excluded.told_prompt_tokens,
            told_completion_tokens = account.told_completion_tokens + excluded.told_completion_tokens,
            doubtful = account.doubtful OR excluded.doubtful,
            written_at = excluded.written_at,
            settled = false,
            closed = false
        RETURNING 1
    )
    INSERT INTO gateway_usagehour AS hours (hour, key_id, team_id, served_name, {", ".join(_SUMS)})
    SELECT date_trunc('hour', at, 'UTC') AS hour, key_id, team_id, served_name, count(*),
        count(*) FILTER (WHERE outcome NOT IN ('ok', 'cancelled')), count(*) FILTER (WHERE outcome = 'cancelled'),
        {", ".join(f"coalesce(sum({name}), 0)" for name in _SUMS[3:])}
    FROM rows WHERE outcome <> '{DROPPED}' AND (SELECT count(*) FROM accounts) >= 0
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2 NULLS FIRST, 3 NULLS FIRST, 4
    ON CONFLICT (hour, key_id, team_id, served_name) DO UPDATE SET
        {", ".join(f"{name} = hours.{name} + excluded.{name}" for name in _SUMS)}"""  # noqa: S608


def write_usage(records: Sequence[Record]) -> None:
    """Keep a batch of records and add it to the hours and to the engines' accounts, in one transaction."""
    said = msgspec.json.encode([_row(record) for record in records]).decode()
    try:
        _write(said)
    except IntegrityError:  # a key was deleted between our look and our commit: now it is not found
        _write(said)


def _write(said: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_WRITE, [said])


def _row(record: Record) -> dict[str, Any]:
    prompt, completion, cached = record.usage
    known = prompt is not None and completion is not None
    open_ = not known and record.replica_id is not None and record.generation is not None
    return {
        "key": record.key_id,
        "team": record.team_id,
        "served_name": record.served_name,
        "asked_name": record.asked_name,
        "path": record.path,
        "replica_id": record.replica_id,
        "generation": record.generation,
        "status": record.status,
        "outcome": record.outcome,
        "stream": record.stream,
        "told": Told.OPEN if open_ else Told.ANSWER if known else Told.LOST,
        "pieces": record.pieces,
        "prompt_copies": record.choices,
        "body_bytes": record.body_bytes,
        "prompt_tokens": prompt if known else None,
        "cached_tokens": cached if known else None,
        "completion_tokens": completion if known else None,
        "wake_seconds": record.wake_seconds,
        "queue_seconds": record.queue_seconds,
        "ttft_seconds": record.ttft_seconds,
        "gap_seconds": record.gap_seconds,
        "longest_gap_seconds": record.longest_gap_seconds,
        "e2e_seconds": record.e2e_seconds,
        "gpu_seconds": record.gpu_seconds,
        "ended": record.at,
        "apart": record.apart,
    }


def spent(now: datetime) -> tuple[dict[int, Spent], dict[int, Spent]]:
    """Sums of the UTC day and month of `now`, by key and by team, of those that have a budget."""
    return _spent(now, "key"), _spent(now, "team")


def _spent(now: datetime, whose: str) -> dict[int, Spent]:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = _since(day.replace(day=1), whose).values_list(f"{whose}_id")
    tokens = F("prompt_tokens") + F("completion_tokens")
    today = Q(hour__gte=day)
    sums = found.annotate(
        day_tokens=Sum(tokens, filter=today, default=0),
        month_tokens=Sum(tokens),
        day_gpu_seconds=Sum("gpu_seconds", filter=today, default=0.0),
        month_gpu_seconds=Sum("gpu_seconds"),
    )
    return {number: Spent(*rest) for number, *rest in sums}


def _since(month: datetime, whose: str) -> QuerySet[UsageHour]:
    budgets = ("tokens_per_day", "tokens_per_month", "gpu_seconds_per_day", "gpu_seconds_per_month")
    wanted = Q()
    for budget in budgets:
        wanted |= Q(**{f"{whose}__{budget}__isnull": False})
    return UsageHour.objects.filter(wanted, hour__gte=month).order_by()
