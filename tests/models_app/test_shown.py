"""Open pages hear of every row that changes, also of what the database or another row changed."""

from typing import Any

import pytest
from django.utils import timezone

from gpus.models import GPU, Node
from models_app.lifecycle import removal, verbs
from models_app.models import Deployment, EngineRuntime, Model, Replica, Reservation
from models_app.snapshot import Shown
from models_app.states import Goal, State
from sardeenz import events
from tests import factories

pytestmark = pytest.mark.django_db

Told = list[dict[str, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Everything that pages are sent."""
    sent: Told = []
    monkeypatch.setattr(events, "publish", lambda group, payload: sent.append(payload))
    return sent


def of(told: Told, kind: str, number: int) -> dict[str, Any]:
    """The newest event about a row."""
    return [event for event in told if (event["kind"], event["id"]) == (kind, number)][-1]


def ended(replica: Replica) -> Replica:
    """As its worker leaves it: stopped, to be forgotten."""
    Replica.objects.filter(pk=replica.pk).update(
        state=State.STOPPED, goal=Goal.STOPPED, disposable=True, deadline_at=None
    )
    return Replica.objects.select_related("gpu", "deployment", "replaces").get(pk=replica.pk)


def test_forgetting_a_moves_source_shows_its_target_as_an_ordinary_replica(
    told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    source = factories.replica()
    target = factories.replica(deployment=source.deployment, gpu=factories.gpu(), replaces=source)
    with django_capture_on_commit_callbacks(execute=True):
        removal.forget(ended(source))
    assert of(told, "replica", source.pk)["row"] is None
    event = of(told, "replica", target.pk)
    assert (event["row"]["replaces"], event["row"]["verbs"]["move"], event["seq"]) == (None, None, target.seq + 1)
    assert of(told, "deployment", source.deployment_id)["row"]["placed"] == 1


def test_forgetting_a_cancelled_target_frees_its_source_on_the_page(
    told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    source = factories.replica()
    with django_capture_on_commit_callbacks(execute=True):
        target = verbs.move(source, factories.gpu(), actor="ada")
    assert of(told, "replica", source.pk)["row"]["verbs"]["move"].startswith("it is one side of")
    with django_capture_on_commit_callbacks(execute=True):
        removal.forget(ended(target))
    event = of(told, "replica", source.pk)
    assert (event["row"]["verbs"]["move"], event["seq"]) == (None, source.seq + 2)


def test_the_last_replica_takes_its_deleted_deployment_along(
    told: Told, django_capture_on_commit_callbacks: Any
) -> None:
    replica = factories.replica()
    verbs.delete(replica.deployment, actor="ada")
    with django_capture_on_commit_callbacks(execute=True):
        removal.forget(ended(replica))
    assert of(told, "deployment", replica.deployment_id)["row"] is None
    assert not Deployment.objects.exists()


CHANGES = {
    "a model is renamed": (lambda: Model.objects.update(name="new"), "deployment", "model_name"),
    "a runtime is renamed": (lambda: EngineRuntime.objects.update(name="new"), "deployment", "runtime_name"),
    "a deployment is edited in bulk": (lambda: Deployment.objects.update(priority=7), "deployment", "priority"),
    "a replica goes by cascade": (lambda: Replica.objects.all().delete(), "deployment", "placed"),
    "a GPU is closed": (lambda: GPU.objects.update(enabled=False), "gpu", "enabled"),
    "a GPU goes away": (lambda: GPU.objects.update(present=False), "gpu", "present"),
    "bytes are given back": (lambda: Reservation.objects.update(held_bytes=0), "gpu", "reserved_bytes"),
    "a node has another budget": (lambda: Node.objects.update(sleep_budget_bytes=1), "node", "sleep_budget_bytes"),
    "a replica is noted on": (lambda: Replica.objects.update(message="words"), "replica", "message"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_nobody_told_is_told_with_the_next_tick(told: Told, what: str) -> None:
    factories.replica()
    change, kind, field = CHANGES[what]
    shown = Shown()
    shown.tell()
    shown.tell()
    assert told == []
    change()
    shown.tell()
    events_of = [event for event in told if event["kind"] == kind]
    assert len(events_of) == 1
    assert field in events_of[0]["row"]
    told.clear()
    shown.tell()
    assert told == []


def test_a_row_that_is_gone_is_told_as_gone(told: Told) -> None:
    replica = factories.replica()
    shown = Shown()
    shown.tell()
    Replica.objects.all().delete()
    shown.tell()
    event = of(told, "replica", replica.pk)
    assert (event["row"], event["seq"]) == (None, replica.seq + 1)


def test_the_clock_of_a_node_is_no_change(told: Told) -> None:
    node = factories.node()
    shown = Shown()
    shown.tell()
    Node.objects.filter(pk=node.pk).update(seen_at=timezone.now())
    shown.tell()
    assert told == []
