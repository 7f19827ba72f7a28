"""Keys over REST and in the admin: shown once, limited, revoked for good."""

from datetime import datetime, timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from gateway.access import keys
from gateway.models import ApiKey, UsageHour, UsageRecord
from sardeenz.errors import InvalidSpec
from tests import factories

pytestmark = pytest.mark.django_db


def bearer(*scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {factories.api_key(*scopes)[1]}"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True, is_superuser=True))
    return client


def make(client: Client, headers: dict[str, str] | None = None, **changes: object):
    body = {"name": "app", "scopes": ["inference"]} | changes
    return client.post("/api/keys", body, content_type="application/json", headers=headers)


def test_a_key_is_shown_once(staff: Client) -> None:
    made = make(staff)
    assert made.status_code == 201
    plain = made.json()["key"]
    assert keys.find(plain) == ApiKey.objects.get(name="app")
    listed = staff.get("/api/keys")
    assert plain not in listed.content.decode()
    assert plain.startswith(listed.json()["results"][0]["prefix"])
    assert listed.json()["results"][0]["owner_name"] == "staff"
    assert "digest" not in listed.json()["results"][0]


def test_a_revoked_key_is_found_no_more_and_its_row_stays(staff: Client) -> None:
    made = make(staff).json()
    assert staff.delete(f"/api/keys/{made['id']}").status_code == 204
    assert keys.find(made["key"]) is None
    assert ApiKey.objects.get(pk=made["id"]).revoked_at is not None


def test_an_expired_key_is_found_no_more() -> None:
    _, plain = factories.api_key("manage", expires_at=timezone.now())
    assert keys.find(plain) is None


def test_no_key_is_for_inference_and_managing_at_once(staff: Client) -> None:
    answer = make(staff, scopes=["inference", "manage"])
    assert answer.status_code == 400
    with pytest.raises(InvalidSpec):
        keys.create("x", ["inference", "manage"])


@pytest.mark.parametrize("scopes", [[], ["everything"]])
def test_a_key_needs_scopes_that_exist(staff: Client, scopes: list[str]) -> None:
    assert make(staff, scopes=scopes).status_code == 400


def test_a_managing_key_makes_keys_that_nobody_owns(client: Client) -> None:
    made = make(client, bearer("manage"))
    assert (made.status_code, made.json()["owner_name"]) == (201, None)


def test_a_reading_key_looks_and_does_not_act(client: Client) -> None:
    headers = bearer("read")
    assert client.get("/api/keys", headers=headers).status_code == 200
    assert make(client, headers).status_code == 403


def test_the_key_of_a_superuser_has_no_more_than_its_scopes(client: Client) -> None:
    chief = factories.user("chief", is_staff=True, is_superuser=True)
    headers = {"Authorization": f"Bearer {factories.api_key('inference', owner=chief)[1]}"}
    assert client.get("/api/keys", headers=headers).status_code == 403
    assert make(client, headers).status_code == 403


@pytest.mark.parametrize("header", ["Bearer sk-srdz-wrong", "Bearer", "Bearer a b"])
def test_a_wrong_key_is_unauthorised(client: Client, header: str) -> None:
    answer = client.get("/api/keys", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_key_is_made_with_a_team_models_limits_and_an_end(staff: Client) -> None:
    team, deployment = factories.team("blue"), factories.deployment(served_name="chat")
    factories.alias("gpt-4", (deployment, 1))
    limits = {"requests_per_minute": 5, "tokens_per_day": 10**10, "gpu_seconds_per_month": 2.5}
    made = make(staff, team="blue", allowed_models=["gpt-4", "chat"], expires_at="2040-01-01T00:00:00Z", **limits)
    assert made.status_code == 201, made.content
    row = staff.get(f"/api/keys/{made.json()['id']}").json()
    assert (row["team"], row["team_name"], row["allowed_models"]) == (team.pk, "blue", ["chat", "gpt-4"])
    assert {field: row[field] for field in limits} == limits
    assert (row["expires_at"], row["concurrent_requests"], row["usable"]) == ("2040-01-01T00:00:00Z", None, True)
    for named in ("blue", str(team.pk)):
        assert [each["id"] for each in staff.get(f"/api/keys?team={named}").json()["results"]] == [row["id"]]
    assert staff.get("/api/keys?team=red").json()["results"] == []


def change(client: Client, key: ApiKey, headers: dict[str, str] | None = None, **changes: object):
    return client.patch(f"/api/keys/{key.pk}", changes, content_type="application/json", headers=headers)


def test_a_key_is_changed_but_for_its_scopes(staff: Client) -> None:
    key, plain = factories.api_key(team=factories.team("blue"))
    row = change(staff, key, name="renamed", team=None, tokens_per_minute=9, scopes=["inference"]).json()
    assert (row["name"], row["team"], row["tokens_per_minute"]) == ("renamed", None, 9)
    assert change(staff, key, tokens_per_minute=None).json()["tokens_per_minute"] is None
    refused = change(staff, key, scopes=["read"])
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["scopes"])
    assert "key" not in row
    assert keys.find(plain) == key


def test_nothing_of_a_keys_own_can_be_written(staff: Client) -> None:
    key, plain = factories.api_key()
    change(staff, key, digest="0" * 64, prefix="x", revoked_at="2030-01-01T00:00:00Z")
    assert keys.find(plain) == ApiKey.objects.get(prefix=key.prefix, digest=key.digest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("team", "nobody"),
        ("allowed_models", ["chat", "no-such-model"]),
        ("allowed_models", "chat"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("requests_per_minute", 0),
        ("tokens_per_day", -1),
    ],
)
def test_a_wrong_limit_is_named(staff: Client, field: str, value: object) -> None:
    factories.deployment(name="chat")
    key, _ = factories.api_key()
    for refused in (make(staff, **{field: value}), change(staff, key, **{field: value})):
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_spec")
        assert list(refused.json()["fields"]) == [field]


def test_a_name_that_does_not_exist_is_refused_with_those_that_do(staff: Client) -> None:
    factories.alias("gpt-4", (factories.deployment(name="chat"), 1))
    text = make(staff, allowed_models=["gpt-5"]).json()["message"]
    assert text == "models: there is no gpt-5; there is: chat, gpt-4"


def test_a_key_outlives_its_models_and_its_end(staff: Client) -> None:
    key, _ = factories.api_key(allowed_models=["gone"], expires_at=timezone.now())
    row = staff.get(f"/api/keys/{key.pk}").json()
    sent_back = change(staff, key, name="new", allowed_models=row["allowed_models"], expires_at=row["expires_at"])
    assert (sent_back.status_code, sent_back.json()["usable"]) == (200, False)


def test_a_revoked_key_cannot_be_changed(staff: Client) -> None:
    key, _ = factories.api_key()
    keys.revoke(key)
    refused = change(staff, key, name="again")
    assert (refused.status_code, refused.json()["code"]) == (409, "key_revoked")


def test_only_who_may_manage_changes_a_key(client: Client) -> None:
    key, _ = factories.api_key()
    assert change(client, key, bearer("read"), name="x").status_code == 403
    assert change(client, key, bearer("inference"), name="x").status_code == 403
    assert change(client, key, bearer("manage"), name="x").status_code == 200


def test_the_list_tells_when_a_key_was_last_used(staff: Client) -> None:
    used, idle, pruned = (factories.api_key(name=name)[0] for name in ("used", "idle", "pruned"))
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for at in (hour - timedelta(minutes=2), hour - timedelta(minutes=1)):
        UsageRecord.objects.create(
            key=used,
            served_name="a",
            path="/v1/completions",
            status=200,
            outcome="ok",
            stream=False,
            e2e_seconds=1,
            at=at,
        )
    for key in (used, pruned):
        UsageHour.objects.create(key=key, hour=hour, served_name="a")
    told = {row["name"]: row["last_used_at"] for row in staff.get("/api/keys").json()["results"]}
    assert datetime.fromisoformat(told["used"]) == hour - timedelta(minutes=1)
    assert datetime.fromisoformat(told["pruned"]) == hour
    assert told["idle"] is None
    assert idle.pk in {row["id"] for row in staff.get("/api/keys").json()["results"]}


def test_the_admin_makes_a_key_and_shows_it_in_a_message(staff: Client) -> None:
    made = staff.post("/admin/gateway/apikey/add/", {"name": "by hand", "scopes": ["read"]})
    assert made.status_code == 302
    (message, *_) = [str(each) for each in get_messages(made.wsgi_request)]
    key = ApiKey.objects.get()
    assert keys.find(message.split()[-1]) == key
    assert (key.name, key.scopes) == ("by hand", ["read"])


def test_the_admin_changes_limits_but_neither_scopes_nor_digest(staff: Client) -> None:
    team = factories.team()
    key, plain = factories.api_key()
    page = f"/admin/gateway/apikey/{key.pk}/change/"
    fields = {"name": "other", "team": team.pk, "tokens_per_day": 5, "scopes": ["manage"], "digest": "0" * 64}
    assert staff.post(page, fields).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.team, key.tokens_per_day, key.scopes) == ("other", team, 5, ["inference"])
    assert keys.find(plain) == key
    assert key.digest not in staff.get(page).content.decode()
    assert staff.post(page, {"name": "other", "allowed_models": "nobody"}).status_code == 200


def test_the_admin_revokes_many_and_leaves_the_revoked_alone(staff: Client) -> None:
    key, _ = factories.api_key()
    page = f"/admin/gateway/apikey/{key.pk}/change/"
    staff.post("/admin/gateway/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert not key.usable
    assert staff.get(page).status_code == 200
    assert staff.post(page, {"name": "other"}).status_code == 403
    assert staff.post("/admin/gateway/apikey/add/", {"name": "x", "scopes": ["inference", "manage"]}).status_code == 200
