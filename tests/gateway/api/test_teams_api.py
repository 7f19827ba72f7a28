"""Teams over REST and in the admin: limits that keys share; none is deleted while keys need it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from gateway.access import keys
from gateway.models import ApiKey, Team, UsageHour
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True, is_superuser=True))
    return client


def send(client: Client, method: str, path: str = "", **fields: object) -> tuple[int, Any]:
    answer = getattr(client, method)(f"/api/teams{path}", fields, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def test_a_name_is_enough(staff: Client) -> None:
    status, row = send(staff, "post", name="blue")
    assert (status, row["weight"], row["priority"], row["keys"], row["tokens_per_day"]) == (201, 1, 0, 0, None)
    assert staff.get("/api/teams?name=blue").json()["results"] == [row]
    assert staff.get("/api/teams?name=red").json()["results"] == []
    assert send(staff, "get", f"/{row['id']}") == (200, row)


def test_limits_are_set_and_taken_away(staff: Client) -> None:
    limits = {"requests_per_minute": 10, "tokens_per_month": 10**12, "gpu_seconds_per_day": 0.5}
    _, row = send(staff, "post", name="blue", **limits)
    assert {field: row[field] for field in limits} == limits
    status, row = send(staff, "patch", f"/{row['id']}", requests_per_minute=None, weight=3)
    assert (status, row["requests_per_minute"], row["tokens_per_month"], row["weight"]) == (200, None, 10**12, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "no spaces"),
        ("name", "taken"),
        ("weight", 0),
        ("requests_per_minute", 0),
        ("concurrent_requests", 1.5),
        ("tokens_per_day", -1),
        ("gpu_seconds_per_month", -0.1),
        ("gpu_seconds_per_day", "much"),
    ],
)
def test_a_wrong_field_is_named(staff: Client, field: str, value: object) -> None:
    factories.team("taken")
    status, body = send(staff, "post", **({"name": "blue"} | {field: value}))
    assert (status, body["code"], list(body["fields"])) == (400, "invalid_spec", [field])


def test_a_team_with_keys_stays_and_says_whose_they_are(staff: Client) -> None:
    team = factories.team("blue")
    key, _ = factories.api_key(name="app", team=team)
    assert send(staff, "get", f"/{team.pk}")[1]["keys"] == 1
    status, body = send(staff, "delete", f"/{team.pk}")
    assert (status, body["code"], body["fields"]) == (409, "team_in_use", {"keys": ["app"]})
    keys.revoke(key)
    assert send(staff, "get", f"/{team.pk}")[1]["keys"] == 0
    assert send(staff, "delete", f"/{team.pk}") == (204, None)
    assert ApiKey.objects.get().team is None


def test_what_a_deleted_team_used_stays_counted(staff: Client) -> None:
    team, (key, _) = factories.team(), factories.api_key()
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    for whose, calls in ((team, 2), (None, 3)):
        UsageHour.objects.create(hour=now, key=key, team=whose, served_name="chat", calls=calls, gpu_seconds=0.5)
    UsageHour.objects.create(hour=now, key=key, team=team, served_name="code", calls=5)
    assert send(staff, "delete", f"/{team.pk}")[0] == 204
    left = UsageHour.objects.order_by("served_name").values_list("team", "served_name", "calls", "gpu_seconds")
    assert list(left) == [(None, "chat", 5, 1.0), (None, "code", 5, 0.0)]


def test_a_reading_key_looks_and_does_not_act(client: Client) -> None:
    headers = {"Authorization": f"Bearer {factories.api_key('read')[1]}"}
    team = factories.team()
    assert client.get("/api/teams", headers=headers).status_code == 200
    assert client.delete(f"/api/teams/{team.pk}", headers=headers).status_code == 403


def test_the_admin_changes_a_team_and_deletes_what_nobody_needs(staff: Client) -> None:
    team, other = factories.team("blue"), factories.team("red")
    factories.api_key(team=other)
    page = f"/admin/gateway/team/{team.pk}/"
    assert staff.post(f"{page}change/", {"name": "blue", "weight": 2, "priority": 0}).status_code == 302
    assert Team.objects.get(pk=team.pk).weight == 2
    assert staff.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    done = staff.post("/admin/gateway/team/", {"action": "remove", "_selected_action": [team.pk, other.pk]})
    assert "blue: deleted" in [str(message) for message in get_messages(done.wsgi_request)]
    assert list(Team.objects.all()) == [other]
    assert staff.post("/admin/gateway/team/add/", {"name": "new", "weight": 1, "priority": 5}).status_code == 302
    assert Team.objects.get(name="new").priority == 5
