"""What was measured of one replica is known of the next of its kind, on the same type of GPU, from its start on."""

from typing import Any

import pytest
from django.test import Client

from models_app.lifecycle import sleeping, transition, verbs
from models_app.memory import host_rows, placement, profiles
from models_app.memory.host_ram import Copy
from models_app.models import MemoryProfile, Replica
from models_app.policy.scene import LockedGPUs, Traffic
from models_app.spec import sleep_seconds, wake_seconds
from models_app.states import Goal, State
from sardeenz.cli.memory import profiles as command
from tests import factories

GIB = 2**30
MEASURED: dict[str, Any] = {
    "load_seconds": 40.0,
    "first_sleep_seconds": 18.0,
    "first_sleep_of": 1,
    "sleep_seconds": 0.4,
    "wake_seconds": 0.35,
    "deep_wake_seconds": 2.5,
    "host_bytes": 4 * GIB,
    "host_asleep_bytes": 26 * GIB,
}
pytestmark = pytest.mark.django_db


def keep() -> None:
    """As a worker that has just started does."""
    profiles._kept.clear()
    profiles.keep()


def again(of: Replica) -> Replica:
    """Another replica of the same kind."""
    return verbs.deploy(factories.deployment(model=of.deployment.model), actor="test")[0]


def test_the_next_of_its_kind_begins_with_what_was_measured() -> None:
    first = factories.replica(profile=MEASURED)
    keep()
    second = again(first)
    assert second.profile == {name: MEASURED[name] for name in MEASURED if name.endswith("_seconds")} | {
        "copy_bytes": 22 * GIB
    }
    assert host_rows.copy_of(second) == Copy(22 * GIB, 22 * GIB)


def test_what_comes_later_is_kept_too_and_once() -> None:
    first = factories.replica(profile={"load_seconds": 40.0})
    keep()
    assert MemoryProfile.objects.get().sleep_seconds is None
    verbs.note(first, profile=first.profile | {"sleep_seconds": 0.4})
    profiles.keep()
    assert MemoryProfile.objects.get().sleep_seconds == 0.4


@pytest.mark.parametrize(
    "changes", [{"extra_args": ["--dtype", "float16"]}, {"max_model_len": 99}, {"tensor_parallel": 2}]
)
def test_another_kind_is_measured_anew(changes: dict[str, Any]) -> None:
    factories.gpu()
    first = factories.replica(profile=MEASURED)
    keep()
    factories.gpu()
    other = verbs.deploy(factories.deployment(model=first.deployment.model, **changes), actor="test")[0]
    assert other.profile == {}


def test_another_type_of_gpu_is_measured_apart() -> None:
    first = factories.replica(profile=MEASURED)
    keep()
    small = factories.gpu(name="Simulated 40 GiB")
    other = verbs.deploy(factories.deployment(model=first.deployment.model), actor="test", gpu=small)[0]
    assert other.profile == {}


def test_bytes_of_simulated_gpus_are_no_measurement() -> None:
    first = factories.replica(profile=MEASURED)
    keep()
    assert MemoryProfile.objects.get().simulated
    assert profiles.measured(first.deployment) is None


def test_a_start_with_other_settings_forgets_what_the_old_ones_took() -> None:
    row = factories.replica(State.STOPPED, profile=MEASURED | {"held_bytes": {}})
    assert profiles.renewed(row, row.spec, {}) == row.profile
    row.deployment.extra_args = ["--enforce-eager"]
    row.deployment.save()
    started = verbs.start(row, actor="test")
    assert set(started.profile) == {"first_sleep_of", "held_bytes"}


def test_an_engines_first_sleep_has_its_own_cost_and_a_wake_that_of_its_level() -> None:
    profile = MEASURED
    assert sleep_seconds(profile, generation=1) == 0.4  # type: ignore[arg-type]
    assert sleep_seconds(profile, generation=2) == 18.0  # type: ignore[arg-type]
    assert (wake_seconds(profile, 1), wake_seconds(profile, 2)) == (0.35, 2.5)  # type: ignore[arg-type]


def test_an_eviction_counts_the_first_sleep_of_an_engine_that_never_slept() -> None:
    first = factories.replica(profile=MEASURED)
    keep()
    verbs.deploy(factories.deployment(model=first.deployment.model, weights_bytes=16 * GIB), actor="test")
    Replica.objects.exclude(pk=first.pk).update(state=State.READY, deadline_at=None)
    wanted = factories.replica(State.SLEEPING)
    here = LockedGPUs([first.gpu], Traffic(None, {}, {}), [wanted])
    [seen] = [here.scene(row) for row in here.of([wanted])]
    assert sorted(one.sleep_seconds or 0 for one in seen.residents) == [0.4, 18.0]


@pytest.mark.parametrize(("level", "name"), [(1, "first_sleep_seconds"), (2, "deep_sleep_seconds")])
def test_a_sleeps_seconds_are_those_of_its_level(level: int, name: str) -> None:
    row = factories.replica(State.DRAINING, goal=Goal.SLEEPING, sleep_level=level)
    transition.begin_sleep(row)
    assert set(sleeping._with_sleep(row, row.state_at)) - {"first_sleep_of"} == {name}


def test_the_largest_measurement_places_where_types_of_gpus_differ() -> None:
    of = factories.deployment(weights_bytes=None, overhead_bytes=None)
    row = factories.replica(deployment=of, gpu=factories.gpu())
    row.spec |= {"weights_bytes": 1, "overhead_bytes": 1}
    for name, size in (("a", 3 * GIB), ("b", 2 * GIB)):
        MemoryProfile.objects.create(
            key=profiles.key(row.spec, {}),
            gpu_name=name,
            about=profiles.about(row.spec, {}),
            weights_bytes=GIB,
            overhead_bytes=size,
            load_seconds=1,
        )
    assert placement.need(of).overhead_bytes == 3 * GIB


def test_the_api_shows_what_was_measured_beside_what_was_expected(client: Client) -> None:
    client.force_login(factories.user())
    row = factories.replica(profile=MEASURED)
    MemoryProfile.objects.create(
        key=profiles.key(row.spec, {}),
        gpu_name="H200",
        about=profiles.about(row.spec, {}),
        estimated={"weights_bytes": 15 * GIB, "overhead_bytes": 2 * GIB},
        weights_bytes=16 * GIB,
        overhead_bytes=GIB,
        load_seconds=40,
    )
    [told] = client.get("/api/profiles").json()
    assert (told["model"], told["gpu_name"]) == (row.deployment.model.source, "H200")
    assert (told["expected_weights_bytes"], told["weights_bytes"]) == (15 * GIB, 16 * GIB)
    assert (told["load_seconds"], told["first_sleep_seconds"]) == (40, None)
    line = command._line(told)
    assert line[5:7] == ["16 GiB (+1 GiB, +7%)", "1 GiB (-1 GiB, -50%)"]
    assert line[8:10] == ["40.00 s", "-"]
