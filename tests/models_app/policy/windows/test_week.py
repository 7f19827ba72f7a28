"""A week as pages draw it: where windows and overrides lie in it, by any zone's clock."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from models_app.models import Override, Window
from models_app.policy.windows import week
from models_app.policy.windows.calendar import Recurrence
from tests import factories

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 10, 19, tzinfo=UTC)
"""Its Sunday is the day on which Berlin's clocks are put back."""


def window(name: str, cron: str, hours: float = 2, zone: str = "Europe/Berlin", **more: Any) -> Window:
    """A window, open for some hours."""
    return Window.objects.create(name=name, cron=cron, zone=zone, duration_seconds=hours * 3600, **more)


def drawn(day: date, zone: str = "Europe/Berlin", now: datetime = MONDAY) -> dict[str, list[tuple[str, str]]]:
    """Each lane's spans: who, and when by the clock."""
    return {
        lane["name"]: [(span["name"], span["times"]) for span in lane["spans"]]
        for lane in week.of(day, zone, now)["lanes"]
    }


def test_each_deployment_and_label_has_a_lane_with_all_that_is_said_of_it() -> None:
    chat = factories.deployment(name="chat")
    work = window("work", "0 9 * * 1,2", 9)
    work.states.create(deployment=chat, priority=5, level="awake")
    work.states.create(label="team=dev", kv_weight=3)
    window("weekend", "0 12 * * 6", 1).states.create(deployment=chat, priority=1)
    row = week.of(date(2026, 10, 22), "Europe/Berlin", MONDAY)
    assert [(lane["kind"], lane["name"], len(lane["spans"])) for lane in row["lanes"]] == [
        ("deployment", "chat", 3),
        ("label", "team=dev", 2),
    ]
    assert row["lanes"][0]["spans"][0]["times"] == "Sat 12:00 to 13:00 CEST"
    said = {span["name"]: span["words"] for span in row["lanes"][0]["spans"]}
    assert said == {"work": "level awake, priority 5", "weekend": "priority 1"}


def test_a_day_has_an_hour_more_or_less_where_the_clocks_change() -> None:
    lengths = [
        (datetime.fromisoformat(day["ends_at"]) - datetime.fromisoformat(day["begins_at"])).total_seconds() / 3600
        for day in week.of(date(2026, 10, 19), "Europe/Berlin", MONDAY)["days"]
    ]
    assert lengths == [24, 24, 24, 24, 24, 24, 25]
    spring = week.of(date(2026, 3, 29), "Europe/Berlin", MONDAY)["days"]
    assert [spring[0]["date"], spring[-1]["date"]] == ["2026-03-23", "2026-03-29"]
    assert (spring[-1]["begins_at"], spring[-1]["ends_at"]) == (
        "2026-03-28T23:00:00+00:00",
        "2026-03-29T22:00:00+00:00",
    )


def test_one_that_began_last_week_reaches_into_this_one_and_a_change_of_clocks_is_said() -> None:
    chat = factories.deployment(name="chat")
    window("night", "0 20 * * *", 11).states.create(deployment=chat, priority=5)
    spans = week.of(date(2026, 10, 19), "Europe/Berlin", MONDAY)["lanes"][0]["spans"]
    assert (len(spans), spans[0]["times"]) == (8, "Sun 20:00 to Mon 07:00 CEST")
    noted = {span["times"]: span["note"] for span in spans if span["note"]}
    assert list(noted) == ["Sat 20:00 to Sun 06:00 CET"]
    assert "the clocks change while it is open" in noted["Sat 20:00 to Sun 06:00 CET"]


def test_openings_that_touch_are_one_and_what_is_too_many_is_said() -> None:
    chat = factories.deployment(name="chat")
    window("always", "0 * * * *", 1).states.create(deployment=chat, priority=5)
    window("often", "*/10 * * * *", 1 / 60).states.create(deployment=chat, kv_weight=2)
    row = week.of(date(2026, 10, 19), "UTC", MONDAY)
    named = [span["name"] for span in row["lanes"][0]["spans"]]
    assert (named.count("always"), named.count("often")) == (1, week.MOST_SPANS)
    assert row["notes"] == ["often opens more often than can be drawn: its first 200 times of this week are shown"]


def test_spans_end_where_the_window_is_no_longer_valid() -> None:
    ends = MONDAY + timedelta(days=1, hours=1)
    recurrence = Recurrence("UTC", 7200, "0 0 * * *", valid_until=ends)
    found = list(week.spans(recurrence, MONDAY, MONDAY + timedelta(days=7)))
    assert found == [(MONDAY, MONDAY + timedelta(hours=2)), (MONDAY + timedelta(days=1), ends)]


def test_an_override_is_drawn_until_it_ends_and_not_in_weeks_before_or_after() -> None:
    chat = factories.deployment(name="chat")
    word = Override.objects.create(
        deployment=chat, values={"priority": 9}, actor="olive", until=MONDAY + timedelta(hours=6)
    )
    Override.objects.update(created_at=MONDAY + timedelta(hours=3))
    assert word.until == MONDAY + timedelta(hours=6)
    assert drawn(date(2026, 10, 25)) == {"chat": [("olive", "Mon 05:00 to 08:00 CEST")]}
    assert drawn(date(2026, 10, 26)) == drawn(date(2026, 10, 18)) == {}
    assert drawn(date(2026, 10, 25), now=MONDAY + timedelta(hours=7)) == {}


def test_what_cannot_be_asked_is_refused_in_words(client: Client) -> None:
    client.force_login(factories.user())
    assert len(client.get("/api/policies/week", {"zone": "America/New_York"}).json()["days"]) == 7
    for asked, words in (
        ({"zone": "Mars/Base"}, "there is no time zone 'Mars/Base'"),
        ({"day": "9999-12-31"}, "must be a day of the years 2000 to 2099"),
        ({"day": "soon"}, "day: "),
    ):
        answer = client.get("/api/policies/week", asked)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_spec")
        assert words in answer.json()["message"]
