"""Finished calls into rows, and what was spent out of them. Runs in a thread: the work is PostgreSQL's, not ours."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet, Sum

from gateway.limits.limiter import Spent
from gateway.metering.meter import DROPPED, Record
from gateway.metering.usage_fields import FIELDS, SUMMED, add_to_hours
from gateway.models import UsageHour

_COLUMNS = ", ".join(("key_id", "team_id", "at", *(field.name for field in FIELDS)))
_TYPED = ", ".join(f"{field.name} {field.sql_type}" for field in FIELDS)

_HOURS = add_to_hours(f"""
    SELECT date_trunc('hour', at, 'UTC') AS hour, key_id, team_id, served_name, {SUMMED}
    FROM rows WHERE kept AND outcome <> '{DROPPED}' AND (SELECT count(*) FROM accounts) >= 0
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2 NULLS FIRST, 3 NULLS FIRST, 4""")  # noqa: S608

# One statement, so that the batch is read once. A key or team deleted in the meantime leaves its records without a
# name. Accounts come before hours, and both in order: gateways that write at once wait for each other, never in a ring.
_WRITE = f"""
    WITH rows AS (
        SELECT r.*, k.id AS key_id, t.id AS team_id, to_timestamp(r.ended) AS at
        FROM jsonb_to_recordset(%s::jsonb) AS r(key bigint, team bigint, ended float8, apart bool, kept bool, {_TYPED})
        LEFT JOIN gateway_apikey k ON k.id = r.key
        LEFT JOIN gateway_team t ON t.id = r.team
    ), records AS (
        INSERT INTO gateway_usagerecord ({_COLUMNS})
        SELECT {_COLUMNS} FROM rows WHERE kept AND outcome <> '{DROPPED}' ORDER BY ended
    ), accounts AS (
        INSERT INTO gateway_engineaccount AS account (replica_id, generation, told_prompt_tokens,
            told_completion_tokens, other_prompt_tokens, other_completion_tokens, written_at, settled, doubtful, lost,
            closed)
        SELECT replica_id, generation, coalesce(sum(prompt_tokens::bigint * prompt_copies), 0),
            coalesce(sum(completion_tokens), 0), 0, 0, now(), false,
            bool_or(apart OR outcome = '{DROPPED}' OR (told = 'open' AND NOT kept)), 0, false
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
    {_HOURS}"""  # noqa: S608


def write_usage(records: Sequence[Record]) -> None:
    """Keep a batch of records and add it to the hours and to the engines' accounts, in one transaction."""
    batch = msgspec.json.encode([_row(record) for record in records]).decode()
    try:
        _write(batch)
    except IntegrityError:  # a key was deleted between our look and our commit: now it is not found
        _write(batch)


def _write(batch: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_WRITE, [batch])


def _row(record: Record) -> dict[str, Any]:
    row = {field.name: field.value(record) for field in FIELDS}
    marks = {"apart": record.apart, "kept": record.kept}
    return row | {"key": record.key_id, "team": record.team_id, "ended": record.at, **marks}


def spent(now: datetime) -> tuple[dict[int, Spent], dict[int, Spent]]:
    """Sums of the UTC day and month of `now`, by key and by team, of those that have a budget."""
    return _spent(now, "key"), _spent(now, "team")


def _spent(now: datetime, whose: str) -> dict[int, Spent]:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = _since(day.replace(day=1), whose).values_list(f"{whose}_id")
    tokens = F("prompt_tokens") + F("completion_tokens")
    today = Q(hour__gte=day)
    sums = hours.annotate(
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
