"""What is read is kept by ten seconds for a day and by the minute for a month, and asked for in one query."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gpus import samples
from gpus.models import Sample

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
FIELDS = ("used", "watts")


def fill(seconds: range, subject: str = "gpu:A") -> None:
    """Its use is the number of the second, its power unknown."""
    for second in seconds:
        samples.keep({subject: [float(second), None]}, NOON + timedelta(seconds=second))


def test_a_step_is_kept_once() -> None:
    samples.keep({"gpu:A": [1.0, 2.0], "gpu:B": [3.0, None]}, NOON + timedelta(seconds=1))
    samples.keep({"gpu:A": [9.0, 9.0]}, NOON + timedelta(seconds=9))
    assert sorted(Sample.objects.values_list("subject", "at", "values")) == [
        ("gpu:A", NOON, [1.0, 2.0]),
        ("gpu:B", NOON, [3.0, None]),
    ]


def test_minutes_that_are_over_are_made_once_and_a_missed_one_later() -> None:
    fill(range(0, 150, 10))
    samples.roll_up(NOON + timedelta(seconds=150))
    samples.roll_up(NOON + timedelta(seconds=155))
    minutes = Sample.objects.filter(step_seconds=samples.COARSE_SECONDS).order_by("at")
    assert [(row.at, row.values) for row in minutes] == [
        (NOON, [25.0, None]),
        (NOON + timedelta(minutes=1), [85.0, None]),
    ]


def test_an_hour_is_shown_as_it_was_read_with_its_gap() -> None:
    fill(range(0, 60, 10))
    fill(range(600, 660, 10))
    found = samples.series("gpu:A", FIELDS, NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=1))
    assert found.step_seconds == 10
    assert found.at == [NOON + timedelta(seconds=second) for second in (*range(0, 60, 10), *range(600, 660, 10))]
    assert found.mean["used"] == found.greatest["used"] == [*range(0, 60, 10), *range(600, 660, 10)]
    assert found.mean["watts"] == [None] * 12


def test_a_month_is_read_from_its_minutes_in_one_query_of_few_steps() -> None:
    fill(range(0, 120, 10))
    samples.roll_up(NOON + timedelta(minutes=2))
    now = NOON + timedelta(days=20)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = samples.series("gpu:A", FIELDS, now - timedelta(days=30), now, now)
    assert len(queries) == 1
    assert (found.step_seconds, found.mean["used"], found.greatest["used"]) == (7200, [55.0], [85.0])


def test_what_no_minute_is_made_of_yet_is_there_and_weighs_as_long_as_it_lasted() -> None:
    fill(range(0, 90, 10))
    samples.roll_up(NOON + timedelta(seconds=90))
    asked = (NOON - timedelta(days=7), NOON + timedelta(seconds=90), NOON + timedelta(seconds=90))
    found = samples.series("gpu:A", FIELDS, *asked)
    assert (found.at, found.mean["used"], found.greatest["used"]) == ([NOON], [40.0], [80.0])
    assert found.mean["watts"] == [None]
    Sample.objects.filter(step_seconds=samples.COARSE_SECONDS).delete()
    assert samples.series("gpu:A", FIELDS, *asked).mean["used"] == [40.0]


@pytest.mark.parametrize("hours", [0.05, 1, 6, 24, 24 * 7, 24 * 30])
def test_no_span_has_more_steps_than_a_page_can_draw(hours: float) -> None:
    now = NOON
    found = samples.series("gpu:A", FIELDS, now - timedelta(hours=hours), now, now)
    assert hours * 3600 / found.step_seconds <= samples.MOST_POINTS
    assert found.step_seconds >= (samples.FINE_SECONDS if hours <= 24 else samples.COARSE_SECONDS)


def test_what_was_kept_long_enough_goes() -> None:
    fill(range(0, 60, 10))
    samples.roll_up(NOON + timedelta(minutes=1))
    samples.forget_old(NOON + timedelta(days=1, minutes=1))
    assert set(Sample.objects.values_list("step_seconds", flat=True)) == {samples.COARSE_SECONDS}
    samples.forget_old(NOON + timedelta(days=30, minutes=1))
    assert not Sample.objects.exists()


def test_other_subjects_stay_apart() -> None:
    fill(range(0, 30, 10))
    fill(range(100, 130, 10), subject="gpu:B")
    found = samples.series("gpu:B", FIELDS, NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=1))
    assert found.mean["used"] == [100.0, 110.0, 120.0]
