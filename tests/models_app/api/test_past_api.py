"""What happened and was decided, of everybody; and who was on which GPU when."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_app import decisions
from models_app.decisions import Decided
from models_app.lifecycle import verbs
from models_app.models import Decision, Transition
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    """Whoever may only look sees all of it."""
    client.force_login(factories.user("viewer"))
    return client


def told(client: Client, path: str = "decisions", **asked: object) -> dict[str, Any]:
    answer = client.get(f"/api/{path}", asked)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def wrote(replica: Any, minutes_ago: float, old: str, new: str, **fields: Any) -> None:
    row = Transition.objects.create(
        replica=replica,
        deployment_name=replica.deployment.name,
        generation=1,
        old=old,
        new=new,
        goal=new,
        gpus=[replica.gpu.uuid],
        **{"actor": "worker"} | fields,
    )
    Transition.objects.filter(pk=row.pk).update(at=timezone.now() - timedelta(minutes=minutes_ago))


def decided(kind: Decision.Kind, name: str, actor: str, replica: Any = None) -> None:
    inputs = {"needed_bytes": 3 << 30}
    decisions.keep(Decided(kind, "no_capacity", f"{name} waits", name, actor, replica and replica.pk, inputs))


def test_history_and_decisions_are_one_list_in_pages(viewer: Client) -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat"))
    for minutes in (50, 40, 30):
        wrote(replica, minutes, "starting", "ready")
    decided(Decision.Kind.PLACEMENT, "code", "ann")
    whole = told(viewer)
    assert [one["kind"] for one in whole["results"]] == ["placement", "history", "history", "history"]
    assert whole["results"][0] | {"at": ""} == {
        "at": "",
        "kind": "placement",
        "code": "no_capacity",
        "sentence": "code waits",
        "actor": "ann",
        "by": "ann",
        "deployment_name": "code",
        "replica": None,
        "times": 1,
        "inputs": {"needed_bytes": 3 << 30},
    }
    pages = [told(viewer, limit=3, offset=offset) for offset in (0, 3)]
    assert [one for page in pages for one in page["results"]] == whole["results"]
    assert {page["count"] for page in pages} == {4}


def test_it_is_narrowed_by_kind_actor_deployment_gpu_and_time(viewer: Client) -> None:
    gpus = [factories.gpu(), factories.gpu()]
    chat, code = (
        factories.replica(deployment=factories.deployment(name=name), gpu=gpu)
        for name, gpu in zip(("chat", "code"), gpus, strict=True)
    )
    wrote(chat, 30, "ready", "ready", reason="evicted", actor="policy:evict")
    wrote(code, 20, "sleeping", "waking", actor="gateway")
    decided(Decision.Kind.LIMIT, "chat", "governor", chat)
    decided(Decision.Kind.REFUSAL, "code", "ann", code)

    def names(**asked: object) -> list[tuple[str, str]]:
        return [(one["kind"], one["deployment_name"]) for one in told(viewer, **asked)["results"]]

    assert names(kind="eviction") == [("history", "chat")]
    assert names(kind="refusal,history") == [("refusal", "code"), ("history", "code"), ("history", "chat")]
    assert names(actor="policy") == [("history", "chat")]
    assert names(deployment="chat") == [("limit", "chat"), ("history", "chat")]
    assert names(gpu=gpus[1].uuid) == [("refusal", "code"), ("history", "code")]
    since = (timezone.now() - timedelta(minutes=25)).isoformat()
    assert names(until=since) == [("history", "chat")]
    assert ("history", "chat") not in names(since=since)
    answer = viewer.get("/api/decisions", {"kind": "rumour"})
    assert (answer.status_code, "rumour" in answer.json()["fields"]["kind"][0]) == (400, True)


def test_a_verb_says_in_the_history_on_which_gpu_its_replica_is() -> None:
    replica = factories.replica(deployment=factories.deployment(name="chat"), state="ready", goal="ready")
    verbs.stop(replica, actor="ann")
    assert Transition.objects.latest("id").gpus == [replica.gpu.uuid]


def test_a_timeline_has_a_lane_for_each_replica_of_a_gpu_and_each_switch_with_its_cost(viewer: Client) -> None:
    gpu, other = factories.gpu(), factories.gpu()
    chat = factories.replica(deployment=factories.deployment(name="chat"), gpu=gpu)
    code = factories.replica(deployment=factories.deployment(name="code"), gpu=gpu)
    far = factories.replica(deployment=factories.deployment(name="far"), gpu=other)
    wrote(chat, 300, "starting", "ready")
    wrote(far, 50, "starting", "ready")
    wrote(chat, 30, "ready", "ready", reason="evicted", fields={"wanted": {"name": "code"}}, message="code is wanted")
    wrote(chat, 30, "ready", "draining")
    wrote(chat, 29, "draining", "sleeping")
    wrote(code, 29, "sleeping", "waking")
    wrote(code, 28, "waking", "ready")
    found = told(viewer, "timeline", hours=2)
    lanes = {one["gpu"]: one["lanes"] for one in found["gpus"]}
    assert {gpu: [lane["deployment"] for lane in held] for gpu, held in lanes.items()} == {
        gpu.uuid: ["chat", "code"],
        other.uuid: ["far"],
    }
    assert [span["state"] for span in lanes[gpu.uuid][0]["spans"]] == ["ready", "draining", "sleeping"]
    (switch,) = found["switches"]
    assert (switch["left"], switch["came"], switch["gpus"]) == ("chat", "code", [gpu.uuid])
    assert switch["cost_seconds"] == pytest.approx(120, abs=1)
    assert "code is wanted" in switch["sentence"]
    assert told(viewer, "timeline", hours=0.1)["switches"] == []


def test_of_what_is_before_a_page_nothing_but_its_time_is_read(viewer: Client) -> None:
    for number in range(30):
        decided(Decision.Kind.WAIT, f"model-{number}", "rule")
    with CaptureQueriesContext(connection) as queries:
        page = told(viewer, limit=5, offset=20)
    assert (page["count"], [row["deployment_name"] for row in page["results"]]) == (
        30,
        [f"model-{number}" for number in range(9, 4, -1)],
    )
    [whole] = [query["sql"] for query in queries if '"sentence"' in query["sql"]]
    assert whole.count(",", whole.index(" IN (")) == 4
