"""An engine's first sleep is rehearsed while nobody wants it, and never in anybody's way."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from models_app.engines.diagnose import Diagnosis
from models_app.lifecycle import ending, sleeping, transition, verbs
from models_app.lifecycle.next_step import Effect, Step
from models_app.models import Replica
from models_app.policy import rehearsal
from models_app.states import Goal, State
from tests import factories
from tests.models_app.lifecycle.sights import sight
from tests.models_app.policy.test_demand import say, waits

pytestmark = pytest.mark.django_db
GIB = 2**30


@pytest.fixture(autouse=True)
def _on(settings: LazySettings) -> None:
    settings.REHEARSE_SLEEP = True
    say()


def ready(**fields: Any) -> Replica:
    return factories.replica(state_at=timezone.now() - timedelta(seconds=6), **fields)


def begun(row: Replica) -> bool:
    rehearsal.begin()
    row.refresh_from_db()
    return (row.goal, row.profile.get("rehearsal")) == (Goal.SLEEPING, "under_way")


def test_an_idle_one_rehearses_its_first_sleep_and_another_of_its_node_waits() -> None:
    first, second = ready(), ready()
    assert begun(first)
    assert not begun(second)
    told = first.transitions.get()
    assert (told.actor, told.reason) == ("rule:rehearsal", "rehearsal")


@pytest.mark.parametrize("wanted", ["lease", "waiting", "fresh", "pinned", "no sleep mode", "slept", "failed", "off"])
def test_none_begins_where_it_could_be_in_the_way_or_is_no_use(wanted: str, settings: LazySettings) -> None:
    row = ready(deployment=factories.deployment(pinned=wanted == "pinned", sleep_enabled=wanted != "no sleep mode"))
    other = ready(deployment=factories.deployment(sleep_enabled=False))
    profile = {"slept": {"first_sleep_of": 1}, "failed": {"rehearsal": "failed"}}.get(wanted, {})
    fresh = {"state_at": timezone.now()} if wanted == "fresh" else {}
    Replica.objects.filter(pk=row.pk).update(profile=profile, **fresh)
    settings.REHEARSE_SLEEP = None if wanted == "off" else True  # as it is for the simulator unless told
    say({row.marker: 1} if wanted == "lease" else {}, waits(other, 1) if wanted == "waiting" else None)
    assert not begun(row)


def test_none_begins_where_the_hosts_ram_does_not_take_it() -> None:
    row = ready(gpu=factories.gpu(node=factories.node(name="small", sleep_budget_bytes=8 * GIB)))
    assert not begun(row)


def test_it_wakes_as_soon_as_it_sleeps_and_its_first_seconds_stand_apart(settings: LazySettings) -> None:
    now = timezone.now()
    times = {"state_at": now, "deadline_at": now + timedelta(seconds=settings.DRAIN_SECONDS)}
    row = factories.replica(State.DRAINING, goal=Goal.SLEEPING, profile={"rehearsal": "under_way"}, **times)
    transition.begin_sleep(row)
    sleeping.asleep(sight(row), Step(State.SLEEPING, None, "asleep"))
    assert (row.state, row.goal) == (State.SLEEPING, Goal.READY)
    assert row.profile["first_sleep_of"] == 1
    assert 0 <= row.profile["first_sleep_seconds"] < 60
    assert "sleep_seconds" not in row.profile
    Replica.objects.filter(pk=row.pk).update(state=State.WAKING, deadline_at=now, seq=row.seq)
    row.refresh_from_db()
    sleeping.awake(sight(row), Step(State.READY, None, "awake"))
    assert (row.state, row.profile["rehearsal"]) == (State.READY, "done")


def test_a_call_ends_a_rehearsal_that_only_drains_and_it_is_tried_another_time() -> None:
    row = ready()
    assert begun(row)
    verbs.transition(row, State.DRAINING, reason="drain", actor="worker")
    verbs.wake(row, actor="gateway")
    row.refresh_from_db()
    sleeping.stay_awake(sight(row), Step(State.READY, None, "drain_cancelled"))
    assert (row.state, row.goal) == (State.READY, Goal.READY)
    assert "rehearsal" not in row.profile


def test_one_that_is_put_to_sleep_for_good_meanwhile_does_not_wake() -> None:
    row = ready()
    assert begun(row)
    assert verbs.sleep(row, actor="ada").profile["rehearsal"] == "done"


def test_a_rehearsal_that_fails_is_told_and_not_repeated() -> None:
    ends = timezone.now() + timedelta(minutes=1)
    row = factories.replica(State.DRAINING, goal=Goal.SLEEPING, profile={"rehearsal": "under_way"}, deadline_at=ends)
    sleeping.stay_awake(sight(row), Step(State.READY, Effect.GIVE_UP, "sleep_timeout"))
    assert (row.state, row.goal, row.profile["rehearsal"]) == (State.READY, Goal.READY, "failed")
    assert row.message.startswith("its rehearsal failed: the engine did not fall asleep in time")
    assert not begun(row)


def test_an_engine_that_breaks_in_a_rehearsal_costs_no_restart() -> None:
    ends = timezone.now() + timedelta(minutes=1)
    row = factories.replica(State.WAKING, profile={"rehearsal": "under_way"}, deadline_at=ends)
    ending.failed(sight(row), Diagnosis("canary_mismatch", "It answered differently.", ""), "canary_mismatch")
    assert (row.state, row.restarts, row.profile["rehearsal"]) == (State.FAILED, 0, "failed")
    assert row.restart_at is not None and row.restart_at.timestamp() < time.time() + 5
    assert row.message.startswith("Its rehearsal of a sleep failed: It answered differently.")
