"""Finished calls become rows, sums of the hour, and entries in the accounts of their engines, all or nothing."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.db import DataError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Sum

from gateway.limits.limiter import Spent
from gateway.metering.meter import DROPPED, Record
from gateway.metering.usage_rows import spent, write_usage
from gateway.models import ApiKey, EngineAccount, UsageHour, UsageRecord
from gateway.wire.usage import NOTHING, Usage
from tests import factories

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 1, 10, 59, 59, tzinfo=UTC)


def record(**changes: object) -> Record:
    given = Record(
        key_id=0,
        served_name="m",
        path="/v1/completions",
        replica_id=7,
        status=200,
        outcome="ok",
        stream=True,
        usage=Usage(10, 5, 2),
        wake_seconds=1.0,
        queue_seconds=2.0,
        ttft_seconds=3.5,
        e2e_seconds=4.0,
        at=AT.timestamp(),
        asked_name="alias",
        gap_seconds=0.25,
        longest_gap_seconds=0.5,
        gpu_seconds=0.75,
        generation=2,
        pieces=5,
        body_bytes=400,
    )
    return msgspec.structs.replace(given, **changes)


def test_a_record_keeps_what_it_was_told() -> None:
    team = factories.team()
    key, _ = factories.api_key(team=team)
    write_usage([record(key_id=key.pk, team_id=team.pk, choices=3)])
    row = UsageRecord.objects.get()
    assert (row.key, row.team, row.served_name, row.asked_name, row.at) == (key, team, "m", "alias", AT)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.told) == (10, 5, 2, "answer")
    assert (row.ttft_seconds, row.gap_seconds, row.longest_gap_seconds, row.gpu_seconds) == (3.5, 0.25, 0.5, 0.75)
    assert (row.replica_id, row.generation, row.pieces, row.prompt_copies, row.body_bytes) == (7, 2, 5, 3, 400)
    account = EngineAccount.objects.get()
    assert (account.replica_id, account.generation) == (7, 2)
    assert (account.told_prompt_tokens, account.told_completion_tokens) == (30, 5)


def test_hours_are_added_to_by_key_team_and_model() -> None:
    key, _ = factories.api_key()
    later = (AT + timedelta(seconds=1)).timestamp()
    for _ in range(2):
        write_usage([
            record(key_id=key.pk),
            record(key_id=key.pk, outcome="cancelled", usage=Usage()),
            record(key_id=key.pk, outcome="cancelled_by_operator", usage=Usage()),
            record(key_id=key.pk, outcome="engine_timeout", usage=NOTHING, replica_id=None),
            record(key_id=key.pk, at=later),
            record(key_id=key.pk, served_name="other"),
            record(),
        ])  # fmt: skip
    first = UsageHour.objects.get(key=key, served_name="m", hour=AT.replace(minute=0, second=0))
    assert (first.calls, first.failed, first.cancelled) == (8, 2, 4)
    assert (first.prompt_tokens, first.completion_tokens, first.cached_tokens) == (20, 10, 4)
    assert (first.wake_seconds, first.queue_seconds, first.e2e_seconds, first.gpu_seconds) == (8.0, 16.0, 32.0, 6.0)
    assert UsageHour.objects.count() == 4
    for name in ("prompt_tokens", "completion_tokens", "gpu_seconds"):
        total = Sum(name)
        assert UsageHour.objects.aggregate(x=total) == UsageRecord.objects.aggregate(x=total)


def test_a_key_that_is_gone_leaves_its_records_without_a_name() -> None:
    key, _ = factories.api_key()
    write_usage([record(key_id=key.pk + 1, team_id=1), record(key_id=key.pk)])
    assert set(UsageRecord.objects.values_list("key", "team")) == {(None, None), (key.pk, None)}


def test_tokens_nobody_said_are_open_where_an_engine_can_still_tell() -> None:
    write_usage([
        record(outcome="cancelled", usage=Usage()),
        record(outcome="cancelled", usage=Usage(prompt_tokens=3)),
        record(outcome="cancelled", usage=Usage(), generation=None),
    ])  # fmt: skip
    rows = UsageRecord.objects.values_list("told", "prompt_tokens", "completion_tokens")
    assert sorted(rows) == [("lost", None, None), ("open", None, None), ("open", None, None)]
    assert EngineAccount.objects.get().told_prompt_tokens == 0


def test_what_could_not_be_kept_makes_the_account_doubtful_and_no_row() -> None:
    write_usage([record()])
    assert not EngineAccount.objects.get().doubtful
    write_usage([record(outcome=DROPPED, usage=NOTHING)])
    write_usage([record()])
    assert EngineAccount.objects.get().doubtful
    assert UsageRecord.objects.count() == 2


def test_a_batch_with_a_bad_record_writes_nothing() -> None:
    with pytest.raises(DataError):
        write_usage([record(), record(pieces=1 << 40)])
    assert not UsageRecord.objects.exists()
    assert not EngineAccount.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_gateways_that_write_at_once_neither_deadlock_nor_lose_a_token() -> None:
    keys = [factories.api_key()[0].pk for _ in range(8)]
    faults: list[BaseException] = []

    def gateway(seed: int) -> None:
        source = random.Random(seed)
        try:
            for _ in range(15):
                names = [(key, model) for key in keys for model in ("a", "b", "c")]
                source.shuffle(names)
                write_usage([
                    record(key_id=key, served_name=model, replica_id=source.randrange(6)) for key, model in names
                ])  # fmt: skip
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=gateway, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    told = EngineAccount.objects.aggregate(x=Sum("told_prompt_tokens"))["x"]
    summed = UsageHour.objects.aggregate(calls=Sum("calls"), prompt=Sum("prompt_tokens"))
    assert (summed["calls"], summed["prompt"], told) == (4 * 15 * 24, 4 * 15 * 240, 4 * 15 * 240)


@pytest.mark.django_db(transaction=True)
def test_a_key_deleted_while_a_batch_is_written_costs_its_name_only() -> None:
    kept, _ = factories.api_key()
    doomed, _ = factories.api_key()
    write_usage([record(key_id=kept.pk)])

    def gateway() -> None:
        write_usage([record(key_id=doomed.pk), record(key_id=kept.pk)])
        connection.close()

    writing = threading.Thread(target=gateway)
    with transaction.atomic():
        UsageHour.objects.select_for_update().get(key=kept)
        writing.start()
        with connection.cursor() as cursor:
            while not _one_waits(cursor):
                time.sleep(0.01)
        ApiKey.objects.filter(pk=doomed.pk).delete()
    writing.join()
    assert sorted(UsageRecord.objects.values_list("key", flat=True), key=str) == [kept.pk, kept.pk, None]
    assert sorted(UsageHour.objects.values_list("key", "calls"), key=str) == [(kept.pk, 2), (None, 1)]


def _one_waits(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(cursor.fetchone()[0])


def test_spent_is_of_the_utc_day_and_month_for_those_with_a_budget() -> None:
    now = datetime(2026, 3, 15, 0, 30, tzinfo=UTC)
    rich = factories.team(tokens_per_month=10)
    key, _ = factories.api_key(team=rich, gpu_seconds_per_day=1.0)
    free, _ = factories.api_key()
    moments = (
        now,
        now - timedelta(hours=1),
        now.replace(day=1, hour=0),
        now.replace(day=1, hour=0) - timedelta(hours=1),
    )
    for moment in moments:
        write_usage([record(key_id=key.pk, team_id=rich.pk, at=moment.timestamp()), record(key_id=free.pk)])
    expected = Spent(15, 45, 0.75, 2.25)
    assert spent(now) == ({key.pk: expected}, {rich.pk: expected})


def test_calls_that_are_no_usage_are_in_their_engines_account_alone() -> None:
    key, _ = factories.api_key()
    write_usage([record(key_id=key.pk, kept=False)])
    account = EngineAccount.objects.get()
    assert (account.told_prompt_tokens, account.told_completion_tokens, account.doubtful) == (10, 5, False)
    write_usage([record(key_id=key.pk, kept=False, outcome="cancelled", usage=Usage(None, None, None))])
    account.refresh_from_db()
    assert account.doubtful
    assert not UsageRecord.objects.exists()
    assert not UsageHour.objects.exists()
