"""The rows say how many replicas there should be; the control worker makes it so, and says what keeps it from it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from models_app.errors import NoCapacity
from models_app.lifecycle import fleet, observe, removal, scale, verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import placement
from models_app.models import Deployment, Replica
from models_app.policy import demand
from models_app.states import Goal, State
from models_app.traffic import routes
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db


def tick() -> None:
    """What the control worker does every two seconds."""
    setbacks = Setbacks()
    scale.bring_about(setbacks)
    assert not setbacks.known


def full() -> Replica:
    """A GPU with 8 GiB left, and who fills it."""
    deployment = factories.deployment(weights_bytes=69 * GIB, goal=Goal.READY)
    return factories.replica(gpu=factories.gpu(), deployment=deployment)


def free(replica: Replica) -> None:
    """Its engine is gone and nothing is left of it."""
    Replica.objects.filter(pk=replica.pk).update(state=State.STOPPED, goal=Goal.STOPPED, disposable=True)
    Deployment.objects.filter(pk=replica.deployment_id).update(goal=Goal.STOPPED)
    replica.refresh_from_db()
    removal.forget(replica)


def goals(deployment: Deployment) -> list[str]:
    """Of its replicas, the oldest first."""
    return list(deployment.placed.order_by("pk").values_list("goal", flat=True))


def test_a_number_that_is_raised_is_placed_and_one_that_is_lowered_stops_the_surplus(client: Client) -> None:
    client.force_login(factories.user("olive", is_staff=True))
    for _ in range(3):
        factories.gpu()
    deployment = factories.deployment()
    fleet.deploy(deployment, actor="ada")
    for number, expected in ((3, ["ready"] * 3), (1, ["ready", "stopped", "stopped"])):
        address = f"/api/deployments/{deployment.pk}"
        assert client.patch(address, {"replicas": number}, content_type="application/json").status_code == 200
        tick()
        assert goals(deployment) == expected
    row = client.get(f"/api/deployments/{deployment.pk}").json()
    assert (row["placed"], row["goal"]) == (1, "ready")


def test_what_nobody_asked_to_run_is_not_placed() -> None:
    factories.gpu()
    deployment = factories.deployment(replicas=2)
    tick()
    assert goals(deployment) == []
    fleet.deploy(deployment, actor="ada")
    fleet.stop(deployment, actor="ada")
    Deployment.objects.update(replicas=3)
    tick()
    assert goals(deployment) == ["stopped", "stopped"]


@pytest.mark.parametrize("verb", [fleet.deploy, fleet.start])
def test_a_failed_replica_starts_when_it_is_asked_to(verb: object) -> None:
    deployment = factories.deployment()
    replica = factories.replica(State.FAILED, deployment=deployment, restarts=6, restart_at=None)
    verb(deployment, actor="ada")  # type: ignore[operator]
    replica.refresh_from_db()
    assert (replica.goal, replica.restarts, replica.reason) == (Goal.READY, 0, "start")
    assert replica.restart_at is not None
    assert replica.restart_at <= timezone.now()
    worker = Reconciler(replica.gpu.uuid)
    for _ in range(3):
        worker.pass_once()
        replica.refresh_from_db()
        if replica.state == State.PENDING:
            break
    assert (replica.state, replica.generation) == (State.PENDING, 2)


def test_what_found_no_room_says_so_and_is_placed_once_there_is() -> None:
    there = full()
    deployment = factories.deployment()
    fleet.deploy(deployment, actor="ada")
    tick()
    deployment.refresh_from_db()
    where = f"18 GiB are needed, GPU 0 of {there.gpu.node.name} has 8 GiB free"
    assert (goals(deployment), deployment.reason, deployment.message) == (
        [],
        "no_capacity",
        f"It waits for room: {where}",
    )
    seq = deployment.seq
    tick()
    deployment.refresh_from_db()
    assert deployment.seq == seq
    free(there)
    tick()
    deployment.refresh_from_db()
    assert (goals(deployment), deployment.reason, deployment.message) == (["ready"], "", "")


def test_of_several_replicas_those_that_fit_are_placed() -> None:
    factories.gpu()
    deployment = factories.deployment(replicas=3, weights_bytes=30 * GIB)
    fleet.deploy(deployment, actor="ada")
    deployment.refresh_from_db()
    assert goals(deployment) == ["ready", "ready"]
    assert deployment.message.startswith("1 of 3 replicas wait for room: 32 GiB are needed")


def test_of_two_that_wait_the_one_of_higher_priority_comes_first() -> None:
    there = full()
    low, high = (factories.deployment(priority=priority, weights_bytes=50 * GIB) for priority in (0, 1))
    fleet.deploy(low, actor="ada")
    fleet.deploy(high, actor="ada")
    free(there)
    tick()
    assert (goals(low), goals(high)) == ([], ["ready"])


def test_an_edit_that_can_never_be_met_is_told_on_the_row() -> None:
    gpu = factories.gpu()
    deployment = factories.deployment()
    fleet.deploy(deployment, actor="ada")
    Deployment.objects.update(replicas=2, weights_bytes=200 * GIB)
    tick()
    deployment.refresh_from_db()
    assert (goals(deployment), deployment.reason) == (["ready"], "never_fits")
    where = f"GPU 0 of {gpu.node.name} has 79 GiB when it is empty"
    assert deployment.message == f"it can never fit: 202 GiB are needed, {where}"
    Deployment.objects.update(weights_bytes=16 * GIB)
    tick()
    deployment.refresh_from_db()
    assert (goals(deployment), deployment.message) == (["ready", "ready"], "")


def test_a_replica_that_goes_is_replaced() -> None:
    factories.gpu()
    deployment = factories.deployment()
    fleet.deploy(deployment, actor="ada")
    Replica.objects.update(state=State.STOPPED, goal=Goal.STOPPED, disposable=True, deadline_at=None)
    tick()
    assert goals(deployment) == ["stopped", "ready"]


def test_a_replica_that_an_operator_stopped_stays_stopped() -> None:
    factories.gpu()
    deployment = factories.deployment()
    [replica] = verbs.deploy(deployment, actor="ada")
    verbs.stop(replica, actor="ada")
    tick()
    assert goals(deployment) == ["stopped"]


def test_those_that_serve_are_kept_when_the_number_is_lowered() -> None:
    deployment = factories.deployment(replicas=1, goal=Goal.READY)
    factories.replica(State.FAILED, deployment=deployment)
    serving = factories.replica(State.READY, deployment=deployment)
    tick()
    assert [row.pk for row in verbs.kept(deployment)] == [serving.pk]


@pytest.mark.parametrize("reason", placement.FOR_WANT_OF_ROOM)
def test_a_stopped_replica_whose_gpu_is_taken_is_placed_elsewhere_once_there_is_room(reason: str) -> None:
    there = full()
    deployment = factories.deployment()
    stopped = factories.replica(State.STOPPED, deployment=deployment, gpu=there.gpu, port=None, ipc_name="")
    fleet.start(deployment, actor="ada")
    tick()
    assert goals(deployment) == ["ready"]
    Replica.objects.filter(pk=stopped.pk).update(reason=reason)  # whatever it was last said to wait for
    other = factories.gpu()
    tick()
    assert goals(deployment) == ["stopped", "ready"]
    stopped.refresh_from_db()
    assert (stopped.disposable, stopped.reason) == (True, "placed_elsewhere")
    assert deployment.placed.get(disposable=False).gpu == other


def test_a_stopped_replica_that_waits_is_tried_again_and_claims_nothing() -> None:
    there = full()
    deployment = factories.deployment()
    stopped = factories.replica(State.STOPPED, deployment=deployment, gpu=there.gpu, port=None, ipc_name="")
    verbs.start(stopped, actor="ada")
    worker = Reconciler(there.gpu.uuid)
    worker.step(*_looked_at(worker, stopped))
    stopped.refresh_from_db()
    assert (stopped.state, stopped.reason) == (State.STOPPED, "no_capacity")
    free(there)
    Replica.objects.filter(pk=stopped.pk).update(restart_at=timezone.now() - timedelta(seconds=1))
    worker.step(*_looked_at(worker, stopped))
    stopped.refresh_from_db()
    assert (stopped.state, stopped.message) == (State.PENDING, "")


def _looked_at(worker: Reconciler, replica: Replica) -> tuple[Replica, observe.World]:
    return next(row for row in worker._replicas() if row.pk == replica.pk), observe.world(worker.remembered)


def test_a_request_for_a_model_that_nobody_may_make_room_for_is_told_for_how_much() -> None:
    Deployment.objects.filter(pk=full().deployment_id).update(pinned=True)
    deployment = factories.deployment()
    fleet.deploy(deployment, actor="ada")
    [route] = [one for one in routes.load_routes() if one.deployment_id == deployment.pk]
    assert (route.state, route.reason) == ("starting", "no_capacity")
    with pytest.raises(NoCapacity, match="18 GiB are needed"):
        demand.request_ready(deployment.pk)
