"""A request for a model whose engine is gone: room is sought for it as for one that sleeps."""

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.errors import NoCapacity
from models_app.lifecycle import verbs
from models_app.lifecycle.waits import for_room
from models_app.memory import placement
from models_app.models import Replica
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import large, last, now, say, waits

pytestmark = pytest.mark.django_db


def dead(state: State = State.FAILED, **fields: object) -> Replica:
    """A 62 GiB model that slept when its engine died; nothing of it holds memory any more."""
    soon = timezone.now() + timedelta(seconds=30)
    given = {"goal": Goal.SLEEPING, "restart_at": soon, "reason": "engine_killed", "port": None, "ipc_name": ""}
    given["ready_at"] = timezone.now() - timedelta(seconds=100)
    replica = large(state)
    replica.reservations.update(held_bytes=0)
    Replica.objects.filter(pk=replica.pk).update(**(given | fields))
    replica.refresh_from_db()
    return replica


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_an_idle_neighbour_is_evicted_for_it(state: State) -> None:
    idle, wanted = large(State.READY), dead(state)
    say()
    demand.request_ready(wanted.deployment_id)
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert now(wanted) == (Goal.READY, "wake")
    assert wanted.message == f"starts once `{idle.deployment.name}` made room"
    assert last(idle).fields["wanted"]["needs"] == {idle.gpu.uuid: 62 * GIB}


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_a_busy_neighbour_is_left_alone_until_the_requests_have_waited_long_enough(state: State) -> None:
    busy, wanted = large(State.READY), dead(state)
    say({busy.marker: 3}, waits(wanted, 20))
    demand.request_ready(wanted.deployment_id)
    assert (now(busy)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    say({busy.marker: 3}, waits(wanted, 31))
    demand.request_ready(wanted.deployment_id)
    assert (now(busy), now(wanted)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, "wake"))


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_it_is_refused_at_once_where_nobody_may_go(state: State) -> None:
    kept, wanted = large(State.READY, pinned=True), dead(state)
    say(waiting=waits(wanted, 0))
    with pytest.raises(NoCapacity, match=f"to stay: `{kept.deployment.name}`") as refused:
        demand.request_ready(wanted.deployment_id)
    assert refused.value.fields["needed_bytes"] == 62 * GIB
    assert refused.value.fields["free_bytes"] == 17 * GIB


def test_its_place_is_its_own_while_the_neighbour_makes_room() -> None:
    evicted, wanted = large(State.READY), dead()
    say()
    demand.request_ready(wanted.deployment_id)
    demand.request_ready(evicted.deployment_id)
    assert now(evicted) == (Goal.SLEEPING, "waits_for_room")
    assert now(wanted) == (Goal.READY, "wake")
    assert placement.free_bytes([wanted.gpu])[wanted.gpu.pk] < 0


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_its_worker_waits_for_those_who_make_room_and_tells_when_they_do_not(state: State) -> None:
    evicted, wanted = large(State.READY), dead(state)
    say()
    demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    with pytest.raises(NoCapacity) as short:
        placement.hold_awake(wanted)
    for_room(wanted, short.value)
    assert now(wanted) == (Goal.READY, "wake")
    evicted.refresh_from_db()
    verbs.set_goal(evicted, Goal.READY, reason="sleep_given_up", actor="worker")
    for_room(wanted, short.value)
    assert now(wanted) == (Goal.READY if state == State.FAILED else Goal.SLEEPING, "no_capacity")
    assert wanted.state == state


def test_one_that_served_and_lost_its_room_takes_it_back_when_a_request_asks() -> None:
    idle, wanted = large(State.READY), dead(goal=Goal.READY, reason=NoCapacity.code)
    say()
    demand.request_ready(wanted.deployment_id)
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert now(wanted) == (Goal.READY, "wake")
    assert wanted.restart_at is not None
    assert wanted.restart_at <= timezone.now()


def test_what_was_put_off_for_want_of_room_starts_at_once_when_there_is_room() -> None:
    wanted = dead(goal=Goal.READY, reason=NoCapacity.code)
    demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    assert wanted.restart_at is not None
    assert wanted.restart_at <= timezone.now()


def test_a_back_off_after_a_crash_is_kept() -> None:
    wanted = dead(goal=Goal.READY)
    before = wanted.restart_at
    demand.request_ready(wanted.deployment_id)
    assert now(wanted) == (Goal.READY, "engine_killed")
    assert wanted.restart_at == before


def test_a_copy_that_sleeps_is_woken_rather_than_another_one_loaded() -> None:
    cold = dead()
    asleep = factories.replica(State.SLEEPING, deployment=cold.deployment, gpu=factories.gpu())
    demand.request_ready(cold.deployment_id)
    assert (now(asleep), now(cold)[0]) == ((Goal.READY, "wake"), Goal.SLEEPING)


def test_after_a_restart_of_everything_those_who_take_turns_load_one_after_the_other() -> None:
    served, slept = dead(goal=Goal.READY), dead()
    say(waiting=waits(slept, 0))
    Replica.objects.filter(pk=served.pk).update(state=State.PENDING, deadline_at=timezone.now() + timedelta(minutes=9))
    served.reservations.update(held_bytes=62 * GIB)
    demand.request_ready(slept.deployment_id)
    assert now(slept) == (Goal.SLEEPING, "waits_for_room")
    assert "is not ready yet" in slept.message
    Replica.objects.filter(pk=served.pk).update(
        state=State.READY, deadline_at=None, state_at=timezone.now() - timedelta(seconds=60)
    )
    demand.request_ready(slept.deployment_id)
    assert (now(served), now(slept)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, "wake"))
