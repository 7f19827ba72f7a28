"""What a node's start makes of rows whose engines ended with it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from gpus import ended, processes
from gpus.models import Node
from models_app import rows
from models_app.lifecycle import resume, verbs
from models_app.models import Replica, Transition
from models_app.states import LIVE, Goal, State
from models_app.traffic import routes
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _this_boot() -> None:
    ended.forget()
    factories.node(boot_id=processes.boot_id())


def fresh(replica: Replica) -> Replica:
    replica.refresh_from_db()
    return replica


@pytest.mark.parametrize("state", sorted(LIVE - {State.SLEEPING}))
def test_who_served_or_was_to_serve_loads_again_with_no_failure_counted(state: State) -> None:
    replica = factories.replica(state)
    held = replica.reservations.get().held_bytes
    ended.remember([replica.marker])
    resume.resume()
    fresh(replica)
    assert (replica.state, replica.goal, replica.generation) == (State.PENDING, Goal.READY, 2)
    assert (replica.restarts, replica.restart_at, replica.port, replica.ipc_name) == (0, None, None, "")
    assert replica.reservations.get().held_bytes == held
    assert "Sardeenz was stopped" in replica.message
    assert not Transition.objects.filter(new=State.FAILED).exists()
    assert ended.remembered() == frozenset()


@pytest.mark.parametrize(
    ("state", "goal"),
    [
        (State.SLEEPING, Goal.SLEEPING),
        (State.SLEEPING, Goal.READY),
        (State.DRAINING, Goal.SLEEPING),
        (State.READY, Goal.SLEEPING),
        (State.STARTING, Goal.SLEEPING),
    ],
)
def test_who_slept_or_was_to_sleep_has_no_engine_until_it_is_asked_for(state: State, goal: Goal) -> None:
    replica = factories.replica(state, goal=goal)
    ended.remember([replica.marker])
    resume.resume()
    fresh(replica)
    assert (replica.state, replica.goal, replica.port) == (State.STOPPED, Goal.SLEEPING, None)
    assert replica.reservations.get().held_bytes == 0
    assert replica.message == "Its engine ended when Sardeenz was stopped; it loads at its first request."
    [route] = routes.load_routes()
    assert route.state == "sleeping"


def test_an_operators_wake_loads_one_that_rests() -> None:
    replica = factories.replica(State.STOPPED, goal=Goal.SLEEPING, port=None, ipc_name="")
    assert rows.replica_row(replica)["verbs"]["wake"] is None
    verbs.wake(replica, actor="test")
    assert fresh(replica).goal == Goal.READY


def test_what_was_to_stop_goes_on_stopping() -> None:
    replica = factories.replica(State.DRAINING, goal=Goal.STOPPED)
    ended.remember([replica.marker])
    resume.resume()
    assert fresh(replica).state == State.STOPPING


def test_an_engine_that_nobody_ended_is_left_to_its_worker() -> None:
    replica = factories.replica(State.READY)
    ended.remember(["4711:1"])
    resume.resume()
    assert fresh(replica).state == State.READY


def test_after_a_restart_of_the_host_no_engine_is_blamed() -> None:
    replica = factories.replica(State.READY)
    Node.objects.update(boot_id="an earlier boot")
    resume.resume()
    assert fresh(replica).state == State.PENDING
    assert "the host restarted" in replica.message
    assert Transition.objects.filter(reason=resume.HOST_RESTARTED).count() == 1


def test_no_time_is_over_while_nobody_could_act() -> None:
    replica = factories.replica(State.PENDING, deadline_at=timezone.now() - timedelta(days=3))
    resume.resume()
    deadline = fresh(replica).deadline_at
    assert deadline is not None
    assert deadline > timezone.now()


def test_ended_engines_are_remembered_until_that_is_done() -> None:
    ended.remember(["1:1"])
    ended.remember(["2:3", "1:1"])
    assert ended.remembered() == {"1:1", "2:3"}
    ended.forget()
    assert ended.remembered() == frozenset()
