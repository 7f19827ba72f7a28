"""Captured calls over REST: who may see them, what is told, following, expiry, clearing."""

import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.test import Client

from gateway.capture import ring
from gateway.capture.captured import Capture
from models_app.models import Deployment
from sardeenz.redis import async_client, client, key
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True))
    return client


@pytest.fixture
def chat() -> Deployment:
    return factories.deployment(name="chat")


def captured(deployment: Deployment, **facts: Any) -> Capture:
    given = {
        "at": time.time(),
        "request_id": "r1",
        "deployment": deployment.pk,
        "served_name": deployment.served_name,
        "asked_name": "gpt-4",
        "key_id": 1,
        "team": None,
        "method": "POST",
        "path": "/v1/chat/completions",
        "stream": False,
        "status": 200,
        "outcome": "ok",
        "replica_id": 7,
        "queue_seconds": 0.25,
        "wake_seconds": 0.0,
        "ttft_seconds": None,
        "e2e_seconds": 1.5,
        "prompt_tokens": 3,
        "cached_tokens": None,
        "completion_tokens": 5,
        "headers": {"user-agent": "curl"},
        "request": "asked",
        "request_bytes": 5,
        "response": "answered",
        "response_bytes": 8,
    }
    return Capture(**(given | facts))


def keep(*captures: Capture) -> None:
    """As a gateway writes them; a moment later, because what is of this millisecond is told by the next answer."""

    async def write() -> None:
        await ring.write(captures)
        await async_client().aclose()

    async_to_sync(write)()
    time.sleep(0.003)


def ask(client: Client, **params: Any) -> Any:
    answer = client.get("/api/captures", params)
    assert answer.status_code == 200, answer.content
    return answer.json()


def requests(answer: Any) -> list[str]:
    return [each["request"] for each in answer["results"]]


def test_a_capture_is_told_with_todays_names(staff: Client, chat: Deployment) -> None:
    team = factories.team("blue")
    row, _ = factories.api_key(name="app", team=team)
    keep(captured(chat, key_id=row.pk, team=team.pk))
    [found] = ask(staff)["results"]
    assert (found["deployment"], found["deployment_name"], found["asked_name"]) == (chat.pk, "chat", "gpt-4")
    assert (found["key_name"], found["team_name"], found["headers"]) == ("app", "blue", {"user-agent": "curl"})
    assert (found["request"], found["response"], found["cached_tokens"]) == ("asked", "answered", None)
    assert staff.get(f"/api/captures/{chat.pk}/{found['id']}").json() == found
    row.delete()
    assert ask(staff)["results"][0]["key_name"] is None


def test_the_newest_come_first_and_following_goes_on_from_there(staff: Client, chat: Deployment) -> None:
    code = factories.deployment(name="code")
    assert ask(staff) == {"results": [], "last": "0-0"}
    for number in range(3):
        keep(captured(chat, request=f"chat-{number}"), captured(code, request=f"code-{number}"))
    answer = ask(staff, deployment="chat", limit=2)
    assert requests(answer) == ["chat-2", "chat-1"]
    assert answer["last"] == answer["results"][0]["id"]
    first = ask(staff, after="0-0", limit=1)
    assert requests(first) and set(requests(first)) <= {"chat-0", "code-0"}
    assert sorted(requests(ask(staff, after=first["last"]))) == sorted(
        {"chat-0", "code-0", "chat-1", "code-1", "chat-2", "code-2"} - set(requests(first))
    )
    assert requests(ask(staff, after="0-0", deployment=["chat", str(code.pk)]))[-1] in ("chat-2", "code-2")
    seen = ask(staff)["last"]
    assert ask(staff, after=seen) == {"results": [], "last": seen}
    keep(captured(code, request="later"))
    assert requests(ask(staff, after=seen)) == ["later"]


def test_who_follows_several_deployments_misses_none_of_them(staff: Client, chat: Deployment) -> None:
    code = factories.deployment(name="code")
    keep(*(captured(row, request=f"{row.name}-{number}") for number in range(20) for row in (chat, code)))
    seen, found = "0-0", []
    while (answer := ask(staff, after=seen, limit=3))["results"]:
        seen = answer["last"]
        found += requests(answer)
    assert sorted(found) == sorted(f"{row.name}-{number}" for number in range(20) for row in (chat, code))


def test_the_ring_keeps_the_latest_only(staff: Client, chat: Deployment) -> None:
    keep(*(captured(chat, request=str(number)) for number in range(ring.KEPT + 5)))
    assert requests(ask(staff, limit=ring.KEPT)) == [str(number) for number in range(ring.KEPT + 4, 4, -1)]
    assert client().xlen(key("captures", chat.pk)) == ring.KEPT


def test_what_is_old_is_not_shown_and_then_gone(staff: Client, chat: Deployment, settings: LazySettings) -> None:
    settings.CAPTURE_SECONDS = 60.0
    keep(captured(chat, at=time.time() - 61), captured(chat, request="new"))
    assert requests(ask(staff)) == requests(ask(staff, after="0-0")) == ["new"]
    assert 0 < client().pttl(key("captures", chat.pk)) <= 60_000
    entry = ask(staff)["results"][0]["id"]
    settings.CAPTURE_SECONDS = 0.001
    time.sleep(0.005)
    assert requests(ask(staff)) == requests(ask(staff, after="0-0")) == []
    assert staff.get(f"/api/captures/{chat.pk}/{entry}").status_code == 404


def test_an_entry_of_another_version_is_left_out(staff: Client, chat: Deployment) -> None:
    client().xadd(key("captures", chat.pk), {"call": '{"at": 1}'})
    client().xadd(key("captures", chat.pk), {"other": "x"})
    keep(captured(chat))
    assert requests(ask(staff)) == ["asked"]


def test_clearing_forgets_one_deployments(staff: Client, chat: Deployment) -> None:
    keep(captured(chat), captured(factories.deployment(name="code"), request="code"))
    assert staff.delete("/api/captures?deployment=chat").status_code == 204
    assert requests(ask(staff)) == ["code"]
    answer = staff.delete("/api/captures")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["deployment"])


@pytest.mark.parametrize(
    ("field", "value"), [("deployment", "nobody"), ("after", "yesterday"), ("after", "5"), ("limit", 0), ("limit", 999)]
)
def test_what_is_asked_wrongly_is_named(staff: Client, field: str, value: Any) -> None:
    answer = staff.get("/api/captures", {field: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_spec")
    assert field in answer.json()["message"]


def test_only_who_may_change_may_look(client: Client, chat: Deployment) -> None:
    keep(captured(chat))
    paths = ("/api/captures", f"/api/captures/{chat.pk}/1-0")
    for scopes, status in ((("read",), 403), (("inference",), 403), (("read", "manage"), 200)):
        headers = {"Authorization": f"Bearer {factories.api_key(*scopes)[1]}"}
        assert client.get(paths[0], headers=headers).status_code == status
        assert client.get(paths[1], headers=headers).status_code == (404 if status == 200 else status)
        assert client.delete("/api/captures?deployment=chat", headers=headers).status_code == (
            204 if status == 200 else status
        )
    assert client.get(paths[0]).status_code == 401
    client.force_login(factories.user("reader"))
    assert client.get(paths[0]).status_code == 403


def test_a_redis_that_is_away_is_said(staff: Client, chat: Deployment) -> None:
    client().set(key("captures", chat.pk), "what Redis refuses to read as a stream")
    answer = staff.get("/api/captures")
    assert (answer.status_code, answer.json()["code"]) == (503, "captures_unavailable")
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db(transaction=True)
def test_a_deleted_deployment_takes_its_captures_with_it(chat: Deployment) -> None:
    keep(captured(chat))
    name = key("captures", chat.pk)
    chat.delete()
    assert not client().exists(name)
