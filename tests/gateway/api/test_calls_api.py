"""Calls in flight over REST and on the command line: whatever gateways there are, over a real Redis."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.test import Client
from typer.testing import CliRunner

from models_app.traffic import activity
from sardeenz.cli.main import app
from sardeenz.redis import async_client
from tests import factories
from tests.gateway.in_flight.gateways import answering, running

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True))
    return client


def cancel(client: Client, request_id: str) -> tuple[int, Any]:
    answer = client.post(f"/api/calls/{request_id}/cancel")
    return answer.status_code, answer.json()


def test_without_a_gateway_there_is_no_call(staff: Client) -> None:
    told = staff.get("/api/calls").json()
    assert (told["count"], told["gateways"], told["silent"], told["calls"]) == (0, 0, [], [])
    status, body = cancel(staff, "mine")
    assert (status, body["code"]) == (404, "call_unknown")


def test_calls_are_told_with_names_the_newest_first(staff: Client) -> None:
    deployment, team = factories.deployment(name="chat"), factories.team("blue")
    key, _ = factories.api_key(name="app", team=team)
    old = running("old", deployment=deployment.pk, key=key.pk, team=team.pk)
    new = running("new", began_at=2000.0, since=2000.0, state="routing", replica=None)
    with answering("one", old, new):
        told = staff.get("/api/calls").json()
        narrowed = staff.get("/api/calls", {"deployment": "chat", "limit": 1}).json()
    assert [call["request_id"] for call in told["calls"]] == ["new", "old"]
    assert (told["count"], told["gateways"], told["silent"]) == (2, 1, [])
    assert told["states"] == {"routing": 1, "waking": 0, "queued": 0, "asked": 0, "streaming": 1}
    row = told["calls"][1]
    assert (row["deployment_name"], row["key_name"], row["team_name"]) == ("chat", "app", "blue")
    assert (row["state"], row["pieces"], row["replica"]) == ("streaming", 5, 7)
    assert datetime.fromisoformat(row["since"]) == datetime.fromtimestamp(1001, UTC)
    assert [call["request_id"] for call in narrowed["calls"]] == ["old"]


def test_a_cancel_names_who_asked_and_a_second_finds_nothing(staff: Client) -> None:
    with answering("one", running("mine")) as asked:
        assert cancel(staff, "mine") == (200, {"request_id": "mine", "cancelled": 1})
        status, body = cancel(staff, "mine")
    assert (asked[0].cancel, asked[0].actor) == ("mine", "staff")
    assert (status, body["code"]) == (404, "call_unknown")


def test_a_viewer_sees_calls_and_cancels_none(client: Client) -> None:
    client.force_login(factories.user())
    with answering("one", running("mine")) as asked:
        assert client.get("/api/calls").json()["count"] == 1
        assert cancel(client, "mine")[0] == 403
    assert [question.cancel for question in asked] == [""]


async def _report(gateway_id: str) -> None:
    await activity.areport(async_client(), gateway_id, (), {})
    await async_client().aclose()


def test_a_gateway_that_says_nothing_is_named_and_not_taken_for_a_no(
    staff: Client,
) -> None:
    async_client.cache_clear()
    asyncio.run(_report("silent"))
    with answering("one", running("mine")):
        told = staff.get("/api/calls").json()
        assert (told["silent"], told["gateways"], told["count"]) == (["silent"], 1, 1)
        assert cancel(staff, "mine")[0] == 200
        status, body = cancel(staff, "another")
    assert (status, body["code"]) == (503, "calls_unavailable")


def test_a_gateway_that_ended_takes_its_calls_along(staff: Client) -> None:
    with answering("one", running("mine")):
        pass
    assert staff.get("/api/calls").json()["calls"] == []


def test_without_redis_it_says_so(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = redis.Redis.from_url("redis://127.0.0.1:1", decode_responses=True)
    monkeypatch.setattr("gateway.in_flight.channel.client", lambda: gone)
    answer = staff.get("/api/calls")
    assert (answer.status_code, answer.json()["code"]) == (503, "calls_unavailable")


@pytest.mark.django_db(transaction=True)
def test_the_command_line_lists_and_cancels(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage", name="command line")[1])
    run = CliRunner()
    with answering("one", running("mine", asked_name="gpt-4")):
        listed = run.invoke(app, ["calls", "list"])
        assert listed.exit_code == 0 and "mine" in listed.output and "gpt-4" in listed.output
        done = run.invoke(app, ["calls", "cancel", "mine"])
        assert (done.exit_code, done.output) == (0, "mine is cancelled\n")
        again = run.invoke(app, ["calls", "cancel", "mine"])
        assert again.exit_code == 1 and "call_unknown" in again.output
        assert run.invoke(app, ["calls", "list"]).output == "no call is in flight\n"
