"""What windows would do, asked without doing it: at another instant, and after a change of one of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from models_app.models import Deployment, Replica, Transition, Window
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_consent import post
from tests.models_app.policy.windows.clockwork import MONDAY, asks, window

pytestmark = pytest.mark.django_db
OPEN, CLOSED = MONDAY + timedelta(hours=10), MONDAY + timedelta(hours=17)


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def ask(client: Client, expected: int = 200, **question: Any) -> dict[str, Any]:
    status, body = post(client, "policies/what-if", **question)
    assert status == expected, body
    return dict(body)


def fleet() -> tuple[Deployment, Replica]:
    """One that serves, and one that sleeps beside it."""
    chat, night = (factories.deployment(name=name, goal=Goal.READY, weights_bytes=20 * GIB) for name in ("a", "b"))
    before = MONDAY - timedelta(days=400)
    serves = factories.replica(deployment=chat, state_at=before, ready_at=before, profile={"wake_seconds": 2.0})
    factories.replica(State.SLEEPING, deployment=night, profile={"wake_seconds": 2.0})
    return chat, serves


def seen() -> object:
    """All that an answer must leave alone."""
    return (
        list(Deployment.objects.order_by("pk").values_list("governed", "seq", "goal")),
        list(Replica.objects.order_by("pk").values_list("state", "goal", "seq")),
        Transition.objects.count(),
        list(Window.objects.values_list("name", "seq", "paused")),
    )


def does(body: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((one["deployment"], one["does"]) for one in body["outcome"]["steps"])


def test_another_instant_says_what_acts_and_who_moves_then_and_nothing_is_done(operator: Client) -> None:
    chat, _ = fleet()
    day = window()
    asks(day, chat, level="asleep_1", priority=4)
    asks(day, Deployment.objects.get(name="b"), level="awake")
    before = seen()
    body = ask(operator, at=OPEN.isoformat())
    assert body["settings"] == [
        "a: level: asleep at level 1 (window day); priority: 4 (window day).",
        "b: level: awake (window day).",
    ]
    assert does(body) == [("a", "sleeps"), ("b", "wakes")]
    assert [one["open"] for one in body["in_force"]["windows"]] == [True]
    reserved = [(g["reserved_before_bytes"] // GIB, g["reserved_after_bytes"] // GIB) for g in body["outcome"]["gpus"]]
    assert reserved == [(23, 23)]
    later = ask(operator, at=CLOSED.isoformat())
    assert (later["settings"], does(later)) == ([], [])
    assert later["lines"][0] == "No setting would be another one."
    assert seen() == before


def test_who_may_only_look_asks_about_an_instant_and_changes_nothing(client: Client) -> None:
    client.force_login(factories.user("vera"))
    chat, _ = fleet()
    asks(window(), chat, level="asleep_1")
    before = seen()
    told = client.get("/api/policies/what-if", {"at": OPEN.isoformat()}).json()
    assert does(told) == [("a", "sleeps")]
    assert client.get("/api/policies/what-if", {"at": "soon"}).json()["fields"].keys() == {"at"}
    assert client.get("/api/policies/what-if").status_code == 200
    assert post(client, "policies/what-if", at=OPEN.isoformat())[0] == 403
    assert seen() == before


def test_a_new_window_is_asked_about_at_its_next_opening(operator: Client) -> None:
    fleet()
    before = seen()
    states = [{"deployment": "a", "level": "stopped"}]
    hour = (timezone.now().hour + 2) % 24
    body = ask(operator, change={"name": "new", "cron": f"0 {hour} * * *", "duration_seconds": 60, "states": states})
    assert body["at"][11:19] == f"{hour:02}:00:00"
    assert (body["settings"], does(body)) == (["a: level: stopped (window new)."], [("a", "stops")])
    assert seen() == before


def test_an_edit_a_pause_and_a_deletion_are_asked_about_while_it_is_open(operator: Client) -> None:
    chat, serves = fleet()
    asks(window("always", cron="0 * * * *", duration_seconds=7200), chat, priority=4)
    before = seen()
    edited = ask(operator, window="always", change={"states": [{"deployment": "a", "level": "asleep_2"}]})
    assert (edited["settings"], does(edited)) == (
        ["a: level: asleep at level 2 (window always)."],
        [("a", "sleeps")],
    )
    for question in ({"change": {"paused": True}}, {"delete": True}):
        assert ask(operator, window="always", **question)["settings"] == []
    assert seen() == before
    assert serves.goal == Goal.READY


def test_a_level_that_finds_no_room_is_told_with_the_arithmetic(operator: Client) -> None:
    chat, _ = fleet()
    big = factories.deployment(name="big", weights_bytes=70 * GIB)
    Deployment.objects.filter(pk=chat.pk).update(pinned=True)
    asks(window(), big, level="awake")
    body = ask(operator, at=OPEN.isoformat())
    assert any("big" in line and "72 GiB" in line for line in body["lines"]), body["lines"]


def apply(client: Client, plan: int, expected: int = 202) -> dict[str, Any]:
    status, body = post(client, f"plans/{plan}/apply")
    assert status == expected, body
    return dict(body)


def test_a_new_window_is_saved_by_the_number_of_its_plan(operator: Client) -> None:
    fleet()
    states = [{"deployment": "a", "level": "stopped"}]
    change = {"name": "new", "cron": "0 9 * * *", "duration_seconds": 60, "states": states}
    asked = ask(operator, change=change)
    applied = apply(operator, asked["plan"])
    assert applied["action"] == {"verb": "add_window", "change": change}
    assert applied["outcome"]["lines"] == asked["lines"]
    saved = Window.objects.get(name="new")
    assert (saved.author, saved.states.get().level) == ("olive", "stopped")
    assert Deployment.objects.get(name="a").goal == Goal.READY  # it comes about when the window opens
    assert apply(operator, asked["plan"], 409)["code"] == "plan_applied"


def test_an_edit_and_a_deletion_are_done_by_number_while_nothing_has_moved(operator: Client) -> None:
    chat, _ = fleet()
    always = window("always", cron="0 * * * *", duration_seconds=7200)
    asks(always, chat, priority=4)
    late = ask(operator, window="always", change={"paused": True})["plan"]
    edit = ask(operator, window="always", change={"states": [{"deployment": "a", "priority": 9}]})["plan"]
    apply(operator, edit)
    assert Window.objects.get(name="always").states.get().priority == 9
    moved = apply(operator, late, 409)
    assert moved["code"] == "plan_outdated"
    assert "window always was its version 1 and is its version 2" in moved["message"]
    pause = ask(operator, window="always", change={"paused": True})["plan"]
    apply(operator, ask(operator, window="always", delete=True)["plan"])
    assert not Window.objects.exists()
    assert "is gone" in apply(operator, pause, 409)["message"]


def test_a_window_whose_models_stand_otherwise_by_now_is_not_saved(operator: Client) -> None:
    _, serves = fleet()
    change = {**NEW, "states": [{"deployment": "a", "level": "asleep_1"}]}
    plan = ask(operator, change=change)["plan"]
    Replica.objects.filter(pk=serves.pk).update(state=State.SLEEPING, goal=Goal.SLEEPING, sleep_level=1)
    assert apply(operator, plan, 409)["code"] == "plan_outdated"
    assert not Window.objects.exists()
    assert ask(operator, change=change, at=OPEN.isoformat())["plan"] is None  # another time than it would be felt


NEW = {"name": "new", "cron": "0 9 * * *", "duration_seconds": 60, "states": []}


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"window": "none", "delete": True}, "window"),
        ({"delete": True}, "delete"),
        ({"window": "day"}, "change"),
        ({"change": {"name": "x", "cron": "0 9 * * * *", "duration_seconds": 3600}}, "cron"),
        ({"at": "tomorrow"}, "at"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_field(operator: Client, question: dict[str, Any], field: str) -> None:
    window()
    body = ask(operator, 400, **question)
    assert field in str(body)
