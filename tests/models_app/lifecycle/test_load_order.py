"""Who loads next: the rules by name, every order of a few, and what rows make of them."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models_app.lifecycle import load_order, loads, observe
from models_app.lifecycle.load_order import Candidate, Load, Scene
from models_app.lifecycle.observe import Remembered
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.starting import show_progress
from models_app.models import Replica
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.lifecycle.sights import sight

NOW = 1_000_000.0
HERE, THERE = frozenset({"GPU-0"}), frozenset({"GPU-1"})


def load(number: int = 1, uuids: frozenset[str] = HERE, ago: float = 30, quiet: float = 0, host: int = 9) -> Load:
    return Load(number, f"model-{number}", uuids, host * GIB, NOW - ago, NOW - quiet)


def candidate(number: int = 5, ago: float = 10, **fields: object) -> Candidate:
    given = {"uuids": HERE, "host_bytes": 9 * GIB}
    return Candidate(**({"id": number, "name": f"model-{number}", "since": NOW - ago} | given | fields))


def scene(*loads: Load, candidates: tuple[Candidate, ...] = (), host: int = 64) -> Scene:
    return Scene(NOW, 120.0, host * GIB, loads, candidates)


def whose(seen: Scene, wanted: Candidate) -> str | None:
    found = load_order.hold(seen, wanted)
    return found.whose if found else None


def test_on_one_gpu_models_load_one_after_the_other_and_the_wait_names_whose_turn_it_is() -> None:
    found = load_order.hold(scene(load(ago=30)), candidate(), "GPU 0")
    assert found is not None
    assert found.message == "waits for its turn on GPU 0: `model-1` loads since 13:46:10 UTC"


def test_a_load_on_another_gpu_holds_up_nobody() -> None:
    assert whose(scene(load(uuids=THERE)), candidate()) is None


def test_a_wide_model_waits_for_every_gpu_it_uses() -> None:
    assert whose(scene(load(uuids=THERE)), candidate(uuids=HERE | THERE)) == "model-1"


@pytest.mark.parametrize(("quiet", "expected"), [(119, "model-1"), (120, None), (5000, None)])
def test_a_load_that_shows_no_progress_is_not_waited_for_beyond_the_bound(quiet: float, expected: str | None) -> None:
    assert whose(scene(load(ago=6000, quiet=quiet)), candidate()) == expected


def test_loads_go_side_by_side_while_the_hosts_ram_holds_them() -> None:
    other = candidate(uuids=THERE)
    assert whose(scene(load(), host=18), other) is None
    found = load_order.hold(scene(load(ago=30), host=17), other)
    assert found is not None
    assert found.message == (
        "waits for host RAM: with `model-1`, which loads since 13:46:10 UTC, 18 GiB are needed and 17 GiB are free"
    )


def test_alone_a_model_loads_whatever_the_hosts_ram_says() -> None:
    assert whose(scene(host=1), candidate()) is None


def test_who_served_before_loads_before_what_is_new() -> None:
    served, new = candidate(6, ago=1, served=True), candidate(5, ago=60)
    seen = scene(candidates=(new, served))
    assert (whose(seen, served), whose(seen, new)) == (None, "model-6")
    found = load_order.hold(seen, new, "GPU 0")
    assert found is not None
    assert found.message == "waits for its turn on GPU 0: `model-6`, which served before, waits since 13:46:39 UTC"


def test_who_only_goes_to_sleep_again_loads_last() -> None:
    sleeper, new = candidate(5, ago=60, serves=False, served=True), candidate(6, ago=1)
    seen = scene(candidates=(sleeper, new))
    assert (whose(seen, new), whose(seen, sleeper)) == (None, "model-6")


def test_who_fails_again_and_again_goes_behind_who_does_not() -> None:
    failing, new = candidate(5, ago=60, served=True, restarts=3), candidate(6, ago=1, served=True)
    assert whose(scene(candidates=(failing, new)), failing) == "model-6"


def test_the_first_in_order_is_not_waited_for_while_it_waits_itself() -> None:
    wide = candidate(6, served=True, uuids=HERE | THERE)
    seen = scene(load(uuids=THERE), candidates=(wide,))
    assert (whose(seen, wide), whose(seen, candidate())) == ("model-1", None)


def test_the_first_in_order_is_not_waited_for_while_its_gpu_lacks_memory_or_when_it_does_not_begin() -> None:
    for other in (candidate(6, served=True, held=True), candidate(6, ago=121, served=True)):
        assert whose(scene(candidates=(other,)), candidate()) is None


candidates = st.lists(
    st.builds(
        Candidate,
        id=st.integers(1, 30),
        name=st.just("model"),
        uuids=st.sampled_from([HERE, THERE, HERE | THERE]),
        host_bytes=st.integers(0, 20 * GIB),
        since=st.floats(NOW - 300, NOW),
        serves=st.booleans(),
        served=st.booleans(),
        restarts=st.integers(0, 3),
        held=st.booleans(),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one.id,
)
under_way = st.lists(
    st.builds(
        Load,
        id=st.integers(31, 60),
        name=st.just("load"),
        uuids=st.sampled_from([HERE, THERE]),
        host_bytes=st.integers(0, 20 * GIB),
        since=st.floats(NOW - 300, NOW),
        progressed_at=st.floats(NOW - 300, NOW),
    ),
    max_size=3,
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(under_way, candidates, st.integers(1, 64))
def test_somebody_may_always_load_unless_a_load_moves(runs: list[Load], waits: list[Candidate], host: int) -> None:
    """No set of waiting replicas holds itself up: whoever is first of those that could begin begins."""
    seen = scene(*runs, candidates=tuple(waits), host=host)
    assert seen.moving or any(load_order.hold(seen, one) is None for one in waits)


def test_of_any_order_of_arrival_the_same_one_goes_first() -> None:
    waiting = (candidate(1, served=True), candidate(2), candidate(3, serves=False), candidate(4, restarts=1))
    for order in permutations(waiting):
        seen = scene(candidates=order)
        assert [one.id for one in order if load_order.hold(seen, one) is None] == [1]


def pending(name: str = "", **fields: object) -> Replica:
    deployment = factories.deployment(name=name) if name else factories.deployment()
    return factories.replica(State.PENDING, deployment=deployment, **({"port": None, "ipc_name": ""} | fields))


@pytest.mark.django_db
def test_rows_say_who_is_waited_for_and_since_when() -> None:
    slow = factories.replica(State.STARTING, state_at=timezone.now() - timedelta(seconds=600))
    Replica.objects.filter(pk=slow.pk).update(progress_at=timezone.now())
    wanted = pending()
    worker = Reconciler(wanted.gpu.uuid)
    assert not worker.step(wanted, observe.world(Remembered()))
    wanted.refresh_from_db()
    assert wanted.reason == "waits_for_turn"
    since = f"{slow.state_at:%H:%M:%S} UTC"
    assert wanted.message == f"waits for its turn on GPU 0: `{slow.deployment.name}` loads since {since}"
    before = wanted.seq
    worker.step(wanted, observe.world(Remembered()))
    wanted.refresh_from_db()
    assert wanted.seq == before


@pytest.mark.django_db
def test_a_load_without_progress_is_waited_for_no_longer_than_the_setting() -> None:
    ago = timezone.now() - timedelta(seconds=settings.TURN_SECONDS + 1)
    factories.replica(State.STARTING, state_at=ago)
    assert loads.hold(pending()) is None


@pytest.mark.django_db
def test_one_that_served_and_starts_again_in_a_moment_goes_before_a_new_one() -> None:
    soon = timezone.now() + timedelta(seconds=2)
    crashed = factories.replica(State.FAILED, ready_at=timezone.now(), restart_at=soon)
    new = pending()
    assert (found := loads.hold(new)) is not None
    assert found.whose == crashed.deployment.name
    Replica.objects.filter(pk=crashed.pk).update(restart_at=timezone.now() + timedelta(seconds=200))
    assert loads.hold(new) is None


@pytest.mark.django_db
def test_one_that_is_to_stop_is_waited_for_by_nobody() -> None:
    pending(ready_at=timezone.now(), goal=Goal.STOPPED)
    assert loads.hold(pending()) is None


@pytest.mark.django_db
def test_progress_is_dated_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = factories.replica(State.STARTING, phase="weights", progress_ratio=0.2)
    seen = sight(starting)
    show_progress(seen)
    starting.refresh_from_db()
    assert starting.progress_at is not None
    dated = starting.progress_at
    seen.remembered.progress_at.clear()
    show_progress(seen)
    starting.refresh_from_db()
    assert starting.progress_at == dated


@pytest.mark.django_db
def test_a_start_that_could_not_begin_in_time_is_no_failed_start() -> None:
    wanted = pending(deadline_at=timezone.now(), message="waits for its turn on GPU 0: `slow` loads since 12:00:00 UTC")
    worker = Reconciler(wanted.gpu.uuid)
    worker.step(wanted, observe.world(Remembered()))
    wanted.refresh_from_db()
    assert (wanted.state, wanted.reason, wanted.restarts) == (State.FAILED, "start_timeout", 0)
    assert wanted.restart_at is not None
    assert wanted.message.startswith("It could not begin to load in time: it waits for its turn on GPU 0: `slow` loads")


def test_what_a_load_needs_of_the_host_is_bounded_by_what_is_read_at_once() -> None:
    small = Replica(spec={"kind": "vllm-cuda", "weights_bytes": 2 * GIB, "gpu_uuids": ["GPU-0"]})
    large = Replica(spec={"kind": "vllm-cuda", "weights_bytes": 140 * GIB, "gpu_uuids": ["GPU-0", "GPU-1"]})
    assert (loads.host_bytes(small), loads.host_bytes(large)) == (6 * GIB, 14 * GIB)
    assert loads.host_bytes(Replica(spec=small.spec | {"kind": "vllm-cpu"})) == 6 * GIB


def test_ranks_are_never_equal() -> None:
    same = candidate(1)
    assert same.rank != replace(same, id=2).rank
