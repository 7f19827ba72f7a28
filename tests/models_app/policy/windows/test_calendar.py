"""When windows open: around both changes of the clocks in several zones, and what cannot be read, in words."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.policy.windows import calendar, zones
from models_app.policy.windows.calendar import Recurrence, openings, overlap, standing
from sardeenz.errors import InvalidSpec

HOUR = 3600.0
SPRING = datetime(2027, 3, 27, 22, tzinfo=UTC)
AUTUMN = datetime(2027, 10, 30, 22, tzinfo=UTC)


def cron(expression: str, zone: str = "Europe/Berlin", seconds: float = HOUR) -> Recurrence:
    """A window by cron expression."""
    return Recurrence(zone, seconds, expression)


def at(recurrence: Recurrence, after: datetime, count: int) -> list[str]:
    """Its next openings, as UTC and as its own clock shows them."""
    here = zones.zone(recurrence.zone)
    coming = islice(openings(recurrence, after), count)
    return [f"{one.opens_at:%H:%M}Z {one.opens_at.astimezone(here):%H:%M}" for one in coming]


def shifts(recurrence: Recurrence, after: datetime, count: int) -> list[str]:
    """What a change of the clocks does to each."""
    return [one.shift for one in islice(openings(recurrence, after), count)]


def test_a_skipped_time_opens_when_the_clocks_have_changed() -> None:
    window = cron("30 2 * * *")
    assert at(window, SPRING, 2) == ["01:00Z 03:00", "00:30Z 02:30"]
    first = next(openings(window, SPRING))
    said = "the clocks skip 02:30 that day: it opens after that, at 03:00 CEST"
    assert (first.shift, calendar.words(first, window.zone)) == ("skipped", said)


def test_a_time_that_comes_twice_opens_once_at_the_first() -> None:
    window = cron("30 2 * * *")
    assert at(window, AUTUMN, 2) == ["00:30Z 02:30", "01:30Z 02:30"]  # two days: the next one's offset is another
    assert shifts(window, AUTUMN, 2) == ["first_of_two", ""]


@pytest.mark.parametrize("minutes", ["*/30", "0,30"])
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2027, 10, 31, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
        ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),  # its clocks move by half an hour
    ],
)
def test_every_half_hour_stays_every_half_hour_however_it_is_written(minutes: str, zone: str, change: datetime) -> None:
    window = cron(f"{minutes} * * * *", zone)
    coming = [one.opens_at for one in islice(openings(window, change - timedelta(hours=3)), 12)]
    assert {later - earlier for earlier, later in pairwise(coming)} == {timedelta(minutes=30)}


def test_days_and_a_time_are_the_same_as_their_cron_expression() -> None:
    by_days = Recurrence("America/New_York", HOUR, weekdays=("sun", "wed"), at=time(2, 30))
    by_cron = cron("30 2 * * 0,3", "America/New_York")
    assert list(islice(openings(by_days, SPRING), 300)) == list(islice(openings(by_cron, SPRING), 300))


def test_a_duration_counts_real_seconds_and_says_what_the_clock_shows_then() -> None:
    night = cron("0 22 * * *", seconds=8 * HOUR)
    opening = next(openings(night, datetime(2027, 10, 30, 12, tzinfo=UTC)))
    assert opening.closes_at - opening.opens_at == timedelta(hours=8)
    assert calendar.words(opening, night.zone) == "the clocks change while it is open: it closes at 05:00 CET"


def test_of_day_of_month_and_weekday_either_is_enough_and_l_is_the_last_day() -> None:
    start = datetime(2027, 8, 1, tzinfo=UTC)
    either = [one.opens_at.day for one in islice(openings(cron("0 0 13 * 5", "UTC"), start), 5)]
    assert either == [6, 13, 20, 27, 3]
    last = [one.opens_at.day for one in islice(openings(cron("0 0 L * *", "UTC"), start), 3)]
    assert last == [31, 30, 31]
    months = [one.opens_at.month for one in islice(openings(cron("0 0 31 * *", "UTC"), start), 3)]
    assert months == [8, 10, 12]


@pytest.mark.parametrize(
    ("expression", "zone", "field", "words"),
    [
        ("0 9 * * * *", "UTC", "cron", "has 6; windows open at whole minutes, so leave the seconds out"),
        ("0 9 * *", "UTC", "cron", "has five fields"),
        ("61 * * * *", "UTC", "cron", "the minute is not one: 0 to 59"),
        ("0 9 * * 8", "UTC", "cron", "the day of week is not one: 0 to 7 or SUN to SAT"),
        ("0 9 31 2 *", "UTC", "cron", "the day of month is not one: 1 to 31, L for the last, in a month that has it"),
        ("@daily", "UTC", "cron", "five fields"),
        ("0 9 * * *", "Europe/Berln", "zone", "there is no time zone 'Europe/Berln'; write an IANA name"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field_and_the_fix(
    expression: str, zone: str, field: str, words: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        calendar.check(cron(expression, zone))
    assert words in refused.value.message
    assert refused.value.fields["field"] == field


def test_it_stands_open_between_opening_and_closing_and_names_its_next_edge() -> None:
    day = cron("0 9 * * 1-5", seconds=8 * HOUR)
    before, within = datetime(2027, 6, 7, 6, tzinfo=UTC), datetime(2027, 6, 7, 7, tzinfo=UTC)
    opens, closes = datetime(2027, 6, 7, 7, tzinfo=UTC), datetime(2027, 6, 7, 15, tzinfo=UTC)
    assert (standing(day, before).open, standing(day, before).edge) == (False, opens)
    assert (standing(day, within).since, standing(day, within).edge) == (opens, closes)
    assert not standing(day, closes).open


def test_openings_that_overlap_are_one_time_open() -> None:
    window = cron("*/30 9-11 * * *", "UTC", 45 * 60)
    now = datetime(2027, 6, 7, 10, 10, tzinfo=UTC)
    assert standing(window, now).until == datetime(2027, 6, 7, 12, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "zone", "hours"),
    [
        ("* * * * *", "Europe/Berlin", 1 / 30),
        ("0 * * * *", "Europe/Berlin", 1.0),
        ("0 0-23 * * *", "Europe/Berlin", 2.0),  # an hour longer than its gaps: that is what autumn takes
        ("0 0-23 * * *", "UTC", 1.0),
        ("0 9 * * 1", "America/New_York", 7 * 24 + 1.0),
        ("0 0 * * *", "UTC", 24.0),
    ],
)
def test_one_that_opens_again_before_it_closes_never_closes(expression: str, zone: str, hours: float) -> None:
    found = standing(cron(expression, zone, hours * HOUR), datetime(2027, 6, 7, 10, 10, tzinfo=UTC))
    assert (found.open, found.until, found.edge, found.next) == (True, None, None, None)


@pytest.mark.parametrize(
    ("expression", "zone", "hours", "closes"),
    [
        ("0 0-23 * * *", "Europe/Berlin", 1.0, datetime(2027, 10, 31, 1, tzinfo=UTC)),  # two equal hours, one opening
        ("* * * * 1-6", "UTC", 1.0, datetime(2027, 6, 13, 0, 59, tzinfo=UTC)),
        ("*/5 * 1-28 * *", "UTC", 24.0, datetime(2027, 6, 29, 23, 55, tzinfo=UTC)),
        ("0 0 * * *", "America/New_York", 24.0, datetime(2027, 11, 8, 4, tzinfo=UTC)),
    ],
)
def test_a_gap_is_found_however_many_openings_lie_before_it(
    expression: str, zone: str, hours: float, closes: datetime
) -> None:
    window = cron(expression, zone, hours * HOUR)
    found = standing(window, datetime(2027, 6, 7, 10, 10, tzinfo=UTC))
    assert found.until == closes
    assert found.next == next(openings(window, closes))
    assert standing(replace(window, valid_until=closes), datetime(2027, 6, 7, 10, 10, tzinfo=UTC)).until == closes


def test_it_opens_at_no_time_outside_its_validity() -> None:
    first, last = datetime(2027, 6, 8, 9, tzinfo=UTC), datetime(2027, 6, 9, 10, tzinfo=UTC)
    window = Recurrence("UTC", 8 * HOUR, "0 9 * * *", valid_from=first, valid_until=last)
    coming = list(openings(window, datetime(2027, 6, 1, tzinfo=UTC)))
    assert [one.opens_at for one in coming] == [first, first + timedelta(days=1)]
    assert coming[-1].closes_at == last
    assert standing(window, last).edge is None


def test_overlaps_are_found_between_windows_of_different_zones() -> None:
    berlin, york = cron("0 9 * * *", seconds=8 * HOUR), cron("0 9 * * *", "America/New_York", 8 * HOUR)
    both = overlap(berlin, york, SPRING)
    assert both is not None
    assert both[0].opens_at < both[1].closes_at
    nights = cron("0 17 * * *", seconds=8 * HOUR)
    assert overlap(berlin, nights, SPRING) is None


@settings(max_examples=40, deadline=None)
@given(
    minutes=st.integers(0, 2 * 366 * 24 * 60),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Vancouver", "UTC"]),
    expression=st.sampled_from(["30 2 * * *", "*/30 * * * *", "0 0 * * 1-5", "15 1-3 * * *", "0 0 1 * *"]),
    hours=st.sampled_from([0.25, 1.0, 30.0]),
)
def test_standing_agrees_with_the_list_of_openings(minutes: int, zone: str, expression: str, hours: float) -> None:
    window = cron(expression, zone, hours * HOUR)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    begun = [one for one in islice(openings(window, now - timedelta(hours=hours + 1)), 100) if one.opens_at <= now]
    assert standing(window, now).open == any(one.closes_at > now for one in begun)
    coming = [one.opens_at for one in islice(openings(window, now), 20)]
    assert coming == sorted(set(coming))
    assert coming[0] > now


def test_the_newer_zone_database_is_used_and_named() -> None:
    known = zones.database()
    assert known.version == max(known.package, known.system)
    assert known.words.startswith(f"time zones of {known.version}, from the {known.used}")
    moment = datetime(2027, 1, 15, tzinfo=UTC)  # the package knows that British Columbia keeps summer time from 2026 on
    assert moment.astimezone(zones.zone("America/Vancouver")).utcoffset() == timedelta(hours=-7)
