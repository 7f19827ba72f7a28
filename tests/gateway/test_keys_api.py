"""Keys over REST and in the admin: shown once, never changed, revoked for good; what they used is read."""

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from gateway import keys
from gateway.models import ApiKey, UsageRecord
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


def test_usage_is_listed_by_model_and_key(staff: Client) -> None:
    key, _ = factories.api_key()
    for name in ("a", "b"):
        UsageRecord.objects.create(
            key=key, served_name=name, path="/v1/completions", status=200, outcome="ok", stream=False,
            wake_seconds=0, queue_seconds=0, e2e_seconds=1, at=timezone.now(),
        )  # fmt: skip
    assert [row["served_name"] for row in staff.get("/api/usage").json()["results"]] == ["b", "a"]
    assert staff.get(f"/api/usage?model=a&key={key.pk}").json()["results"][0]["key_name"] == "test"
    assert staff.get("/api/usage?key=x").json()["results"] == []


def test_the_admin_makes_a_key_and_shows_it_in_a_message(staff: Client) -> None:
    made = staff.post("/admin/gateway/apikey/add/", {"name": "by hand", "scopes": ["read"]})
    assert made.status_code == 302
    (message, *_) = [str(each) for each in get_messages(made.wsgi_request)]
    key = ApiKey.objects.get()
    assert keys.find(message.split()[-1]) == key
    assert (key.name, key.scopes) == ("by hand", ["read"])


def test_the_admin_changes_no_key_and_revokes_many(staff: Client) -> None:
    key, _ = factories.api_key()
    page = f"/admin/gateway/apikey/{key.pk}/change/"
    assert staff.post(page, {"name": "other", "scopes": ["manage"]}).status_code == 403
    assert key.digest not in staff.get(page).content.decode()
    staff.post("/admin/gateway/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert not key.usable
    assert staff.post("/admin/gateway/apikey/add/", {"name": "x", "scopes": ["inference", "manage"]}).status_code == 200
