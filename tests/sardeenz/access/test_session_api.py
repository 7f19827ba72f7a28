"""Signing in and out with a session, guarded against forged and repeated attempts."""

import pytest
from django.core.cache import cache
from django.test import Client

from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_throttle() -> None:
    cache.clear()


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def sign_in(browser: Client, username: str, password: str = "pw") -> int:
    browser.get("/api/login")
    token = browser.cookies["csrftoken"].value
    given = {"username": username, "password": password}
    return browser.post("/api/login", given, "application/json", headers={"X-CSRFToken": token}).status_code


def test_a_session_begins_and_ends(browser: Client) -> None:
    factories.user("olive", is_staff=True)
    assert browser.get("/api/me").status_code == 401
    assert sign_in(browser, "olive") == 200
    me = browser.get("/api/me").json()
    assert (me["username"], me["operator"]) == ("olive", True)
    token = browser.cookies["csrftoken"].value
    assert browser.post("/api/logout", {}, "application/json", headers={"X-CSRFToken": token}).status_code == 204
    assert browser.get("/api/me").status_code == 401


def test_a_wrong_password_and_an_unknown_name_look_the_same(browser: Client) -> None:
    factories.user("olive")
    factories.user("gone", is_active=False)
    assert [sign_in(browser, name, "wrong") for name in ("olive", "nobody", "gone")] == [401, 401, 401]
    assert sign_in(browser, "gone") == 401


def test_a_forged_sign_in_is_refused(browser: Client) -> None:
    factories.user("olive")
    answer = browser.post("/api/login", {"username": "olive", "password": "pw"}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert browser.get("/api/me").status_code == 401


def test_a_forged_verb_is_refused(browser: Client) -> None:
    browser.force_login(factories.user(is_staff=True))
    replica = factories.replica()
    assert browser.post(f"/api/replicas/{replica.pk}/stop", {}, "application/json").status_code == 403


def test_guessing_is_slowed_down(browser: Client) -> None:
    factories.user("olive")
    assert [sign_in(browser, "olive", "wrong") for _ in range(10)] == [401] * 10
    assert sign_in(browser, "olive") == 429


def test_a_guest_looks_but_does_not_act(client: Client) -> None:
    client.force_login(factories.user())
    replica = factories.replica()
    assert client.get("/api/me").json()["operator"] is False
    assert client.get(f"/api/replicas/{replica.pk}").status_code == 200
    assert client.post(f"/api/replicas/{replica.pk}/stop", {}, "application/json").status_code == 403


def test_an_address_that_begins_a_session_is_told_if_gpus_are_simulated(client: Client) -> None:
    factories.node(simulated=True)
    client.force_login(factories.user())
    assert client.get("/api/me").json()["simulated"] is True
