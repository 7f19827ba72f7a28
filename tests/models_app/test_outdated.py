"""What an engine was started with, beside what its deployment says by now: shown, and taken up by the next start."""

from typing import Any

import pytest
from django.test import Client

from models_app import rows
from models_app.errors import NeverFits
from models_app.launch_settings import outdated
from models_app.lifecycle import verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Deployment, Replica
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


def placed(state: State = State.READY, **fields: Any) -> Replica:
    """A replica as `deploy` makes it, then in `state`, holding nothing."""
    factories.gpu()
    replica = verbs.deploy(factories.deployment(**fields), actor="ada")[0]
    Replica.objects.update(state=state, deadline_at=None)
    replica.reservations.update(held_bytes=0)
    return Replica.objects.select_related("gpu", "deployment").get(pk=replica.pk)


def edit(replica: Replica, **changes: Any) -> Replica:
    Deployment.objects.filter(pk=replica.deployment_id).update(**changes)
    return Replica.objects.select_related("gpu", "deployment").get(pk=replica.pk)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"priority": 3, "pinned": True, "replicas": 2}, []),
        ({"kv_cap_bytes": 8 * GIB}, ["KV cap"]),
        ({"extra_args": ["--enforce-eager"], "max_model_len": 100}, ["extra arguments", "longest context"]),
        ({"weights_bytes": 20 * GIB, "overhead_bytes": None}, ["weights"]),
        ({"sleep_enabled": False}, ["may sleep"]),
        ({"environment": {"A": "1"}}, ["environment"]),
    ],
)
def test_settings_that_only_a_restart_takes_up_are_named(changes: dict[str, Any], told: list[str]) -> None:
    replica = edit(placed(), **changes)
    assert outdated(replica) == told
    replica.state = State.STOPPED
    assert outdated(replica) == []


def test_another_model_or_runtime_is_named_once() -> None:
    replica = edit(placed(), model=factories.model(), runtime=factories.runtime(name="other", version="9.9.9"))
    assert outdated(replica) == ["model", "runtime"]


def test_a_row_tells_it_without_a_query_of_its_own(django_assert_num_queries: Any) -> None:
    edit(placed(), kv_cap_bytes=8 * GIB)
    found = list(rows.replicas())
    with django_assert_num_queries(0):
        assert [rows.replica_row(replica)["outdated"] for replica in found] == [["KV cap"]]


def test_an_edit_shows_the_rows_of_its_replicas_anew(client: Client) -> None:
    client.force_login(factories.user("olive", is_staff=True))
    replica = placed()
    given = {"kv_cap_bytes": 8 * GIB}
    answer = client.patch(f"/api/deployments/{replica.deployment_id}", given, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    assert Replica.objects.get(pk=replica.pk).seq == replica.seq + 1
    assert client.get(f"/api/replicas/{replica.pk}").json()["outdated"] == ["KV cap"]


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_a_start_takes_up_what_was_changed_since(state: State) -> None:
    replica = edit(placed(state), extra_args=["--enforce-eager"], weights_bytes=20 * GIB)
    Replica.objects.update(goal=Goal.STOPPED if state == State.STOPPED else Goal.READY)
    verbs.deploy(replica.deployment, actor="ada")
    replica.refresh_from_db()
    assert (replica.goal, replica.spec["extra_args"]) == (Goal.READY, ["--enforce-eager"])
    assert replica.spec["gpu_uuids"] == [replica.gpu.uuid]
    assert replica.reservations.get().awake_bytes == 22 * GIB


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_one_that_is_to_have_more_gpus_is_placed_anew(state: State) -> None:
    replica = placed(state)
    factories.gpu()
    edit(replica, tensor_parallel=2)
    Replica.objects.update(goal=Goal.STOPPED if state == State.STOPPED else Goal.READY)
    verbs.start(replica, actor="ada")
    other = Replica.objects.exclude(pk=replica.pk).get()
    assert (len(other.spec["gpu_uuids"]), other.spec["tensor_parallel"], other.goal) == (2, 2, Goal.READY)
    replica.refresh_from_db()
    assert (replica.goal, replica.disposable) == (Goal.STOPPED, True)


def test_where_there_never_are_so_many_gpus_it_is_refused_and_nothing_changes() -> None:
    replica = edit(placed(State.STOPPED), tensor_parallel=2)
    Replica.objects.update(goal=Goal.STOPPED)
    with pytest.raises(NeverFits, match="on each of 2 GPUs"):
        verbs.start(replica, actor="ada")
    replica.refresh_from_db()
    assert (replica.state, replica.goal, replica.disposable) == (State.STOPPED, Goal.STOPPED, False)


def test_where_so_many_are_taken_it_waits_and_says_so() -> None:
    replica = placed(State.STOPPED)
    verbs.deploy(factories.deployment(weights_bytes=70 * GIB), actor="ada", gpu=factories.gpu())
    edit(replica, tensor_parallel=2)
    Replica.objects.filter(pk=replica.pk).update(goal=Goal.STOPPED)
    verbs.start(replica, actor="ada")
    replica.refresh_from_db()
    assert (replica.state, replica.goal, replica.reason) == (State.STOPPED, Goal.READY, "no_capacity")
    assert replica.message.startswith("It waits for room: ")


def test_what_is_left_of_a_failed_engine_goes_before_it_is_placed_anew() -> None:
    replica = placed(State.FAILED)
    factories.gpu()
    edit(replica, tensor_parallel=2)
    Replica.objects.update(port=20001)
    verbs.start(replica, actor="ada")
    worker = Reconciler(replica.gpu.uuid)
    for _ in range(6):
        if not Replica.objects.filter(disposable=False, state=State.PENDING):
            worker.pass_once()
    [left] = Replica.objects.filter(disposable=False)
    assert (left.state, left.goal, len(left.spec["gpu_uuids"])) == (State.PENDING, Goal.READY, 2)


def test_one_that_serves_is_not_stopped_for_settings_that_can_never_fit() -> None:
    replica = edit(placed(), tensor_parallel=2)
    with pytest.raises(NeverFits):
        verbs.restart(replica, actor="ada")
    replica.refresh_from_db()
    assert (replica.goal, replica.restarting) == (Goal.READY, False)
