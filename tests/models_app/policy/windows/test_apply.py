"""What windows ask is brought about by the verbs, at the instants they say, and ends with them."""

from datetime import datetime, timedelta

import pytest

from models_app.lifecycle import fleet
from models_app.models import Deployment, Override, Replica, Transition, Window
from models_app.policy.windows.apply import Applier
from models_app.states import Goal, State
from models_app.traffic.routes import load_routes
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.windows.clockwork import MONDAY, asks, at, window

pytestmark = pytest.mark.django_db
BEFORE, OPEN, CLOSED = MONDAY + timedelta(hours=8), MONDAY + timedelta(hours=10), MONDAY + timedelta(hours=17)


def fresh(row: Deployment) -> Deployment:
    """As the rows say now."""
    return Deployment.objects.get(pk=row.pk)


def ready(**fields: object) -> tuple[Deployment, Replica]:
    """A deployment whose replica serves since long before Monday."""
    chat = factories.deployment(goal=Goal.READY, **fields)
    before = MONDAY - timedelta(days=1)
    return chat, factories.replica(deployment=chat, state_at=before, ready_at=before)


def goal(replica: Replica) -> tuple[str, int]:
    """Where it is headed, and how deep."""
    replica.refresh_from_db()
    return replica.goal, replica.sleep_level


def test_settings_are_in_force_while_the_window_is_open_and_its_own_before_and_after() -> None:
    chat = factories.deployment(priority=1, max_concurrency=None)
    asks(window(), chat, priority=5, kv_weight=10, max_concurrency=3, queue_limit=7)
    seen = []
    for moment in (BEFORE, OPEN, CLOSED):
        at(moment)
        now = fresh(chat).in_force
        seen.append((now.priority, now.kv_weight, now.max_concurrency, now.queue_limit))
        assert (fresh(chat).priority, fresh(chat).kv_weight) == (1, 1)
        route = next(one for one in load_routes() if one.deployment_id == chat.pk)
        assert (route.max_concurrency, route.queue_limit) == (now.max_concurrency, now.queue_limit)
    assert seen == [(1, 1, None, 1000), (5, 10, 3, 7), (1, 1, None, 1000)]
    told = Transition.objects.filter(deployment_name=chat.name).order_by("id")
    assert [entry.actor for entry in told] == ["policy:day", "policy:day"]
    assert "priority: 5 (window day)" in told[0].message
    assert "priority: 1 (its own)" in told[1].message


def test_looking_again_changes_nothing_and_a_step_of_the_clock_heals() -> None:
    chat = factories.deployment()
    asks(window(), chat, priority=5)
    applier = Applier()
    at(OPEN, applier)
    seq = fresh(chat).seq
    for _ in range(3):
        at(OPEN, applier)
    assert fresh(chat).seq == seq
    at(BEFORE, applier)  # the clock was set back
    assert fresh(chat).in_force.priority == 0
    at(OPEN + timedelta(days=1), applier)  # and a day of beats was missed
    assert fresh(chat).in_force.priority == 5


def test_the_higher_precedence_decides_field_by_field_and_a_deployment_before_its_label() -> None:
    chat = factories.deployment(labels={"team": "ml"})
    low, high = window("low", precedence=1), window("high", precedence=2)
    asks(low, chat, priority=1, kv_weight=3)
    asks(high, "team=ml", priority=2)
    asks(low, "team=ml", kv_weight=9, queue_limit=4)
    at(OPEN)
    now = fresh(chat).in_force
    assert (now.priority, now.kv_weight, now.queue_limit) == (2, 3, 4)


def test_a_paused_window_asks_nothing_and_one_that_goes_takes_its_settings_along() -> None:
    chat = factories.deployment()
    day = window()
    asks(day, chat, priority=5)
    at(OPEN)
    Window.objects.filter(pk=day.pk).update(paused=True, seq=2)
    at(OPEN)
    assert fresh(chat).in_force.priority == 0
    Window.objects.filter(pk=day.pk).update(paused=False, seq=3)
    at(OPEN)
    assert fresh(chat).in_force.priority == 5
    day.delete()
    at(OPEN)
    assert fresh(chat).in_force.priority == 0


def test_asleep_puts_to_sleep_at_the_opening_who_is_not_in_use() -> None:
    chat, replica = ready()
    asks(window(), chat, level="asleep_2")
    at(BEFORE)
    assert goal(replica) == (Goal.READY, 1)
    at(OPEN)
    assert goal(replica) == (Goal.SLEEPING, 2)
    entry = Transition.objects.filter(replica=replica).first()
    assert entry is not None
    assert (entry.actor, entry.reason) == ("policy:day", "sleep")


def test_who_was_woken_by_a_request_sleeps_again_after_its_shortest_time_awake() -> None:
    chat, replica = ready(min_resident_seconds=60)
    asks(window(), chat, level="asleep_1")
    Replica.objects.filter(pk=replica.pk).update(ready_at=OPEN, state_at=OPEN)
    at(OPEN + timedelta(seconds=59))
    assert goal(replica)[0] == Goal.READY
    at(OPEN + timedelta(seconds=60))
    assert goal(replica)[0] == Goal.SLEEPING


def test_awake_wakes_a_sleeper_and_makes_room_for_it() -> None:
    gpu = factories.gpu()
    chat = factories.deployment(goal=Goal.READY, weights_bytes=40 * GIB)
    other = factories.deployment(goal=Goal.READY, weights_bytes=40 * GIB)
    sleeper = factories.replica(State.SLEEPING, deployment=chat, gpu=gpu)
    since = MONDAY - timedelta(days=400)
    resident = factories.replica(deployment=other, gpu=gpu, state_at=since, ready_at=since)
    asks(window(), chat, level="awake")
    at(OPEN)
    sleeper.refresh_from_db()
    assert (sleeper.goal, sleeper.reason) in {(Goal.READY, "wake"), (Goal.SLEEPING, "waits_to_evict")}
    assert fresh(chat).in_force.stays
    seq = sleeper.seq
    at(OPEN + timedelta(seconds=2))
    sleeper.refresh_from_db()
    assert sleeper.seq == seq  # it is on the way, or waits: nobody asks twice
    resident.refresh_from_db()


def test_stopped_ends_with_the_window_and_what_was_wanted_before_is_wanted_again() -> None:
    factories.gpu()
    chat, replica = ready()
    asks(window(), chat, level="stopped")
    at(OPEN)
    assert (fresh(chat).goal, goal(replica)[0]) == (Goal.STOPPED, Goal.STOPPED)
    at(CLOSED)
    assert fresh(chat).goal == Goal.READY
    assert "goal_before" not in fresh(chat).governed
    at(CLOSED)
    assert fresh(chat).goal == Goal.READY


def test_awake_starts_what_was_stopped_and_stops_it_again_at_the_end() -> None:
    factories.gpu()
    chat = factories.deployment()
    asks(window(), chat, level="awake", replicas=1)
    at(OPEN)
    assert (fresh(chat).goal, chat.placed.count()) == (Goal.READY, 1)
    at(CLOSED)
    assert fresh(chat).goal == Goal.STOPPED


def test_ready_by_begins_earlier_by_what_a_wake_took() -> None:
    chat = factories.deployment(goal=Goal.READY)
    sleeper = factories.replica(State.SLEEPING, deployment=chat, profile={"wake_seconds": 40.0})
    asks(window(ready_by=True), chat, level="awake", priority=3)
    opening = MONDAY + timedelta(hours=9)
    lead = timedelta(seconds=40 * 1.25 + 10)
    at(opening - lead - timedelta(seconds=1))
    assert goal(sleeper)[0] == Goal.SLEEPING
    at(opening - lead)
    assert goal(sleeper)[0] == Goal.READY
    assert (fresh(chat).in_force.level, fresh(chat).in_force.priority) == ("awake", 0)
    at(opening)
    assert fresh(chat).in_force.priority == 3


def test_a_kv_floor_reaches_the_running_engine_and_room_comes_from_who_gives_it() -> None:
    gpu = factories.gpu()
    chat, first = ready(kv_floor_bytes=40 * GIB)
    night, second = ready(kv_floor_bytes=1 * GIB)
    hours = window()
    asks(hours, chat, kv_floor_bytes=2 * GIB)
    asks(hours, night, kv_floor_bytes=39 * GIB)
    at(OPEN)
    for replica, floor in ((first, 2 * GIB), (second, 39 * GIB)):
        replica.refresh_from_db()
        held = replica.reservations.get()
        assert replica.kv_floor_bytes == floor
        assert held.held_bytes == held.awake_bytes == 17 * GIB + floor
    at(CLOSED)
    first.refresh_from_db()
    assert first.kv_floor_bytes == 40 * GIB
    assert gpu.pk == first.gpu_id


def test_a_kv_floor_that_finds_no_room_stays_and_is_raised_once_there_is() -> None:
    chat, replica = ready()
    other, neighbour = ready(weights_bytes=50 * GIB)
    asks(window(), chat, kv_floor_bytes=30 * GIB)
    at(OPEN)
    replica.refresh_from_db()
    assert replica.kv_floor_bytes == 1 * GIB
    fleet.sleep(other, actor="ada")
    Replica.objects.filter(pk=neighbour.pk).update(state=State.SLEEPING)
    neighbour.reservations.update(held_bytes=1 * GIB)
    at(OPEN + timedelta(seconds=10))
    replica.refresh_from_db()
    assert replica.kv_floor_bytes == 30 * GIB


def test_an_override_goes_before_every_window_until_it_ends() -> None:
    chat = factories.deployment()
    asks(window(), chat, priority=5)
    until: datetime = OPEN + timedelta(hours=1)
    Override.objects.create(deployment=chat, values={"priority": 9}, until=until, actor="ada")
    at(OPEN)
    assert fresh(chat).in_force.priority == 9
    assert fresh(chat).governed["fields"]["priority"]["name"] == "ada"
    at(until)
    assert fresh(chat).in_force.priority == 5
