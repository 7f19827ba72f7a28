"""Windows in a document: written as they are, applied twice without a change, refused with their line."""

from datetime import UTC, datetime, time

import pytest

from models_app.models import Deployment, Model, Window, WindowState
from models_app.policy.windows.apply import Applier
from models_app.states import Goal
from sardeenz.configuration import applying, state
from sardeenz.configuration.applying import Request
from sardeenz.configuration.errors import ConfigurationInvalid
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.windows.clockwork import MONDAY, asks, window

pytestmark = pytest.mark.django_db
OPEN = MONDAY.replace(hour=10)
OTHERWISE = "    states:\n      - deployment: chat\n        kv_floor: 1GiB"


def fleet() -> Deployment:
    """A deployment under two windows."""
    chat = factories.deployment(name="chat", labels={"team": "dev"}, priority=1)
    day = window("day", valid_until=datetime(2028, 1, 1, tzinfo=UTC), author="ada", precedence=2)
    asks(day, chat, priority=5, kv_floor_bytes=2 * GIB)
    asks(day, "team=dev", level="stopped", pinned=False)
    night = window("night", cron="", weekdays=["mon", "sun"], time=time(22, 30), zone="Europe/Berlin", ready_by=True)
    asks(night, "team=dev", replicas=2, queue_seconds=1.5)
    return chat


def apply(document: str, *, prune: bool = False) -> list[str]:
    """The titles of what was changed."""
    done = applying.apply(Request(document, "olive", prune=prune))
    return [f"{each.verb} {each.section} {each.name}" for each in done.comparison.changes]


def test_export_forget_apply_is_the_same_fleet_with_its_windows() -> None:
    fleet()
    before = state.read()
    document = state.text(before)
    for rows in (Window, Deployment, Model):
        rows._default_manager.all().delete()
    assert apply(document) == [
        "create models chat-weights", "create deployments chat", "create windows day", "create windows night"
    ]  # fmt: skip
    assert state.read() == before
    assert state.text(state.read()) == document
    assert apply(document, prune=True) == []
    assert Window.objects.get(name="day").author == "olive (version 2)"


def test_what_a_window_governs_is_no_setting_of_the_deployment() -> None:
    chat = fleet()
    Deployment.objects.filter(pk=chat.pk).update(goal=Goal.READY)
    before = state.text(state.read())
    Applier().run(OPEN)
    chat.refresh_from_db()
    assert (chat.goal, chat.in_force.priority) == (Goal.STOPPED, 5)
    assert state.text(state.read()) == before
    assert apply("deployments:\n  chat:\n    priority: 3\n    goal: stopped\n") == ["change deployments chat"]
    chat.refresh_from_db()
    assert (chat.priority, chat.in_force.priority, chat.governed["goal_before"]) == (3, 5, Goal.STOPPED)


def test_the_same_said_otherwise_is_no_change() -> None:
    fleet()
    night = '  night:\n    time: "22:30"\n    valid_from: null\n'
    assert apply(f"windows:\n{night}  day:\n    valid_until: 2028-01-01T01:00:00+01:00\n") == []


def test_two_windows_may_change_places_in_one_document() -> None:
    chat = factories.deployment(name="chat")
    for name, hour, priority in (("one", 9, 1), ("two", 17, 2)):
        asks(window(name, cron=f"0 {hour} * * *"), chat, priority=priority)
    assert len(apply("windows:\n  one:\n    cron: 0 17 * * *\n  two:\n    cron: 0 9 * * *\n")) == 2


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ("    zone: Europe/Berln", 3, "there is no time zone 'Europe/Berln'"),
        ("    weekdays: []\n    time: null\n    cron: 0 9 * * * *", 5, "a cron expression has five fields"),
        ("    opens: 9", 3, "there is no field 'opens'"),
        ("    states:\n      - label: team=dev\n        kv_floor: 3", 5, "write a size with its unit"),
        ("    states:\n      - deployment: chatt\n        priority: 3", 3, "there is no deployment 'chatt'"),
        (f"    precedence: 2\n    duration_seconds: 86400\n{OTHERWISE}", 2, "the windows night and day are both"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(lines: str, line: int, words: str) -> None:
    fleet()
    with pytest.raises(ConfigurationInvalid) as refused:
        apply(f"windows:\n  night:\n{lines}\n")
    problems = refused.value.fields["problems"]
    assert any(words in one["message"] for one in problems), problems
    assert [one["line"] for one in problems] == [line]
    assert WindowState.objects.count() == 3
