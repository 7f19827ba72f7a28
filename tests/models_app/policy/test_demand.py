"""A request waits for a model: what becomes of rows. No engine stands behind these replicas."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from models_app.errors import CrashLoop, DeploymentStopped, NoCapacity, ReplicaMoved
from models_app.lifecycle import verbs
from models_app.lifecycle.waits import for_room
from models_app.memory import placement
from models_app.models import Replica, Transition
from models_app.policy import demand
from models_app.states import Goal, State
from models_app.traffic import activity
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db

Waiting = dict[int, dict[str, float]]


def say(leases: dict[str, int] | None = None, waiting: Waiting | None = None, gateway: str = "one") -> None:
    """A gateway's report."""

    async def write() -> None:
        async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
            await activity.areport(client, gateway, [], leases or {}, waiting)

    asyncio.run(write())


def waits(replica: Replica, seconds: float, priority: int = 0) -> Waiting:
    """Two requests for it, the older one that old."""
    return {replica.deployment_id: {"count": 2, "since": time.time() - seconds, "priority": priority}}


def large(state: State, seconds: float = 100, **fields: object) -> Replica:
    """A 62 GiB model of which one fits on the GPU, in its state for so long."""
    deployment = factories.deployment(weights_bytes=60 * GIB, **fields)
    return factories.replica(state, deployment=deployment, state_at=timezone.now() - timedelta(seconds=seconds))


def now(replica: Replica) -> tuple[str, str]:
    """Where it is headed, and why."""
    replica.refresh_from_db()
    return replica.goal, replica.reason


def last(replica: Replica) -> Transition:
    """The newest entry of its history."""
    found = Transition.objects.filter(replica=replica).first()
    assert found is not None
    return found


def test_any_number_of_waiting_requests_cause_one_wake() -> None:
    replica = factories.replica(State.SLEEPING)
    for _ in range(5):
        demand.request_ready(replica.deployment_id)
    assert [row.reason for row in Transition.objects.all()] == ["wake"]


def test_a_request_ends_a_drain_that_was_to_end_in_sleep() -> None:
    replica = factories.replica(State.DRAINING, goal=Goal.SLEEPING)
    demand.request_ready(replica.deployment_id)
    assert now(replica) == (Goal.READY, "wake")


def test_a_request_for_a_stopped_model_is_told_so() -> None:
    with pytest.raises(DeploymentStopped):
        demand.request_ready(factories.replica(State.STOPPED).deployment_id)


def test_a_request_for_a_model_that_failed_for_good_is_told_why() -> None:
    replica = factories.replica(State.FAILED, message="CUDA out of memory", restart_at=None)
    with pytest.raises(CrashLoop, match="CUDA out of memory"):
        demand.request_ready(replica.deployment_id)


def test_an_idle_model_makes_room_and_both_histories_say_for_whom() -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert now(wanted) == (Goal.READY, "wake")
    assert wanted.message == f"wakes once `{idle.deployment.name}` made room"
    told = rf"evicted for `{wanted.deployment.name}`: idle, ready for 10\d s of at least 15 s"
    assert re.search(told, last(idle).message)
    fields = last(idle).fields
    assert (fields["verdict"], fields["concerns"], fields["sleep_level"]) == ("evict", [idle.pk], 1)
    assert fields["wanted"]["needs"] == {idle.gpu.uuid: 61 * GIB}


def test_a_model_is_left_its_minimum_residency() -> None:
    idle, wanted = large(State.READY, seconds=5), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    assert now(idle) == (Goal.READY, "")
    assert now(wanted) == (Goal.SLEEPING, "waits_for_room")
    assert "the end of its minimum residency" in wanted.message


@pytest.mark.parametrize("state", [State.SLEEPING, State.WAKING])
def test_nobody_makes_room_while_another_wakes_there(state: State) -> None:
    waking, idle, wanted = (
        factories.replica(
            each,
            goal=Goal.SLEEPING if each is State.SLEEPING and place == 2 else Goal.READY,
            deployment=factories.deployment(weights_bytes=34 * GIB),
            state_at=timezone.now() - timedelta(seconds=100),
        )
        for place, each in enumerate((state, State.READY, State.SLEEPING))
    )
    say()
    demand.request_ready(wanted.deployment_id)
    assert (now(idle)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    assert wanted.message == f"no room now: `{waking.deployment.name}` wakes first"


def test_a_busy_model_is_left_alone_until_the_oldest_request_has_waited_long_enough() -> None:
    busy, wanted = large(State.READY), large(State.SLEEPING)
    say({busy.marker: 3}, waits(wanted, 10))
    pause = demand.request_ready(wanted.deployment_id)
    assert pause == pytest.approx(30 * (1 / 2 + 3 / 8) - 10, abs=5)
    assert (now(busy)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    say({busy.marker: 3}, waits(wanted, 31))
    demand.request_ready(wanted.deployment_id)
    assert (now(busy), now(wanted)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, "wake"))
    assert re.search("the oldest for 3[1-9] s of at most 30 s at priority 0", busy.message)


def test_what_several_gateways_hold_counts_together() -> None:
    busy, wanted = large(State.READY), large(State.SLEEPING)
    say({busy.marker: 3}, waits(wanted, 1), gateway="one")
    say({}, waits(wanted, 6, priority=-1), gateway="two")
    demand.request_ready(wanted.deployment_id)
    assert now(busy) == (Goal.SLEEPING, "evicted")
    assert last(busy).fields["wanted"]["waiting"]["count"] == 4


def test_a_wait_is_told_once_in_the_history_and_always_on_the_row() -> None:
    busy, wanted = large(State.READY, seconds=1), large(State.SLEEPING)
    say({busy.marker: 1}, waits(wanted, 0))
    demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    before = wanted.message
    say({}, waits(wanted, 0))
    for _ in range(3):
        demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    assert wanted.message != before
    assert [row.reason for row in Transition.objects.filter(replica=wanted)] == ["waits_for_room"]


def test_the_expected_moment_of_a_wait_is_on_the_row() -> None:
    idle, wanted = large(State.READY, seconds=5), large(State.SLEEPING)
    Replica.objects.filter(pk=wanted.pk).update(profile={"wake_seconds": 2.0})
    say()
    demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    assert wanted.expected_at == idle.state_at + timedelta(seconds=15 + 2)


def test_a_evicted_model_competes_again_and_does_not_simply_turn_back() -> None:
    evicted, wanted = large(State.READY), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    Replica.objects.filter(pk=evicted.pk).update(state=State.DRAINING, deadline_at=timezone.now())
    demand.request_ready(evicted.deployment_id)
    assert now(evicted) == (Goal.SLEEPING, "waits_for_room")
    assert now(wanted)[0] == Goal.READY


def test_a_evicted_model_turns_back_when_its_place_is_free_after_all() -> None:
    evicted, wanted = large(State.READY), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    verbs.stop(Replica.objects.get(pk=wanted.pk), actor="ada")
    demand.request_ready(evicted.deployment_id)
    assert now(evicted) == (Goal.READY, "wake")


def test_a_request_is_refused_where_nobody_may_make_room() -> None:
    kept, wanted = large(State.READY, pinned=True), large(State.SLEEPING)
    say(waiting=waits(wanted, 9999))
    with pytest.raises(NoCapacity, match=f"to stay: `{kept.deployment.name}`") as refused:
        demand.request_ready(wanted.deployment_id)
    assert refused.value.fields == {"needed_bytes": 61 * GIB, "free_bytes": 16 * GIB, "gpu": kept.gpu.uuid}
    assert now(kept)[0] == Goal.READY


def test_nobody_is_evicted_while_no_gateway_is_heard() -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    demand.request_ready(wanted.deployment_id)
    assert (now(idle)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))


def test_nobody_is_evicted_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    say()
    monkeypatch.setattr(activity, "client", lambda: redis.Redis(unix_socket_path="/nonexistent"))
    demand.request_ready(wanted.deployment_id)
    assert (now(idle)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    assert "not known while Redis is away" in wanted.message


def test_a_report_without_word_of_who_waits_is_understood() -> None:
    say({"1:1": 2}, {7: {"count": 1, "since": 5.0, "priority": 0}})
    activity.client().hdel(activity.key("gateway", "one"), "waiting", "written_until")
    [report] = activity.read_reports()
    assert (report.leases, report.waiting, report.written_until) == ({"1:1": 2}, {}, 0.0)


def test_where_host_memory_is_short_the_evicted_one_sleeps_at_level_2() -> None:
    factories.gpu(node=factories.node(sleep_budget_bytes=61 * GIB))
    idle, wanted = large(State.READY), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    idle.refresh_from_db()
    assert (idle.goal, idle.sleep_level) == (Goal.SLEEPING, 2)


def test_who_loads_or_moves_is_waited_for() -> None:
    starting, wanted = large(State.STARTING), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    assert (now(starting)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    assert "is not ready yet" in wanted.message


def test_the_copy_that_has_room_wakes() -> None:
    deployment = factories.deployment(weights_bytes=60 * GIB, replicas=2)
    crowded, roomy = factories.gpu(), factories.gpu()
    factories.replica(deployment=factories.deployment(weights_bytes=60 * GIB, pinned=True), gpu=crowded)
    here = factories.replica(State.SLEEPING, deployment=deployment, gpu=crowded)
    there = factories.replica(State.SLEEPING, deployment=deployment, gpu=roomy)
    demand.request_ready(deployment.pk)
    assert (now(here)[0], now(there)[0]) == (Goal.SLEEPING, Goal.READY)


def test_the_model_that_has_waited_longer_goes_first() -> None:
    idle, wanted, older = large(State.READY), large(State.SLEEPING), large(State.SLEEPING)
    say(waiting=waits(wanted, 10) | waits(older, 20))
    demand.request_ready(wanted.deployment_id)
    assert (now(idle)[0], now(wanted)) == (Goal.READY, (Goal.SLEEPING, "waits_for_room"))
    demand.request_ready(older.deployment_id)
    assert (now(idle)[1], now(older)[0]) == ("evicted", Goal.READY)


def test_a_sleeper_waits_for_those_who_make_room_and_sleeps_on_when_they_do_not() -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    wanted.refresh_from_db()
    with pytest.raises(NoCapacity) as short:
        placement.hold_awake(wanted)
    for_room(wanted, short.value)
    assert now(wanted) == (Goal.READY, "wake")
    idle.refresh_from_db()
    verbs.set_goal(idle, Goal.READY, reason="sleep_given_up", actor="worker")
    for_room(wanted, short.value)
    assert now(wanted) == (Goal.SLEEPING, "no_capacity")


def test_a_restart_without_room_is_put_off_and_no_failure() -> None:
    failed = factories.replica(State.FAILED, restarts=1)
    for_room(failed, NoCapacity("no room"))
    failed.refresh_from_db()
    assert (failed.restarts, failed.restart_at is not None, failed.message) == (1, True, "no room")


@pytest.mark.django_db(transaction=True)
def test_of_many_callers_at_once_one_decision_comes() -> None:
    idle, first, second = large(State.READY), large(State.SLEEPING), large(State.SLEEPING)
    say()
    meet(*[lambda row=row: demand.request_ready(row.deployment_id) for row in (first, second) * 4])
    assert now(idle) == (Goal.SLEEPING, "evicted")
    assert sorted([now(first)[0], now(second)[0]]) == [Goal.READY, Goal.SLEEPING]
    assert Transition.objects.filter(reason="wake").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_verb_under_way_is_not_waited_for() -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    say()
    raised: list[Exception] = []

    def ask() -> None:
        try:
            demand.request_ready(wanted.deployment_id)
        except ReplicaMoved as error:
            raised.append(error)

    with transaction.atomic():
        Replica.objects.select_for_update().get(pk=idle.pk)
        meet(ask)
    assert len(raised) == 1
    assert (now(idle)[0], now(wanted)[0]) == (Goal.READY, Goal.SLEEPING)


def meet(*calls: Callable[[], None]) -> None:
    """All at once, each on a connection of its own."""

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except ReplicaMoved:
            pass  # whoever was slower asks again, as gateways do
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
