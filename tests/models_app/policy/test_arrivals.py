"""A call for a model of which nothing is placed, or that rests where there is no room: where it comes to be."""

from datetime import timedelta

import pytest
from django.utils import timezone

from gpus.models import GPU
from models_app.errors import DeploymentStopped, NoCapacity
from models_app.lifecycle import fleet
from models_app.lifecycle.waits import for_room
from models_app.memory import placement
from models_app.models import Decision, Deployment, Replica
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import large, last, now, say, waits

pytestmark = pytest.mark.django_db


def unplaced(**fields: object) -> Deployment:
    """A 62 GiB model that found no room when it was deployed."""
    deployment = factories.deployment(weights_bytes=60 * GIB, **fields)
    fleet.deploy(deployment, actor="ada")
    deployment.refresh_from_db()
    assert (deployment.reason, deployment.placed.count()) == ("no_capacity", 0)
    return deployment


def on(gpu: GPU, state: State = State.READY, **fields: object) -> Replica:
    """A 62 GiB model on this GPU, in its state for long."""
    deployment = factories.deployment(weights_bytes=60 * GIB, goal=Goal.READY, **fields)
    long_ago = timezone.now() - timedelta(seconds=100)
    return factories.replica(state, deployment=deployment, gpu=gpu, state_at=long_ago)


def test_an_idle_model_makes_room_for_one_that_was_never_placed() -> None:
    idle = large(State.READY)
    wanted = unplaced()
    say()
    demand.request_ready(wanted.pk)
    placed = wanted.placed.get()
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert (placed.state, now(placed), placed.gpu) == (State.STOPPED, (Goal.READY, "wake"), idle.gpu)
    assert placed.message == f"starts once `{idle.deployment.name}` made room"
    assert last(idle).fields["wanted"]["needs"] == {idle.gpu.uuid: 62 * GIB}
    assert placement.free_bytes([idle.gpu])[idle.gpu.pk] < 0, "its place is its own meanwhile"
    demand.request_ready(wanted.pk)
    assert wanted.placed.count() == 1


def test_a_busy_model_stays_until_its_calls_have_waited_long_enough() -> None:
    busy = large(State.READY)
    wanted = unplaced()
    say({busy.marker: 3}, _calls(wanted, 20))
    demand.request_ready(wanted.pk)
    placed = wanted.placed.get()
    assert (now(busy)[0], now(placed)) == (Goal.READY, (Goal.READY, "waits_for_room"))
    assert "in use and may stay until" in placed.message
    assert placement.free_bytes([busy.gpu])[busy.gpu.pk] == 17 * GIB, "one that waits claims nothing"
    say({busy.marker: 3}, _calls(wanted, 31))
    demand.request_ready(wanted.pk)
    assert (now(busy), now(placed)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, "wake"))
    assert wanted.placed.count() == 1


def test_of_two_that_wait_the_one_due_first_goes_first_whether_it_sleeps_or_was_never_placed() -> None:
    idle, sleeper = large(State.READY), large(State.SLEEPING)
    wanted = unplaced()
    say({idle.marker: 1}, waits(sleeper, 12) | _calls(wanted, 2))
    demand.request_ready(wanted.pk)
    demand.request_ready(sleeper.deployment_id)
    say({idle.marker: 1}, waits(sleeper, 50) | _calls(wanted, 40))
    demand.request_ready(wanted.pk)
    placed = wanted.placed.get()
    assert now(placed)[1] == "waits_for_room"
    assert f"`{sleeper.deployment.name}` has waited longer and goes first" in placed.message
    say({idle.marker: 1}, waits(sleeper, 40) | _calls(wanted, 50))
    demand.request_ready(sleeper.deployment_id)
    assert f"`{wanted.name}` has waited longer and goes first" in Replica.objects.get(pk=sleeper.pk).message


def test_where_nobody_may_go_the_call_is_refused_and_nothing_is_placed() -> None:
    kept = large(State.READY, pinned=True)
    wanted = unplaced()
    say()
    with pytest.raises(NoCapacity, match=f"what has to stay: `{kept.deployment.name}` \\(pinned\\)") as refused:
        demand.request_ready(wanted.pk)
    assert (refused.value.fields["needed_bytes"], refused.value.fields["free_bytes"]) == (62 * GIB, 17 * GIB)
    assert wanted.placed.count() == 0
    decision = Decision.objects.get(deployment_name=wanted.name, actor="gateway")
    assert decision.inputs["verdict"] == "refuse"


def test_the_gpu_is_taken_that_can_be_cleared_now() -> None:
    one, other = factories.gpu(), factories.gpu()
    busy, idle = on(one), on(other)
    wanted = unplaced()
    say({busy.marker: 1})
    demand.request_ready(wanted.pk)
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert wanted.placed.get().gpu == other


@pytest.mark.parametrize("goal", [Goal.SLEEPING, Goal.READY])
def test_one_without_an_engine_comes_to_be_where_there_is_room(goal: Goal) -> None:
    """Its own GPU is held by one that is pinned; it rests there, or waits for room."""
    rests = _resting(large(State.READY, pinned=True).gpu, goal)
    other = factories.gpu()
    say(waiting=waits(rests, 0))
    demand.request_ready(rests.deployment_id)
    placed = rests.deployment.placed.get(disposable=False)
    assert (placed.state, placed.gpu) == (State.PENDING, other)
    rests.refresh_from_db()
    assert (rests.goal, rests.disposable, rests.reason) == (Goal.STOPPED, True, "placed_elsewhere")


def test_one_without_an_engine_comes_to_be_where_others_make_room() -> None:
    rests = _resting(large(State.READY, pinned=True).gpu, Goal.SLEEPING)
    other = factories.gpu()
    idle = on(other)
    say(waiting=waits(rests, 0))
    demand.request_ready(rests.deployment_id)
    placed = rests.deployment.placed.get(disposable=False)
    assert (now(placed), placed.gpu, now(idle)) == ((Goal.READY, "wake"), other, (Goal.SLEEPING, "evicted"))


def test_one_stays_where_it_rests_while_no_other_gpu_is_better() -> None:
    rests = _resting(large(State.READY, pinned=True).gpu, Goal.SLEEPING)
    other = factories.gpu()
    on(other, pinned=True)
    say(waiting=waits(rests, 0))
    with pytest.raises(NoCapacity, match="what has to stay"):
        demand.request_ready(rests.deployment_id)
    assert now(rests)[0] == Goal.SLEEPING
    assert rests.deployment.placed.count() == 1


def test_one_whose_room_does_not_come_waits_on_as_it_was_deployed() -> None:
    idle = large(State.READY)
    wanted = unplaced()
    say()
    demand.request_ready(wanted.pk)
    placed = wanted.placed.get()
    Replica.objects.filter(pk=idle.pk).update(goal=Goal.READY, reason="sleep_given_up")
    with pytest.raises(NoCapacity) as short:
        placement.check_room(placed)
    for_room(placed, short.value)
    assert now(placed) == (Goal.READY, "no_capacity")
    assert f"`{idle.deployment.name}` did not go" in placed.message


def test_a_stopped_deployment_is_not_placed_by_a_call() -> None:
    large(State.READY)
    wanted = unplaced()
    fleet.stop(wanted, actor="ada")
    say()
    with pytest.raises(DeploymentStopped):
        demand.request_ready(wanted.pk)
    assert wanted.placed.count() == 0


def _resting(gpu: GPU, goal: Goal) -> Replica:
    """A model of the same size without an engine, on this GPU."""
    replica = on(gpu, State.STOPPED)
    reason = "demoted_to_stopped" if goal == Goal.SLEEPING else NoCapacity.code
    Replica.objects.filter(pk=replica.pk).update(goal=goal, reason=reason, restart_at=replica.state_at)
    replica.refresh_from_db()
    return replica


def _calls(deployment: Deployment, seconds: float) -> dict[int, dict[str, float]]:
    return waits(Replica(deployment=deployment), seconds)
