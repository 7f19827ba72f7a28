"""What nobody asks for steps down: asleep, asleep at level 2, without an engine; each after its own time."""

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.memory import host_rows
from models_app.models import Replica
from models_app.policy import descent, idle
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db
ALL = {"idle_sleep_seconds": 60.0, "idle_level_2_seconds": 600.0, "idle_stop_seconds": 3600.0}


def unused(seconds: float, state: State = State.READY, level: int = 1, **fields: object) -> Replica:
    """A replica that nobody has used for so long."""
    since = timezone.now() - timedelta(seconds=seconds)
    deployment = factories.deployment(**(ALL | fields))
    return factories.replica(state, deployment=deployment, ready_at=since, state_at=since, sleep_level=level)


def stands(replica: Replica) -> tuple[str, int, str]:
    replica.refresh_from_db()
    return replica.goal, replica.sleep_level, replica.reason


@pytest.mark.parametrize(
    ("seconds", "state", "level", "step"),
    [
        (59, State.READY, 1, 0),
        (61, State.READY, 1, idle.ASLEEP),
        (601, State.READY, 1, idle.DEEPER),
        (3601, State.READY, 1, idle.DEEPER),
        (599, State.SLEEPING, 1, 0),
        (601, State.SLEEPING, 1, idle.DEEPER),
        (601, State.SLEEPING, 2, 0),
        (3601, State.SLEEPING, 1, idle.ENGINELESS),
        (3601, State.SLEEPING, 2, idle.ENGINELESS),
    ],
)
def test_each_step_comes_after_its_own_time(seconds: float, state: State, level: int, step: int) -> None:
    assert idle.due(unused(seconds, state, level), seconds) == step


def test_it_sleeps_deeper_and_then_its_engine_ends() -> None:
    shallow, deep = unused(700, State.SLEEPING), unused(4000, State.SLEEPING, 2)
    idle.step_down()
    assert stands(shallow)[2] == descent.DEEPENS
    assert stands(deep)[2] == host_rows.RESTS
    assert "nobody asked for it in 400" in deep.message


def test_without_a_time_for_level_2_the_one_for_the_end_leads_over_it() -> None:
    replica = unused(4000, idle_level_2_seconds=None)
    idle.step_down()
    assert stands(replica)[:2] == (Goal.SLEEPING, 2)
    assert replica.message == "nobody asked for it for 4000 s; its deployment lets it be idle for 3600 s"


@pytest.mark.parametrize("fields", [{"pinned": True}, {"min_resident_seconds": 5000.0}])
def test_a_pinned_one_stays_and_so_does_one_within_its_shortest_time_awake(fields: dict[str, object]) -> None:
    replica = unused(4000, **fields)
    idle.step_down()
    assert stands(replica)[0] == Goal.READY


def test_a_level_that_a_window_says_goes_before_idle_times() -> None:
    replica = unused(4000)
    source = {"value": "awake", "by": "window", "name": "work", "id": 1}
    type(replica.deployment).objects.filter(pk=replica.deployment_id).update(governed={"fields": {"level": source}})
    idle.step_down()
    assert stands(replica)[0] == Goal.READY
