"""/api/windows, /api/overrides and /api/policies: what is saved, what is refused in which words, what is in force."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from models_app.models import Deployment, Override, Replica, Transition, Window
from models_app.policy.windows import overrides
from models_app.policy.windows.apply import Applier
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    """Somebody who may act."""
    client.force_login(factories.user("olive", is_staff=True))
    return client


def send(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer, with its body."""
    verb = getattr(client, method)
    return verb(f"/api/{path}", body or {}, content_type="application/json")


def given(**changes: Any) -> dict[str, Any]:
    """A window that is always open."""
    return {"name": "always", "cron": "* * * * *", "zone": "Europe/Berlin", "duration_seconds": 7200} | changes


def governed(**values: Any) -> Deployment:
    """A deployment that a window governs now."""
    chat = Deployment.objects.filter(name="chat").first() or factories.deployment(name="chat")
    window = Window.objects.create(name="always", cron="* * * * *", zone="UTC", duration_seconds=7200)
    window.states.create(deployment=chat, **values)
    Applier().run(timezone.now())
    chat.refresh_from_db()
    return chat


def test_a_window_is_saved_with_its_next_openings_in_both_clocks(operator: Client) -> None:
    factories.deployment(name="chat")
    body = given(name="day", cron="30 2 * * *", states=[{"deployment": "chat", "priority": 5}])
    answer = send(operator, "post", "windows", body)
    row = answer.json()
    assert answer.status_code == 201, row
    assert (row["author"], len(row["next"]), row["states"][0]["priority"]) == ("olive", 5, 5)
    assert all(one["opens_at"].endswith("+00:00") and "02:30 CE" in one["opens_local"] for one in row["next"][:1])
    assert row["zone_database"].startswith("time zones of ")
    assert send(operator, "get", f"windows/{row['id']}").json()["next"] == row["next"]


def test_days_and_a_time_are_taken_and_a_change_keeps_the_rest(operator: Client) -> None:
    factories.deployment(name="chat")
    body = given(cron="", weekdays=["mon"], time="09:00", states=[{"deployment": "chat", "level": "asleep_1"}])
    row = send(operator, "post", "windows", body).json()
    changed = send(operator, "patch", f"windows/{row['id']}", {"paused": True, "precedence": 3}).json()
    assert (changed["time"], changed["paused"], changed["seq"]) == ("09:00", True, row["seq"] + 1)
    assert changed["states"] == row["states"]
    assert send(operator, "delete", f"windows/{row['id']}").status_code == 204
    assert not Window.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"cron": "0 9 * * * *"}, "cron", "cron: a cron expression has five fields"),
        ({"cron": "0 9 31 2 *"}, "cron", "in a month that has it"),
        ({"zone": "Europe/Berln"}, "zone", "zone: there is no time zone 'Europe/Berln'"),
        ({"duration_seconds": 5}, "duration_seconds", "duration: "),
        ({"cron": "", "weekdays": ["mon"]}, "cron", "give a cron expression, or weekdays and a time"),
        ({"states": [{"deployment": "nobody", "priority": 1}]}, "states", "there is no deployment 'nobody'"),
        ({"states": [{"label": "team", "priority": 1}]}, "states", "write a label as key=value"),
        ({"states": [{"deployment": "chat"}]}, "states", "say at least one setting"),
        ({"states": [{"deployment": "chat", "level": "dozing"}]}, "states", "dozing"),
    ],
)
def test_what_is_wrong_is_named_in_words(operator: Client, changes: dict[str, Any], field: str, words: str) -> None:
    factories.deployment(name="chat")
    for path in ("windows", "windows/preview"):
        answer = send(operator, "post", path, given(**changes))
        body = answer.json()
        assert (answer.status_code, body["code"]) == (400, "invalid_spec"), body
        assert words in body["message"]
        assert field in body["fields"]
    assert not Window.objects.exists()


def test_two_minds_at_one_time_are_refused_unless_one_goes_before(operator: Client) -> None:
    factories.deployment(name="chat", labels={"team": "ml"})
    first = given(name="day", states=[{"deployment": "chat", "priority": 5}])
    assert send(operator, "post", "windows", first).status_code == 201
    second = given(name="night", states=[{"label": "team=ml", "priority": 1}])
    refused = send(operator, "post", "windows", second)
    assert (refused.status_code, refused.json()["code"]) == (409, "windows_overlap")
    assert "of two minds about the priority of chat: give one of them another precedence" in refused.json()["message"]
    assert send(operator, "post", "windows", second | {"precedence": 1}).status_code == 201


def test_what_cannot_fit_is_saved_and_said_with_the_arithmetic(operator: Client) -> None:
    factories.gpu()
    for name in ("chat", "code"):
        factories.deployment(name=name, weights_bytes=40 * GIB)
    states = [{"deployment": name, "level": "awake"} for name in ("chat", "code")]
    answer = send(operator, "post", "windows", given(states=states))
    assert answer.status_code == 201
    [said] = answer.json()["warnings"]
    assert said.startswith("not all that it keeps awake fits at once: code 42 GiB, chat 42 GiB need 84 GiB together")
    assert "the GPU has 79 GiB" in said


def test_a_preview_of_a_change_is_at_odds_with_others_and_not_with_itself(operator: Client) -> None:
    factories.deployment(name="chat")
    states = [{"deployment": "chat", "priority": 5}]
    number = send(operator, "post", "windows", given(name="day", states=states)).json()["id"]
    body = {"states": [{"deployment": "chat", "priority": 9}]}
    assert len(send(operator, "post", f"windows/{number}/preview", body).json()["next"]) == 5
    send(operator, "post", "windows", given(name="other", states=[{"deployment": "chat", "kv_weight": 2}]))
    at_odds = send(operator, "post", f"windows/{number}/preview", {"states": [{"deployment": "chat", "kv_weight": 3}]})
    assert at_odds.json()["code"] == "windows_overlap"
    assert Window.objects.get(pk=number).states.get().priority == 5


def test_a_preview_saves_nothing(operator: Client) -> None:
    factories.deployment(name="chat")
    states = [{"deployment": "chat", "priority": 5}]
    answer = send(operator, "post", "windows/preview", given(cron="0 0 31 * 1", states=states))
    assert len(answer.json()["next"]) == 5
    assert len(answer.json()["notes"]) == 2
    assert not Window.objects.exists()


def test_who_may_only_look_sees_and_changes_nothing(client: Client) -> None:
    client.force_login(factories.user())
    assert send(client, "get", "windows").status_code == 200
    assert send(client, "post", "windows", given()).status_code == 403
    assert client.get("/api/policies/in-force").status_code == 200


def test_a_change_of_what_a_window_governs_holds_until_its_edge_and_can_be_ended(operator: Client) -> None:
    chat = governed(priority=5)
    row = send(operator, "patch", f"deployments/{chat.pk}", {"priority": 9, "queue_limit": 3}).json()
    assert (row["priority"], row["queue_limit"]) == (0, 3)  # its own stay, where a window governs
    [override] = send(operator, "get", "overrides").json()["results"]
    assert (override["values"], override["words"], override["actor"]) == ({"priority": 9}, "priority 9", "olive")
    Applier().run(timezone.now())
    assert Deployment.objects.get(pk=chat.pk).in_force.priority == 9
    assert send(operator, "delete", f"overrides/{override['id']}").status_code == 204
    Applier().run(timezone.now())
    assert Deployment.objects.get(pk=chat.pk).in_force.priority == 5
    lasting = send(operator, "patch", f"deployments/{chat.pk}", {"priority": 2, "lasting": True}).json()
    assert lasting["priority"] == 2
    assert not Override.objects.exists()


def test_a_time_of_ones_own_is_taken_and_one_that_is_past_refused(operator: Client) -> None:
    chat = governed(priority=5)
    until = timezone.now() + timedelta(minutes=5)
    body = {"deployment": chat.name, "priority": 7, "until": until.isoformat()}
    assert send(operator, "post", "overrides", body).json()["until"] == until.isoformat()
    past = send(operator, "post", "overrides", body | {"until": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["code"]) == (400, "invalid_spec")
    assert Override.objects.count() == 1


def test_a_verb_against_the_window_holds_and_without_a_window_there_is_nothing_to_hold(operator: Client) -> None:
    free = factories.replica()
    assert send(operator, "post", f"deployments/{free.deployment_id}/sleep").status_code == 202
    assert not Override.objects.exists()
    replica = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    chat = governed(level="awake")
    assert send(operator, "post", f"deployments/{chat.pk}/sleep", {"level": 2}).status_code == 202
    assert Override.objects.get().values == {"level": "asleep_2"}
    Replica.objects.filter(pk=replica.pk).update(state=State.SLEEPING)
    Applier().run(timezone.now())
    replica.refresh_from_db()
    assert replica.goal == Goal.SLEEPING
    assert Transition.objects.filter(reason="override", actor="olive").count() == 1


def test_in_force_tells_each_setting_with_who_decides_and_another_instant(operator: Client) -> None:
    chat = governed(priority=5)
    now = operator.get("/api/policies/in-force").json()
    [row] = [one for one in now["deployments"] if one["deployment"] == chat.pk]
    [setting] = row["settings"]
    assert (setting["value"], setting["own"], setting["words"]) == (5, 0, "priority 5 (window always)")
    Window.objects.update(valid_from=timezone.now() + timedelta(days=1), seq=9)
    assert operator.get("/api/policies/in-force").json()["deployments"][0]["settings"] == []
    later = (timezone.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert operator.get("/api/policies/in-force", {"at": later}).json()["deployments"][0]["settings"] != []


def test_no_override_is_in_force_before_it_was_made(operator: Client) -> None:
    chat = governed(priority=5)
    now = timezone.now()
    made = overrides.make(chat, {"priority": 8}, actor="ada", until=now + timedelta(hours=1))

    def priority(hours: int) -> tuple[int, int]:
        at = (now + timedelta(hours=hours, minutes=-30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        row = operator.get("/api/policies/in-force", {"at": at}).json()
        return row["deployments"][0]["settings"][0]["value"], len(row["overrides"])

    assert [priority(hours) for hours in (0, 1, 2)] == [(5, 0), (8, 1), (5, 0)]
    Override.objects.filter(pk=made.pk).update(created_at=now + timedelta(days=1))  # the clock was set back since
    Applier().run(timezone.now())
    chat.refresh_from_db()
    assert chat.governed["fields"]["priority"]["value"] == 8
