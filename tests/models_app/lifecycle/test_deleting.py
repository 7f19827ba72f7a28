"""While a deployment or a replica is on its way out, nothing brings it back: every verb says so, with one code."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from models_app.errors import DeploymentDeleting, ReplicaLeaving
from models_app.lifecycle import fleet, verbs
from models_app.models import Deployment, Replica
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db
REPLICA_VERBS = ("start", "restart", "sleep", "wake", "cancel", "move")
DEPLOYMENT_VERBS = ("deploy", "start", "sleep", "wake")


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True, is_superuser=True))
    return client


def send(client: Client, method: str, path: str, **fields: object) -> tuple[int, Any]:
    answer = getattr(client, method)(f"/api/{path}", fields, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def deleted(state: State) -> Replica:
    """A replica of a deployment that waits for it to end."""
    replica = factories.replica(state)
    verbs.delete(replica.deployment, actor="ada")
    replica.refresh_from_db()
    return replica


@pytest.mark.parametrize("state", State)
def test_no_verb_brings_a_deleted_deployment_back(operator: Client, state: State) -> None:
    replica, elsewhere = deleted(state), factories.gpu()
    before = Replica.objects.values().get(), Deployment.objects.values().get()
    asked = [f"replicas/{replica.pk}/{verb}" for verb in REPLICA_VERBS]
    asked += [f"deployments/{replica.deployment_id}/{verb}" for verb in DEPLOYMENT_VERBS]
    for path in asked:
        status, body = send(operator, "post", path, **({"gpu": elsewhere.uuid} if path.endswith("move") else {}))
        assert (status, body["code"]) == (409, "deployment_deleting"), path
        assert body["message"].startswith(f"{replica.deployment} is being deleted")
    for changes in ({"replicas": 2}, {"capture_until": "2040-01-01T00:00:00Z"}, {"priority": 1}, {}):
        status, body = send(operator, "patch", f"deployments/{replica.deployment_id}", **changes)
        assert (status, body["code"]) == (409, "deployment_deleting"), changes
    assert before == (Replica.objects.values().get(), Deployment.objects.values().get())


def test_stopping_and_deleting_again_are_no_conflict(operator: Client) -> None:
    replica = deleted(State.DRAINING)
    for method, path in (
        ("post", f"replicas/{replica.pk}/stop"),
        ("post", f"deployments/{replica.deployment_id}/stop"),
        ("delete", f"deployments/{replica.deployment_id}"),
    ):
        assert send(operator, method, path)[0] == 202
    replica.refresh_from_db()
    assert (replica.goal, replica.disposable) == (Goal.STOPPED, True)


def test_a_waiting_request_does_not_wake_what_is_being_deleted() -> None:
    replica = deleted(State.SLEEPING)
    with pytest.raises(DeploymentDeleting):
        demand.request_ready(replica.deployment_id)
    with pytest.raises(DeploymentDeleting):
        demand.request_ready(10**6)


def test_the_admin_shows_what_is_being_deleted_and_changes_nothing(operator: Client) -> None:
    deployment = deleted(State.READY).deployment
    page = reverse("admin:models_app_deployment_change", args=[deployment.pk])
    assert operator.get(page).status_code == 200
    assert operator.post(page, {"replicas": 2}).status_code == 403
    address = reverse("admin:models_app_deployment_changelist")
    for action in ("deploy", "stop"):
        answer = operator.post(address, {"action": action, "_selected_action": [deployment.pk]}, follow=True)
        said = [str(message) for message in answer.context["messages"]]
        assert any("is being deleted" in text for text in said) == (action == "deploy"), said
    assert Replica.objects.get().goal == Goal.STOPPED


def test_no_alias_leads_to_what_is_being_deleted(operator: Client) -> None:
    deployment = deleted(State.READY).deployment
    status, body = send(operator, "post", "aliases", name="gpt-4", targets=[{"deployment": deployment.name}])
    assert (status, list(body["fields"])) == (400, ["targets"])
    assert "being deleted" in str(body["fields"])


def test_a_replica_that_was_scaled_away_does_not_come_back() -> None:
    deployment = factories.deployment(replicas=1)
    first, second = (factories.replica(deployment=deployment) for _ in range(2))
    verbs.deploy(deployment, actor="ada")
    second.refresh_from_db()
    assert (second.goal, second.disposable) == (Goal.STOPPED, True)
    for verb in (verbs.start, verbs.restart, verbs.sleep, verbs.wake, verbs.cancel):
        with pytest.raises(ReplicaLeaving):
            verb(second, actor="ada")
    with pytest.raises(ReplicaLeaving):
        verbs.move(second, factories.gpu(), actor="ada")
    first.refresh_from_db()
    assert first.goal == Goal.READY


def test_a_move_that_is_done_is_not_cancelled_into_nothing() -> None:
    """The source retires because its target serves everywhere: cancelling then would end both."""
    source = factories.replica()
    target = factories.replica(deployment=source.deployment, gpu=factories.gpu(), replaces=source)
    verbs.set_goal(source, Goal.STOPPED, reason="moved", actor="move", disposable=True)
    with pytest.raises(ReplicaLeaving):
        verbs.cancel(source, actor="ada")
    target.refresh_from_db()
    assert (target.goal, target.disposable) == (Goal.READY, False)
    stopped = verbs.stop(target, actor="ada")
    assert (stopped.goal, stopped.disposable) == (Goal.STOPPED, False)


def test_a_stop_ends_a_restart_under_way() -> None:
    replica = factories.replica()
    verbs.restart(replica, actor="ada")
    stopped = verbs.stop(replica, actor="ada")
    assert (stopped.goal, stopped.restarting) == (Goal.STOPPED, False)


def test_a_verb_on_a_deployment_that_is_gone_meanwhile_is_a_conflict() -> None:
    deployment = factories.deployment()
    stale = Deployment.objects.get(pk=deployment.pk)
    verbs.delete(deployment, actor="ada")
    for verb in (fleet.deploy, fleet.start, fleet.stop, fleet.sleep, fleet.wake, fleet.delete):
        with pytest.raises(DeploymentDeleting):
            verb(stale, actor="ada")
