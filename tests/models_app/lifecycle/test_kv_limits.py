"""The device is looked at before an engine wakes or loads: rows, segments and claims on a simulated GPU, no engine."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from django.conf import LazySettings, settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gpus import kvcached
from gpus.simulated import Claim
from models_app.engines.client import EngineClient
from models_app.engines.diagnose import Diagnosis
from models_app.errors import ConnectionRefused, EngineRefused, MemoryHeld, NoCapacity
from models_app.lifecycle import ending, kv_limits, observe, sleeping, starting, verbs
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.observe import Remembered, World
from models_app.models import Replica, Transition
from models_app.node.governing import Governing
from models_app.policy import demand
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.lifecycle.sights import sight
from tests.models_app.policy.test_demand import last, now, say, waits

pytestmark = pytest.mark.django_db
OUT_OF_MEMORY = Diagnosis("gpu_out_of_memory", "The GPU ran out of memory.", "Look at its memory bar.")


@pytest.fixture
def device() -> Iterator[Claim]:
    """Everything that is taken of GPU 0."""
    claim = Claim(settings.SIMULATED_DIR, factories.gpu().uuid, memory_bytes=80 * GIB)
    yield claim
    claim.close()
    for segment in kvcached.read_all(settings.SEGMENT_DIR):
        kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)


def burst(mapped: int, **fields: object) -> Replica:
    """An awake 8 GiB model without a cap, with so many GiB of KV cache."""
    deployment = factories.deployment(weights_bytes=8 * GIB, kv_cap_bytes=None, **fields)
    long_ago = timezone.now() - timedelta(seconds=100)
    profile = {"kv_limit_bytes": 63 * GIB}
    replica = factories.replica(State.READY, deployment=deployment, state_at=long_ago, profile=profile)
    kvcached.create(settings.SEGMENT_DIR, replica.ipc_name, 63 * GIB)
    kvcached.write(settings.SEGMENT_DIR, replica.ipc_name, used_bytes=mapped * GIB, prealloc_bytes=0)
    return replica


def quiet(state: State = State.SLEEPING, **fields: object) -> Replica:
    """A 26 GiB model that was asked for."""
    deployment = factories.deployment(weights_bytes=26 * GIB)
    return factories.replica(state, deployment=deployment, **({"goal": Goal.READY, "reason": "wake"} | fields))


def around() -> World:
    return observe.world(Remembered())


def limit_of(replica: Replica) -> float:
    segment = kvcached.read(settings.SEGMENT_DIR, replica.ipc_name)
    assert segment is not None
    return segment.limit_bytes / GIB


def claim(replica: Replica, to: State) -> bool:
    """Whether a step of its worker brings it to this state; no engine listens to what it then does."""
    story = sleeping.wake if to == State.WAKING else starting.load
    with suppress(ConnectionRefused):
        story(sight(replica), Step(to, reason="wake"))
    return replica.state == to


@pytest.mark.parametrize("state", [State.SLEEPING, State.PENDING])
def test_one_whose_gpu_is_full_waits_and_says_who_holds_it(device: Claim, state: State) -> None:
    holder, wanted = burst(55), quiet(state)
    device.set(65 * GIB)
    to = State.WAKING if state == State.SLEEPING else State.STARTING
    assert not claim(wanted, to)
    wanted.refresh_from_db()
    needs = 26 + (0 if state == State.SLEEPING else 1)
    assert (wanted.state, wanted.goal, wanted.reason) == (state, Goal.READY, "waits_for_memory")
    lack = needs + 1 + 4 - 15
    holds = f"`{holder.deployment.name}` holds 55 GiB of KV cache"
    assert wanted.message == f"waits for {lack} GiB more of GPU 0: {holds}"
    assert last(wanted).reason == "waits_for_memory"
    assert wanted.restarts == 0


def test_a_wait_is_one_entry_in_the_history(device: Claim) -> None:
    burst(55)
    wanted = quiet()
    device.set(65 * GIB)
    seen = sight(wanted)
    for _ in range(5):
        sleeping.wake(seen, Step(State.WAKING, Effect.WAKE, "wake"))
    assert Transition.objects.filter(replica=wanted, reason="waits_for_memory").count() == 1


def test_it_goes_on_once_the_device_has_the_bytes(device: Claim) -> None:
    burst(55)
    wanted = quiet()
    device.set(65 * GIB)
    assert not claim(wanted, State.WAKING)
    device.set(40 * GIB)
    assert claim(wanted, State.WAKING)
    assert wanted.state == State.WAKING


def test_neighbours_are_held_to_less_while_somebody_waits_or_loads_and_get_it_back(device: Claim) -> None:
    holder, wanted = burst(55), quiet()
    device.set(65 * GIB)
    limits = Governing()
    limits.settle()
    assert limit_of(holder) == 63
    claim(wanted, State.WAKING)
    limits.settle()
    assert limit_of(holder) == 55 - 16
    kvcached.write(settings.SEGMENT_DIR, holder.ipc_name, used_bytes=39 * GIB)
    device.set(49 * GIB)
    assert claim(wanted, State.WAKING)
    limits.settle()
    assert limit_of(holder) == 39
    verbs.transition(wanted, State.READY, reason="awake", actor="test")
    limits.settle()
    assert limit_of(holder) == 63


def test_what_a_killed_worker_left_lowered_is_restored_by_the_next(device: Claim) -> None:
    holder = burst(10)
    kvcached.set_limit(settings.SEGMENT_DIR, holder.ipc_name, 2 * GIB)
    Governing().settle()
    assert limit_of(holder) == 63


def test_an_engine_of_another_node_is_left_to_that_nodes_loop(device: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, wanted = burst(55), quiet()
    device.set(65 * GIB)
    claim(wanted, State.WAKING)
    limits = Governing()
    monkeypatch.setattr(settings, "NODE", "elsewhere")
    limits.settle()
    assert limit_of(holder) == 63


def test_a_wake_that_fails_for_a_neighbours_memory_sleeps_on_and_counts_nothing(
    device: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, wanted = burst(55), quiet(State.WAKING)
    monkeypatch.setattr(EngineClient, "wake", _refuse)
    sleeping.wake(sight(wanted), Step(None, Effect.WAKE, "wake"))
    wanted.refresh_from_db()
    assert (wanted.state, wanted.goal, wanted.reason) == (State.SLEEPING, Goal.READY, "waits_for_memory")
    assert wanted.restarts == 0
    assert f"`{holder.deployment.name}` holds 55 GiB" in wanted.message
    assert wanted.reservations.get().held_bytes == GIB


def test_a_wake_that_fails_beside_nobody_starts_afresh(device: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    burst(1)
    wanted = quiet(State.WAKING)
    monkeypatch.setattr(EngineClient, "wake", _refuse)
    sleeping.wake(sight(wanted), Step(None, Effect.WAKE, "wake"))
    wanted.refresh_from_db()
    assert (wanted.state, wanted.restarts) == (State.FAILED, 1)


def _refuse(engine: EngineClient, level: int, *, timeout_seconds: float) -> None:
    raise EngineRefused("/wake_up answered 500: CUDA out of memory. Tried to allocate 26.00 GiB.", status=500)


def test_a_load_that_fails_for_a_neighbours_memory_is_tried_for_ever_and_never_counted(device: Claim) -> None:
    holder, wanted = burst(55), quiet(State.STARTING)
    pauses = []
    for _ in range(8):
        ending.failed(sight(wanted), OUT_OF_MEMORY, "engine_exited")
        assert wanted.restart_at is not None
        pauses.append(round((wanted.restart_at - timezone.now()).total_seconds()))
        assert (wanted.reason, wanted.restarts) == ("gpu_out_of_memory", 0)
        assert f"`{holder.deployment.name}` holds 55 GiB of KV cache; it starts again once" in wanted.message
        verbs.transition(wanted, State.PENDING, reason="restart", actor="test")
        verbs.transition(wanted, State.STARTING, reason="placed", actor="test")
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


def test_a_load_that_runs_out_of_memory_beside_nobody_counts(device: Claim) -> None:
    burst(1)
    wanted = quiet(State.STARTING)
    ending.failed(sight(wanted), OUT_OF_MEMORY, "engine_exited")
    assert wanted.restarts == 1


def test_being_ready_ends_the_account_of_waits(device: Claim) -> None:
    wanted = quiet(State.WAKING, profile={"short_starts": 3, "waits_for": {"short": {}}, "wake_seconds": 1.0})
    assert starting.came_up(sight(wanted))["profile"] == {"wake_seconds": 1.0}


def waiting(settings: LazySettings, device: Claim, seconds: float, **fields: object) -> tuple[Replica, Replica]:
    """A busy holder, and one that has waited for its memory so long; a turn lasts 30 s."""
    settings.EVICT_WAIT_SECONDS = {0: 30.0}
    holder, wanted = burst(55, **fields), quiet()
    device.set(65 * GIB)
    claim(wanted, State.WAKING)
    began = timezone.now() - timedelta(seconds=seconds)
    Transition.objects.filter(replica=wanted, reason="waits_for_memory").update(at=began)
    return holder, wanted


def test_a_busy_holder_is_evicted_when_the_requests_have_waited_long_enough(
    device: Claim, settings: LazySettings
) -> None:
    holder, wanted = waiting(settings, device, 40)
    say({holder.marker: 5}, waits(wanted, 20))
    demand.request_ready(wanted.deployment_id)
    assert now(holder)[0] == Goal.READY
    say({holder.marker: 5}, waits(wanted, 31))
    demand.request_ready(wanted.deployment_id)
    assert now(holder) == (Goal.SLEEPING, "evicted")
    assert re.search("the oldest for 3[1-9] s of at most 30 s at priority 0", holder.message)
    assert now(wanted) == (Goal.READY, "waits_for_memory")


def test_an_idle_holder_may_shrink_before_it_is_evicted(device: Claim, settings: LazySettings) -> None:
    holder, wanted = waiting(settings, device, 3)
    say({}, waits(wanted, 3))
    demand.request_ready(wanted.deployment_id)
    assert now(holder)[0] == Goal.READY
    Transition.objects.filter(replica=wanted).update(at=timezone.now() - timedelta(seconds=6))
    demand.request_ready(wanted.deployment_id)
    assert now(holder) == (Goal.SLEEPING, "evicted")


def test_beside_a_pinned_holder_a_request_waits_as_long_as_it_may_and_is_told_who_stays(
    device: Claim, settings: LazySettings
) -> None:
    holder, wanted = waiting(settings, device, 40, pinned=True)
    say({holder.marker: 5}, waits(wanted, 20))
    demand.request_ready(wanted.deployment_id)
    say({holder.marker: 5}, waits(wanted, 31))
    with pytest.raises(NoCapacity) as refused:
        demand.request_ready(wanted.deployment_id)
    name = holder.deployment.name
    assert f"`{name}` holds 55 GiB of KV cache; to stay: `{name}` (pinned)" in refused.value.message
    assert (refused.value.code, refused.value.retry_after_seconds) == ("no_capacity", 30.0)
    assert now(wanted)[0] == Goal.READY


def test_a_device_that_does_not_tell_stops_nobody(device: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    burst(55)
    wanted = quiet()
    device.set(79 * GIB)
    monkeypatch.setattr(observe, "readings", lambda uuids: {})
    assert claim(wanted, State.WAKING)


def test_the_error_says_what_lacks_and_who_has_it(device: Claim) -> None:
    holder, wanted = burst(55), quiet()
    device.set(65 * GIB)
    with pytest.raises(MemoryHeld) as held:
        kv_limits.require(wanted, around())
    assert held.value.fields == {
        "needed_bytes": 16 * GIB,
        "short": {wanted.gpu.uuid: 16 * GIB},
        "excess": {str(holder.pk): 54 * GIB},
    }


def test_rows_are_read_again_once_they_or_their_deployment_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    home = factories.gpu()
    first, second = (factories.replica(gpu=home) for _ in range(2))
    rows = kv_limits.Rows()
    before = rows.read([home.uuid])
    assert [row.pk for row in before] == [first.pk, second.pk]
    with CaptureQueriesContext(connection) as asked:
        assert all(now is was for now, was in zip(rows.read([home.uuid]), before, strict=True))
    assert len(asked) == 1
    verbs.note(first, message="other")
    verbs.say(second.deployment, "code", "words")
    assert [row.message for row in rows.read([home.uuid])] == ["other", ""]
    assert rows.read([home.uuid])[1].deployment.message == "words"
    Replica.objects.filter(pk=first.pk).update(message="uncounted")
    assert rows.read([home.uuid])[0].message == "other"
    monkeypatch.setattr("models_app.lifecycle.kv_limits.time.monotonic", lambda: rows.read_at + kv_limits.AGAIN_SECONDS)
    assert rows.read([home.uuid])[0].message == "uncounted"
    Replica.objects.filter(pk=first.pk).update(state=State.STOPPED)
    first.reservations.all().delete()
    assert [row.pk for row in rows.read([home.uuid])] == [second.pk]
