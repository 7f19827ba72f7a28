"""Sleepers give host RAM back by their value: level 1, level 2, no engine; each step says why, and nobody is killed."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.utils import timezone

from gpus import telemetry
from gpus.models import GPU
from gpus.processes import HostMemory
from models_app.lifecycle import load_order, sleeping, verbs
from models_app.lifecycle.load_order import Candidate
from models_app.lifecycle.next_step import Effect, Seen, Step, next_step
from models_app.memory import host_ram, host_rows
from models_app.models import Replica
from models_app.node import frame
from models_app.policy import host_memory
from models_app.states import Goal, State
from tests import factories
from tests.models_app.lifecycle.sights import sight
from tests.models_app.policy.test_demand import say

pytestmark = pytest.mark.django_db
GIB = 2**30
AGES = timedelta(minutes=10)


@pytest.fixture(autouse=True)
def _gateway() -> None:
    say()


@pytest.fixture
def roomy() -> GPU:
    """Two models fit awake; sleepers may hold the weights of four."""
    return factories.gpu(node=factories.node(sleep_budget_bytes=65 * GIB), memory_bytes=60 * GIB)


def sleeper(gpu: GPU, **fields: Any) -> Replica:
    """16 GiB of weights at level 1, for a while now."""
    deployment = {name: fields.pop(name) for name in ("priority", "pinned") if name in fields}
    of = factories.deployment(**deployment)
    return factories.replica(State.SLEEPING, deployment=of, gpu=gpu, state_at=timezone.now() - AGES, **fields)


def measure(held: dict[str, int], available: int, *, total: int = 256 * GIB, at: float | None = None) -> None:
    """The node's loop says so."""
    asleep = {row.marker for row in Replica.objects.filter(state=State.SLEEPING)}
    now = frame.collect()
    now["host_ram"] = host_ram.ledger(HostMemory(total, available), held, asleep, at or time.time())
    telemetry.publish(now)


def levels() -> dict[int, tuple[str, int]]:
    return {row.pk: (row.reason, row.sleep_level) for row in Replica.objects.order_by("pk")}


def test_ten_sleepers_on_a_node_with_room_for_four_are_demoted_by_value(roomy: GPU) -> None:
    rows = [sleeper(roomy, priority=place) for place in range(10)]
    host_memory.relieve()
    reasons = [levels()[row.pk][0] for row in rows]
    assert [reason in host_rows.DEMOTED for reason in reasons] == [True] * 6 + [False] * 4
    told = Replica.objects.get(pk=rows[0].pk).transitions.get()
    assert told.actor == "rule:host_memory"
    assert told.message.startswith(
        f"sleepers on {settings.NODE} hold 95 GiB too much: it gives back 16 GiB of host RAM"
    )
    assert told.fields["verdict"] == "evict"
    assert Replica.objects.exclude(state=State.SLEEPING).count() == 0  # goals alone: workers drain, nothing is killed
    before = levels()
    host_memory.relieve()
    assert levels() == before  # what is under way is waited for


def test_a_second_round_for_the_budget_waits_for_no_reading(roomy: GPU) -> None:
    rows = [sleeper(roomy, priority=place) for place in range(5)]
    measure({row.marker: 18 * GIB for row in rows}, available=100 * GIB, at=time.time() - 9)
    Replica.objects.filter(pk=rows[4].pk).update(state_at=timezone.now() - timedelta(seconds=1))
    host_memory.relieve()
    assert [levels()[row.pk][0] in host_rows.DEMOTED for row in rows] == [True, False, False, False, False]


def test_nothing_moves_while_the_budget_holds(roomy: GPU) -> None:
    for _ in range(4):
        sleeper(roomy)
    host_memory.relieve()
    assert {reason for reason, _ in levels().values()} == {""}


def test_a_pinned_one_stays_and_so_does_one_that_somebody_waits_for(roomy: GPU) -> None:
    pinned, wanted = sleeper(roomy, pinned=True), sleeper(roomy)
    others = [sleeper(roomy, priority=5) for _ in range(3)]
    say(waiting={wanted.deployment_id: {"count": 1, "since": time.time(), "priority": 0}})
    host_memory.relieve()
    assert levels()[pinned.pk] == levels()[wanted.pk] == ("", 1)
    assert sum(levels()[row.pk][0] in host_rows.DEMOTED for row in others) == 1


def test_without_room_on_its_gpu_or_from_level_2_a_sleepers_engine_ends(roomy: GPU) -> None:
    factories.replica(gpu=roomy, deployment=factories.deployment(weights_bytes=50 * GIB))
    for _ in range(5):
        sleeper(roomy)
    host_memory.relieve()
    assert [reason for reason, _ in levels().values() if reason] == [host_rows.RESTS]


def test_ram_that_others_took_is_given_back_before_the_margin_is_touched(roomy: GPU) -> None:
    one, other = sleeper(roomy), sleeper(roomy, priority=1)
    measure({one.marker: 18 * GIB, other.marker: 18 * GIB}, available=5 * GIB)
    host_memory.relieve()
    assert levels() == {one.pk: ("", 1), other.pk: ("", 1)}
    measure({one.marker: 18 * GIB, other.marker: 18 * GIB}, available=3 * GIB)
    host_memory.relieve()
    assert levels() == {one.pk: (host_rows.DEEPENS, 2), other.pk: ("", 1)}
    assert "lacks 1 GiB of host RAM: it gives back 16 GiB" in Replica.objects.get(pk=one.pk).message


def test_a_sleeper_of_level_2_that_still_holds_much_is_stopped_next(roomy: GPU) -> None:
    one = sleeper(roomy, sleep_level=2)
    measure({one.marker: 18 * GIB}, available=1 * GIB)
    host_memory.relieve()
    assert levels() == {one.pk: (host_rows.RESTS, 2)}


def test_what_is_not_heard_of_is_not_demoted(roomy: GPU) -> None:
    for _ in range(5):
        sleeper(roomy)
    host_memory.activity.client().delete(*host_memory.activity.client().keys("*gateway:*"))
    host_memory.relieve()
    assert {reason for reason, _ in levels().values()} == {""}


def test_a_demoted_sleeper_wakes_and_sleeps_again_or_ends_and_a_request_comes_first() -> None:
    deepens, rests = Seen(alive=True, asleep=True, deepens=True), Seen(alive=True, asleep=True, rests=True)
    assert next_step(State.SLEEPING, Goal.SLEEPING, deepens) == Step(State.WAKING, Effect.WAKE, host_rows.DEEPENS)
    assert next_step(State.SLEEPING, Goal.SLEEPING, rests) == Step(State.STOPPING, Effect.TERMINATE, host_rows.RESTS)
    for seen in (deepens, rests):
        assert next_step(State.SLEEPING, Goal.READY, seen).reason == "wake"


def test_without_room_for_the_wake_a_demoted_sleeper_ends_instead(roomy: GPU) -> None:
    row = sleeper(roomy, reason=host_rows.DEEPENS, sleep_level=2, message="why")
    factories.replica(gpu=roomy, deployment=factories.deployment(weights_bytes=50 * GIB))
    assert sleeping.wake(sight(row), Step(State.WAKING, Effect.WAKE, host_rows.DEEPENS))
    row.refresh_from_db()
    assert (row.state, row.goal, row.reason) == (State.SLEEPING, Goal.SLEEPING, host_rows.RESTS)
    assert row.message.startswith("why; its GPU has no room for the wake")


def test_one_more_may_go_to_sleep_on_a_full_node_and_the_least_valuable_gives_way(roomy: GPU) -> None:
    full = [sleeper(roomy, priority=place) for place in (2, 3, 4, 5)]
    cheap = factories.replica(gpu=roomy, deployment=factories.deployment(priority=1))
    verbs.sleep(cheap, actor="ada")
    host_memory.relieve()
    assert levels()[cheap.pk] == ("host_memory_short", 2)
    assert {levels()[row.pk] for row in full} == {("", 1)}


@pytest.mark.parametrize(("waited", "told"), [(1, False), (11, True)])
def test_one_that_drained_waits_a_little_for_ram_and_sleeps_at_level_2_then(
    roomy: GPU, waited: int, told: bool
) -> None:
    for _ in range(4):
        sleeper(roomy)
    entered = timezone.now() - timedelta(seconds=waited)
    ends = entered + timedelta(seconds=settings.DRAIN_SECONDS)
    row = factories.replica(State.DRAINING, gpu=roomy, goal=Goal.SLEEPING, state_at=entered, deadline_at=ends)
    assert sleeping._admitted(row, timezone.now()) is told
    row.refresh_from_db()
    assert (row.reason, row.sleep_level) == (("host_memory_short", 2) if told else ("", 1))


def test_what_was_measured_is_kept_and_used_instead_of_the_estimate(roomy: GPU) -> None:
    ready = factories.replica(gpu=roomy, state_at=timezone.now() - AGES)
    measure({ready.marker: 3 * GIB}, available=200 * GIB)
    host_memory.relieve()
    ready.refresh_from_db()
    assert ready.profile == {"host_bytes": 3 * GIB}
    Replica.objects.update(state=State.SLEEPING, goal=Goal.SLEEPING)
    measure({ready.marker: 25 * GIB}, available=200 * GIB)
    host_memory.relieve()
    ready.refresh_from_db()
    assert ready.profile["host_asleep_bytes"] == 25 * GIB
    assert host_rows.copy_of(ready) == host_ram.Copy(22 * GIB, 22 * GIB)


def test_a_load_waits_for_sleepers_that_give_way_and_not_where_nobody_could() -> None:
    wanted = Candidate(1, "chat", frozenset({"GPU-0"}), 9 * GIB, since=100.0)
    scene = load_order.Scene(101.0, 120.0, host_free_bytes=4 * GIB, sleepers_bytes=18 * GIB)
    hold = load_order.hold(scene, wanted)
    assert hold is not None
    assert hold.message == "waits for host RAM: 9 GiB are needed and 4 GiB are free; models asleep give way"
    assert load_order.hold(load_order.Scene(101.0, 120.0, host_free_bytes=4 * GIB), wanted) is None
    late = load_order.Scene(301.0, 120.0, host_free_bytes=4 * GIB, sleepers_bytes=18 * GIB)
    assert load_order.hold(late, wanted) is None


def test_a_pending_load_has_sleepers_give_way(roomy: GPU, settings: LazySettings) -> None:
    one = sleeper(roomy)
    cuda = factories.runtime(name="cuda", kind="vllm-cuda", executable="vllm")
    factories.replica(State.PENDING, gpu=roomy, deployment=factories.deployment(runtime=cuda))
    measure({one.marker: 18 * GIB}, available=20 * GIB)
    host_memory.relieve()
    assert levels()[one.pk][0] == ""  # 9 GiB are needed, and there are
    measure({one.marker: 18 * GIB}, available=12 * GIB)
    host_memory.relieve()
    assert levels()[one.pk][0] in host_rows.DEMOTED
