"""How replicas stood over time, as rows of the history tell it."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from models_app.models import Replica, Transition
from models_app.policy import lanes
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def wrote(replica: Any, minutes_ago: float, old: str, new: str, **fields: Any) -> None:
    row = Transition.objects.create(
        replica_id=replica, deployment_name="chat", generation=1, old=old, new=new, goal=new, actor="worker", **fields
    )
    Transition.objects.filter(pk=row.pk).update(at=NOW - timedelta(minutes=minutes_ago))


def ago(minutes: float) -> str:
    return (NOW - timedelta(minutes=minutes)).isoformat()


def test_a_lane_begins_with_what_was_so_before_and_ends_open() -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat"))
    wrote(replica.pk, 90, "starting", "ready")
    wrote(replica.pk, 30, "ready", "ready", reason="sleep")
    wrote(replica.pk, 20, "ready", "draining")
    wrote(replica.pk, 19, "draining", "sleeping", message="nobody asked for it")
    found = lanes.of_deployment("chat", NOW - timedelta(hours=1), NOW)
    (lane,) = found["lanes"]
    assert (lane["replica"], lane["gone"]) == (replica.pk, False)
    assert [(one["state"], one["since"], one["until"]) for one in lane["spans"]] == [
        ("ready", ago(60), ago(20)),
        ("draining", ago(20), ago(19)),
        ("sleeping", ago(19), None),
    ]
    assert lane["spans"][-1]["sentence"].endswith("nobody asked for it")


def test_one_that_is_gone_ends_with_its_last_change_and_edits_are_marks() -> None:
    factories.deployment(name="chat")
    wrote(777, 40, "", "pending")
    wrote(777, 35, "pending", "stopped")
    wrote(777, 34, "stopped", "stopped", reason="moved")
    wrote(None, 10, "", "", reason="edited", message="priority: 0 -> 5")
    wrote(778, 120, "ready", "stopped")
    found = lanes.of_deployment("chat", NOW - timedelta(hours=1), NOW)
    (lane,) = found["lanes"]
    assert (lane["replica"], lane["gone"], lane["spans"][-1]["until"]) == (777, True, ago(34))
    assert [(mark["at"], mark["sentence"]) for mark in found["marks"]] == [
        (ago(10), "chat was edited: priority: 0 -> 5")
    ]


def test_of_a_busy_span_the_latest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_CHANGES", 3)
    replica = factories.replica(deployment=factories.deployment(name="chat"))
    for minutes in (50, 40, 30, 20):
        wrote(replica.pk, minutes, "sleeping", "waking" if minutes in (50, 30) else "ready")
    found = lanes.of_deployment("chat", NOW - timedelta(hours=1), NOW)
    assert found["since"] == ago(40)
    assert [one["state"] for one in found["lanes"][0]["spans"]] == ["ready", "waking", "ready"]


def test_the_lanes_of_a_deployment_are_asked_by_its_id(client: Client) -> None:
    client.force_login(factories.user())
    replica = factories.replica(State.READY, deployment=factories.deployment(name="chat"))
    wrote(replica.pk, 5, "starting", "ready")
    told = client.get(f"/api/deployments/{replica.deployment_id}/lanes", {"hours": 2}).json()
    assert [span["state"] for span in told["lanes"][0]["spans"]] == ["ready"]
    assert client.get("/api/deployments/999/lanes").status_code == 404


def test_the_command_of_an_engine_is_shown_without_its_secrets(client: Client) -> None:
    client.force_login(factories.user())
    of = factories.deployment(name="chat", environment={"HF_TOKEN": "abc", "VLLM_LOGGING_LEVEL": "DEBUG"})
    replica: Replica = factories.replica(deployment=of)
    told = client.get(f"/api/replicas/{replica.pk}/launch").json()
    assert told["argv"][told["argv"].index("serve") + 1] == of.model.source
    assert told["environment"]["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert told["environment"]["HF_TOKEN"] == told["environment"]["VLLM_API_KEY"] == "(hidden)"
    assert "SARDEENZ_SECRET_KEY" not in told["environment"]
    assert "SARDEENZ_DATABASE_URL" not in told["environment"]
