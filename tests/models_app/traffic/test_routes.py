"""What gateways are told: who may be handed new requests, and whether waiting helps."""

import pytest

from models_app.models import Replica
from models_app.states import Goal, State
from models_app.traffic.routes import Route, load_routes
from tests import factories

pytestmark = pytest.mark.django_db


def only() -> Route:
    """The one route there is."""
    [route] = load_routes()
    return route


@pytest.mark.parametrize(
    ("state", "goal", "expected"),
    [
        (State.PENDING, Goal.READY, "starting"),
        (State.STARTING, Goal.READY, "starting"),
        (State.DRAINING, Goal.SLEEPING, "sleeping"),
        (State.SLEEPING, Goal.SLEEPING, "sleeping"),
        (State.SLEEPING, Goal.READY, "starting"),
        (State.WAKING, Goal.READY, "starting"),
        (State.DRAINING, Goal.STOPPED, "stopped"),
        (State.STOPPED, Goal.STOPPED, "stopped"),
        (State.FAILED, Goal.READY, "failed"),
    ],
)
def test_a_replica_that_is_not_ready_is_not_handed_out(state: State, goal: Goal, expected: str) -> None:
    factories.replica(state, goal=goal)
    assert (only().state, only().replicas) == (expected, ())


def test_a_ready_replica_is_handed_out_with_its_own_key() -> None:
    replica = factories.replica()
    [handed] = only().replicas
    assert handed.marker == replica.marker
    assert handed.url == replica.url
    assert len(handed.api_key) > 30


def test_a_ready_replica_that_is_to_sleep_or_stop_is_not_handed_out_any_more() -> None:
    factories.replica(goal=Goal.SLEEPING)
    assert only().replicas == ()


def test_both_sides_of_a_move_are_handed_out_while_both_are_ready() -> None:
    source = factories.replica()
    factories.replica(deployment=source.deployment, gpu=factories.gpu(), replaces=source)
    assert len(only().replicas) == 2


def test_the_eta_is_the_deployments_own_last_wake() -> None:
    factories.replica(State.SLEEPING, profile={"wake_seconds": 1.5, "load_seconds": 40})
    assert only().eta_seconds == 1.5


def test_reading_the_table_takes_two_queries_however_many_there_are(django_assert_num_queries: object) -> None:
    for _ in range(3):
        factories.replica()
    with django_assert_num_queries(2):  # type: ignore[operator]
        load_routes()
    assert Replica.objects.count() == 3
