"""The verbs on rows: what they change, record and refuse. No engine stands behind these replicas."""

import pytest

from models_app.errors import (
    HostMemoryShort,
    IllegalTransition,
    MoveInProgress,
    NeverFits,
    NoCapacity,
    ReplicaMoved,
    SleepDisabled,
)
from models_app.lifecycle import removal, verbs
from models_app.models import Deployment, Replica, Transition
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db


def last(replica: Replica) -> Transition:
    """The newest thing that happened to it."""
    found = Transition.objects.filter(replica=replica).first()
    assert found is not None
    return found


def test_deploy_places_a_replica_promises_its_bytes_and_records_who_asked() -> None:
    factories.gpu()
    [replica] = verbs.deploy(factories.deployment(), actor="ada")
    assert (replica.state, replica.goal) == (State.PENDING, Goal.READY)
    assert replica.reservations.get().held_bytes == 18 * GIB
    assert (last(replica).actor, last(replica).reason) == ("ada", "deploy")


def test_deploying_twice_changes_nothing() -> None:
    factories.gpu()
    deployment = factories.deployment()
    first = verbs.deploy(deployment, actor="ada")
    assert verbs.deploy(deployment, actor="ada") == first
    assert Replica.objects.count() == 1


def test_copies_of_one_deployment_spread_over_gpus() -> None:
    factories.gpu()
    factories.gpu()
    placed = verbs.deploy(factories.deployment(replicas=2), actor="ada")
    assert len({replica.gpu_id for replica in placed}) == 2


def test_fewer_replicas_stop_the_surplus() -> None:
    factories.gpu()
    deployment = factories.deployment(replicas=2)
    verbs.deploy(deployment, actor="ada")
    Deployment.objects.update(replicas=1)
    verbs.deploy(deployment, actor="ada")
    assert sorted(Replica.objects.values_list("goal", "disposable")) == [("ready", False), ("stopped", True)]


def test_a_replica_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    gpu = factories.gpu()
    with pytest.raises(NeverFits) as refused:
        verbs.deploy(factories.deployment(weights_bytes=79 * GIB), actor="ada")
    assert refused.value.fields == {"needed_bytes": 81 * GIB, "free_bytes": 79 * GIB, "gpu": gpu.uuid}
    assert not Replica.objects.exists()


def test_a_tensor_parallel_replica_is_promised_bytes_on_every_gpu() -> None:
    factories.gpu()
    factories.gpu()
    [replica] = verbs.deploy(factories.deployment(tensor_parallel=2), actor="ada")
    assert [row.held_bytes for row in replica.reservations.all()] == [18 * GIB] * 2
    assert len(replica.spec["gpu_uuids"]) == 2


def test_a_disabled_gpu_takes_nothing_new() -> None:
    gpu = factories.gpu(enabled=False)
    with pytest.raises(NoCapacity):
        verbs.deploy(factories.deployment(), actor="ada", gpu=gpu)


def test_stop_twice_is_stop_once() -> None:
    replica = factories.replica()
    verbs.stop(replica, actor="ada")
    verbs.stop(replica, actor="ada")
    assert Transition.objects.filter(replica=replica).count() == 1


def test_a_started_stopped_replica_takes_the_present_settings_and_a_new_generation() -> None:
    replica = factories.replica(State.STOPPED)
    Deployment.objects.update(extra_args=["--max-num-seqs", "8"])
    replica = verbs.start(replica, actor="ada")
    assert (replica.state, replica.generation) == (State.PENDING, 2)
    assert replica.spec["extra_args"] == ["--max-num-seqs", "8"]
    assert replica.reservations.get().held_bytes == 18 * GIB


def test_a_started_replica_whose_room_is_taken_waits_for_room_and_claims_none() -> None:
    gpu = factories.gpu()
    stopped = factories.replica(State.STOPPED)
    verbs.deploy(factories.deployment(weights_bytes=70 * GIB), actor="ada", gpu=gpu)
    stopped = verbs.start(stopped, actor="ada")
    assert (stopped.state, stopped.goal, stopped.reason) == (State.STOPPED, Goal.READY, "no_capacity")
    assert stopped.message == f"It waits for room: 18 GiB more are needed, GPU 0 of {gpu.node.name} has 7 GiB free"
    assert stopped.restart_at is not None
    verbs.deploy(factories.deployment(weights_bytes=4 * GIB), actor="ada", gpu=gpu)


def test_sleep_needs_sleep_mode() -> None:
    with pytest.raises(SleepDisabled):
        verbs.sleep(factories.replica(deployment=factories.deployment(sleep_enabled=False)), actor="ada")


def test_sleep_is_refused_when_host_memory_is_short_and_level_2_is_not() -> None:
    replica = factories.replica(gpu=factories.gpu(node=factories.node(name="small", sleep_budget_bytes=8 * GIB)))
    with pytest.raises(HostMemoryShort) as refused:
        verbs.sleep(replica, actor="ada")
    assert refused.value.fields["free_bytes"] == 8 * GIB
    assert verbs.sleep(replica, actor="ada", level=2).goal == Goal.SLEEPING


def test_a_stopped_replica_cannot_sleep() -> None:
    with pytest.raises(IllegalTransition):
        verbs.sleep(factories.replica(State.STOPPED), actor="ada")


def test_a_wake_is_refused_when_the_sleepers_place_was_taken() -> None:
    sleeper = factories.replica(State.SLEEPING)
    verbs.deploy(factories.deployment(weights_bytes=70 * GIB), actor="ada", gpu=sleeper.gpu)
    with pytest.raises(NoCapacity) as refused:
        verbs.wake(sleeper, actor="ada")
    assert refused.value.fields["needed_bytes"] == 17 * GIB


def test_a_sleeper_headed_for_ready_has_claimed_its_place() -> None:
    factories.replica(State.SLEEPING, goal=Goal.READY, deployment=factories.deployment(weights_bytes=60 * GIB))
    deployment = factories.deployment()
    assert verbs.deploy(deployment, actor="ada") == []
    deployment.refresh_from_db()
    assert deployment.reason == "no_capacity"


def test_a_wake_that_waits_for_room_can_be_cancelled() -> None:
    replica = factories.replica(State.SLEEPING, goal=Goal.READY)
    assert verbs.cancel(replica, actor="ada").goal == Goal.SLEEPING


def test_a_move_starts_a_copy_with_the_same_arguments_and_leaves_the_source_alone() -> None:
    source = factories.replica(deployment=factories.deployment(extra_args=["--max-num-seqs", "8"]))
    Deployment.objects.update(extra_args=[])
    target = verbs.move(source, factories.gpu(), actor="ada")
    assert (target.replaces, target.goal, target.spec["extra_args"]) == (source, "ready", ["--max-num-seqs", "8"])
    source.refresh_from_db()
    assert (source.state, source.goal) == (State.READY, Goal.READY)


def test_a_sleeping_replica_moves_asleep() -> None:
    source = factories.replica(State.SLEEPING, sleep_level=2)
    target = verbs.move(source, factories.gpu(), actor="ada")
    assert (target.goal, target.sleep_level) == (Goal.SLEEPING, 2)


def test_one_move_at_a_time() -> None:
    source = factories.replica()
    elsewhere = factories.gpu()
    verbs.move(source, elsewhere, actor="ada")
    for verb in (verbs.sleep, verbs.restart):
        with pytest.raises(MoveInProgress):
            verb(source, actor="ada")
    with pytest.raises(MoveInProgress):
        verbs.move(source, elsewhere, actor="ada")


def test_a_cancelled_move_stops_its_target_only() -> None:
    source = factories.replica()
    target = verbs.move(source, factories.gpu(), actor="ada")
    verbs.cancel(source, actor="ada")
    source.refresh_from_db()
    target.refresh_from_db()
    assert (source.goal, target.goal, target.disposable) == (Goal.READY, Goal.STOPPED, True)


def test_deleting_a_deployment_stops_its_replicas_and_goes_with_the_last() -> None:
    replica = factories.replica()
    verbs.delete(replica.deployment, actor="ada")
    replica.refresh_from_db()
    assert (replica.goal, replica.disposable) == (Goal.STOPPED, True)
    Replica.objects.update(state=State.STOPPED, deadline_at=None)
    replica.refresh_from_db()
    removal.forget(replica)
    assert not Deployment.objects.exists()


def test_whoever_was_slower_is_told_to_look_again() -> None:
    replica = factories.replica()
    stale = Replica.objects.get(pk=replica.pk)
    verbs.transition(replica, State.DRAINING, reason="drain", actor="worker")
    with pytest.raises(ReplicaMoved):
        verbs.transition(stale, State.DRAINING, reason="drain", actor="worker")
    assert Transition.objects.count() == 1


def test_an_illegal_transition_is_refused() -> None:
    with pytest.raises(IllegalTransition):
        verbs.transition(factories.replica(), State.SLEEPING, reason="", actor="worker")
