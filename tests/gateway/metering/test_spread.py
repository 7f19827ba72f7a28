"""Spreads of calls: what is made of steps that are over says what the calls themselves say."""

import random
import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway.metering import spread, spread_read, spread_rows
from gateway.metering.spread_read import Sought
from gateway.metering.spread_rows import DAY, FINE, HOUR
from gateway.metering.usage_fields import SUMMED, add_to_hours
from gateway.models import ApiKey, Team, UsageHour, UsageRecord, UsageSpread
from tests import factories

pytestmark = pytest.mark.django_db
NOW = datetime(2030, 1, 31, 12, 34, tzinfo=UTC)
DAYS = 4


def call(at: datetime, **fields: Any) -> UsageRecord:
    given = {"served_name": "chat", "path": "/v1/completions", "status": 200, "outcome": "ok", "stream": True}
    return UsageRecord(**(given | {"e2e_seconds": 1.0, "at": at} | fields))


def add_up() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            add_to_hours(f"""
                SELECT date_trunc('hour', at, 'UTC'), key_id, team_id, served_name, {SUMMED}
                FROM gateway_usagerecord GROUP BY 1, 2, 3, 4""")
        )


def roll_up(now: datetime = NOW) -> None:
    spread_rows.roll_up(now, 60.0)


@pytest.fixture
def keys() -> list[ApiKey]:
    teams = [factories.team("blue"), factories.team("red")]
    return [factories.api_key(name=f"key-{number}", team=teams[number % 2])[0] for number in range(3)]


@pytest.fixture
def calls(keys: list[ApiKey]) -> None:
    """Some days of them, with everything that a call may lack."""
    dice = random.Random(7)
    made = []
    for _ in range(600):
        key = dice.choice(keys)
        made.append(
            call(
                NOW - timedelta(seconds=dice.uniform(0, DAYS * DAY)),
                key=dice.choice([key, None]),
                team=dice.choice([key.team, None]),
                served_name=dice.choice(["chat", "code"]),
                outcome=dice.choice(["ok", "ok", "cancelled", "engine_failed"]),
                completion_tokens=dice.choice([None, 0, 200]),
                ttft_seconds=dice.choice([None, dice.lognormvariate(-2, 2)]),
                gap_seconds=dice.choice([None, 0.00001, dice.lognormvariate(-4, 1)]),
                queue_seconds=dice.choice([0.0, dice.lognormvariate(0, 2)]),
                wake_seconds=dice.choice([0.0, 0.0, 30 * dice.random()]),
                e2e_seconds=dice.lognormvariate(1, 1),
            )
        )
    UsageRecord.objects.bulk_create(made)
    add_up()


def questions() -> Iterator[Sought]:
    """Of every grouping, narrowed in every way, of steps and of all together."""
    team, key = Team.objects.get(name="blue").pk, ApiKey.objects.get(name="key-1").pk
    narrow: Sequence[dict[str, Any]] = (
        {},
        {"model": "chat"},
        {"team": team},
        {"key": key},
        {"model": "code", "key": key},
    )
    whole = spread_rows.floor(NOW, HOUR) - timedelta(days=DAYS)
    for narrowed in narrow:
        for by in ((), ("model",), ("team",), ("key",), ("model", "team", "key")):
            for step in (None, FINE, HOUR, 4 * HOUR, DAY):
                yield Sought(whole, NOW, spread.MEASURES, by, narrowed, step)
    for hours in (0.3, 5.0, 30.0, 60.0, 95.0):
        yield Sought(NOW - timedelta(hours=hours), NOW - timedelta(hours=hours / 7), spread.MEASURES, ("model",))


def answers(sought: Sought) -> dict[Any, Any]:
    """Without groups of which there is nothing to tell."""
    found = spread_read.read(sought, NOW)
    told = {group: {name: +counts for name, counts in one.items() if +counts} for group, one in found.items()}
    return {group: one for group, one in told.items() if one}


@pytest.mark.usefixtures("calls")
def test_steps_that_are_made_say_what_their_calls_say() -> None:
    before = [answers(sought) for sought in questions()]
    roll_up()
    assert set(spread_rows.made()) == {FINE, HOUR, DAY}
    assert sum(map(len, before)) > 1000
    assert [answers(sought) for sought in questions()] == before


@pytest.mark.usefixtures("calls")
def test_of_a_long_span_only_its_last_minutes_are_read_from_calls() -> None:
    roll_up()
    since = spread_rows.floor(NOW - timedelta(days=DAYS), HOUR)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        spread_read.read(Sought(since, NOW, spread.MEASURES, ("key",)), NOW)
    of_calls = [query["sql"] for query in queries if "gateway_usagerecord" in query["sql"]]
    assert len(of_calls) == 1
    assert f"at >= '{NOW - timedelta(minutes=4)}'" in of_calls[0]
    assert len(queries) <= 9


@pytest.mark.usefixtures("calls")
def test_what_is_made_is_not_made_again() -> None:
    roll_up()
    rows = set(UsageSpread.objects.values_list("pk", flat=True))
    roll_up()
    assert set(UsageSpread.objects.values_list("pk", flat=True)) == rows
    roll_up(NOW + timedelta(minutes=5))
    new = UsageSpread.objects.exclude(pk__in=rows)
    assert {(row.step_seconds, row.at) for row in new} == {(FINE, spread_rows.floor(NOW, FINE))}


@pytest.mark.usefixtures("calls")
def test_a_call_that_is_written_late_is_counted_in_all_its_steps() -> None:
    roll_up()
    late = NOW - timedelta(days=1, hours=2)
    before = answers(Sought(late, NOW, spread.MEASURES, (), {}, DAY))
    call(late, outcome="wake_timeout").save()
    UsageHour.objects.filter(hour=spread_rows.floor(late, HOUR)).delete()
    UsageHour.objects.create(hour=spread_rows.floor(late, HOUR), served_name="chat", calls=1000)
    roll_up()
    for seconds in (FINE, HOUR, DAY):
        row = UsageSpread.objects.get(
            step_seconds=seconds, at=spread_rows.floor(late, seconds), grouped=spread_rows.TOGETHER
        )
        assert row.spread["outcome"]["wake_timeout"] == 1
    assert answers(Sought(late, NOW, spread.MEASURES, (), {}, DAY)) != before


def test_without_any_call_nothing_is_made() -> None:
    roll_up()
    assert not UsageSpread.objects.exists()


def test_hours_without_calls_are_made_too() -> None:
    call(NOW - timedelta(hours=30)).save()
    roll_up()
    assert UsageSpread.objects.filter(step_seconds=HOUR, grouped=spread_rows.TOGETHER).count() == 30
    assert UsageSpread.objects.filter(step_seconds=HOUR).exclude(grouped=spread_rows.TOGETHER).count() == 5


@pytest.mark.usefixtures("calls")
def test_a_key_that_is_gone_is_nobody(keys: list[ApiKey]) -> None:
    roll_up()
    sought = Sought(NOW - timedelta(days=DAYS), NOW, ("outcome",), ("key",))
    before = {group: told["outcome"].total() for group, told in answers(sought).items()}
    gone = keys[0].pk
    UsageRecord.objects.filter(key=gone).update(key=None)
    UsageHour.objects.all().delete()
    keys[0].delete()
    after = {group: told["outcome"].total() for group, told in answers(sought).items()}
    assert (None, gone) not in after
    assert after[None, None] == before[None, None] + before[None, gone]


@pytest.mark.usefixtures("calls")
def test_fine_steps_go_after_two_days_and_the_others_with_their_calls(settings: Any) -> None:
    roll_up()
    spread_rows.forget(NOW + timedelta(days=1))
    assert spread_rows.made()[FINE][0] == spread_rows.floor(NOW - timedelta(days=1), HOUR)
    settings.USAGE_DAYS = 1
    spread_rows.forget(NOW)
    assert spread_rows.made()[HOUR][0] == spread_rows.floor(NOW, HOUR) - timedelta(hours=23)


@pytest.mark.parametrize("part", [0.5, 0.95])
def test_quantiles_are_told_to_within_two_percent(part: float) -> None:
    dice = random.Random(3)
    taken = [dice.lognormvariate(-1, 2) for _ in range(1001)]
    UsageRecord.objects.bulk_create(call(NOW - timedelta(minutes=1), ttft_seconds=seconds) for seconds in taken)
    [found] = spread_read.read(Sought(NOW - timedelta(hours=1), NOW, ("ttft",)), NOW).values()
    told = spread.quantiles(found, {"ttft": ("ttft", part)})["ttft"]
    exact = statistics.quantiles(taken, n=100, method="inclusive")[int(part * 100) - 1]
    assert told == pytest.approx(exact, rel=0.02)


def test_quantiles_of_few_lie_between_them_and_of_none_are_unknown() -> None:
    found: spread.Spread = {}
    spread.add(found, {"wake": {"0": 3, "264": 1}, "ttft": None})
    told = spread.quantiles(found, {"half": ("wake", 0.5), "most": ("wake", 1.0), "never": ("ttft", 0.5)})
    assert told == {"half": 0.0, "most": pytest.approx(spread.seconds(264)), "never": None}
    assert spread.quantiles(found, {"between": ("wake", 5 / 6)})["between"] == pytest.approx(spread.seconds(264) / 2)
