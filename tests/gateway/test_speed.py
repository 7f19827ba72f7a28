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
    assert (told["model"], told["step_seconds"], len(told["at"])) == ("chat", 60, 2)
    values = told["values"]
    assert values["calls_per_second"] == [3 / 60, 1 / 60]
    assert values["failed_per_second"] == [0, 1 / 60]
    assert values["tokens_per_second"] == [1.0, 0]
    assert values["ttft_p50_seconds"] == [pytest.approx(0.2), None]
    assert values["ttft_p95_seconds"][0] == pytest.approx(0.29)


def test_a_month_has_few_steps_and_a_model_has_to_be_named(client: Client) -> None:
    client.force_login(factories.user())
    called(timezone.now() - timedelta(days=20))
    told = client.get("/api/usage/speed", {"model": "chat", "hours": 720}).json()
    assert (told["step_seconds"], len(told["at"])) == (7200, 1)
    assert client.get("/api/usage/speed").status_code == 400
