"""GET /api/usage/speed: calls and their times by step."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gateway.models import UsageRecord
from tests import factories

pytestmark = pytest.mark.django_db


def called(at: datetime, **fields: Any) -> None:
    given = {"served_name": "chat", "path": "/v1/chat/completions", "status": 200, "outcome": "ok", "stream": True}
    UsageRecord.objects.create(e2e_seconds=1.0, at=at, **(given | fields))


def test_calls_are_told_by_step_with_their_quantiles(client: Client) -> None:
    client.force_login(factories.user())
    until = timezone.now().replace(second=30, microsecond=0)
    for ttft in (0.1, 0.2, 0.3):
        called(until - timedelta(minutes=10), ttft_seconds=ttft, completion_tokens=20)
    called(until - timedelta(minutes=5), outcome="engine_failed", status=502)
    called(until - timedelta(minutes=5), served_name="code")
    told = client.get("/api/usage/speed", {"model": "chat", "hours": 1, "until": until.isoformat()}).json()
    assert (told["step_seconds"], len(told["at"])) == (60, 2)
    values = told["values"]
    assert values["calls_per_second"] == [3 / 60, 1 / 60]
    assert values["failed_per_second"] == [0, 1 / 60]
    assert values["tokens_per_second"] == [1.0, 0]
    assert values["ttft_p50_seconds"] == [pytest.approx(0.2, rel=0.02), None]
    assert values["ttft_p95_seconds"][0] == pytest.approx(0.29, rel=0.02)


def test_a_month_has_few_steps(client: Client) -> None:
    client.force_login(factories.user())
    called(timezone.now() - timedelta(days=20))
    told = client.get("/api/usage/speed", {"model": "chat", "hours": 720}).json()
    assert (told["step_seconds"], len(told["at"])) == (7200, 1)


def test_minutes_have_fine_steps_and_calls_are_narrowed(client: Client) -> None:
    client.force_login(factories.user())
    until = timezone.now().replace(second=30, microsecond=0)
    team = factories.team("blue")
    key, _ = factories.api_key(team=team)
    called(until - timedelta(seconds=25), key=key, team=team, gap_seconds=0.02)
    called(until - timedelta(seconds=5), served_name="code")

    def steps(**asked: Any) -> int:
        told = client.get("/api/usage/speed", {"hours": 0.1, "until": until.isoformat(), **asked}).json()
        assert told["step_seconds"] == 10
        return len(told["at"])

    assert (steps(), steps(team="blue"), steps(key=key.pk), steps(model="code"), steps(model="x")) == (2, 1, 1, 1, 0)


def figures(client: Client, **asked: Any) -> Any:
    answer = client.get("/api/usage/figures", asked)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_figures_are_told_by_deployment_key_and_team(client: Client) -> None:
    client.force_login(factories.user())
    until = timezone.now()
    team = factories.team("blue")
    key, _ = factories.api_key(name="app", team=team)
    for ttft in (0.1, 0.3):
        called(until - timedelta(minutes=10), key=key, team=team, ttft_seconds=ttft, completion_tokens=1800)
    called(until - timedelta(minutes=9), outcome="engine_failed", status=502, wake_seconds=3.0)
    called(until - timedelta(minutes=8), served_name="code", outcome="cancelled_by_operator", queue_seconds=1.0)
    called(until - timedelta(hours=2))
    told = figures(client, until=until.isoformat())
    total = told["total"]
    assert [total[name] for name in ("calls", "failed", "cancelled", "woke", "queued")] == [4, 1, 1, 1, 1]
    assert (total["tokens_per_second"], total["failed_per_second"]) == (1.0, 1 / 3600)
    assert [(row["id"], row["name"], row["calls"], row["failed"]) for row in told["groups"]] == [
        ("chat", "chat", 3, 1),
        ("code", "code", 1, 0),
    ]
    assert told["groups"][0]["ttft_p50_seconds"] == pytest.approx(0.2, rel=0.02)
    assert told["groups"][1]["ttft_p50_seconds"] is None
    assert {row["outcome"]: row["calls"] for row in told["outcomes"]} == {
        "ok": 2,
        "engine_failed": 1,
        "cancelled_by_operator": 1,
    }
    by_key = figures(client, until=until.isoformat(), by="key")["groups"]
    assert {(row["id"], row["name"], row["calls"]) for row in by_key} == {(str(key.pk), "app", 2), (None, None, 2)}
    by_team = figures(client, until=until.isoformat(), by="team", model="chat")["groups"]
    assert {(row["id"], row["name"], row["calls"]) for row in by_team} == {(str(team.pk), "blue", 2), (None, None, 1)}


def test_figures_without_a_call_are_nought_and_unknown(client: Client) -> None:
    client.force_login(factories.user())
    told = figures(client)
    assert (told["total"]["calls"], told["total"]["tokens_per_second"], told["groups"]) == (0, 0.0, [])
    assert told["total"]["ttft_p95_seconds"] is None
    assert client.get("/api/usage/figures", {"by": "hour"}).status_code == 400
