"""The governor at work on rows and segments: what engines were last seen to do decides, and is written and shown."""

from collections.abc import Iterator

import pytest
from django.conf import settings

from gpus import kvcached
from gpus.simulated import Claim
from models_app.engines import metrics
from models_app.memory.governor import Decision, Why
from models_app.models import Replica
from models_app.node.governing import Governing
from models_app.states import State
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _full_gpu() -> Iterator[None]:
    """Beside weights and KV memory there are 6 GiB left of GPU 0, 4 of which are kvcached's margin."""
    claim = Claim(settings.SIMULATED_DIR, factories.gpu().uuid, memory_bytes=80 * GIB)
    claim.set(74 * GIB)
    yield
    claim.close()
    for segment in kvcached.read_all(settings.SEGMENT_DIR):
        kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)


def awake(mapped: int, **fields: object) -> Replica:
    deployment = factories.deployment(weights_bytes=8 * GIB, kv_cap_bytes=50 * GIB, **fields)
    replica = factories.replica(State.READY, deployment=deployment, profile={"kv_limit_bytes": 50 * GIB})
    kvcached.create(settings.SEGMENT_DIR, replica.ipc_name, 50 * GIB)
    kvcached.write(settings.SEGMENT_DIR, replica.ipc_name, used_bytes=mapped * GIB, prealloc_bytes=0)
    return replica


def limit_of(replica: Replica) -> float:
    segment = kvcached.read(settings.SEGMENT_DIR, replica.ipc_name)
    assert segment is not None
    return segment.limit_bytes / GIB


def working(*replicas: Replica) -> dict[str, metrics.EngineMetrics]:
    return {replica.marker: {**metrics.unknown(), "running": 4, "waiting": 9} for replica in replicas}


def test_engines_that_compete_are_held_to_their_weights() -> None:
    heavy, light = awake(20, kv_weight=3), awake(20)
    governing = Governing()
    governing.seen = working(heavy, light)
    governing.settle()
    pool = 40 + 6 - 4 - 2  # mapped, free, the margin, two floors
    assert limit_of(heavy) == pytest.approx(1 + 0.75 * pool, abs=0.01)
    assert limit_of(light) == pytest.approx(1 + 0.25 * pool, abs=0.01)


def test_the_higher_priority_comes_before_the_greater_weight() -> None:
    first, second = awake(20, priority=1), awake(20, kv_weight=100)
    governing = Governing()
    governing.seen = working(first, second)
    governing.settle()
    assert (limit_of(first), limit_of(second)) == (41, 1)


def test_an_idle_one_leaves_its_memory_to_the_one_that_works_and_is_asked_to_shrink(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shrunk: list[int] = []
    monkeypatch.setattr("models_app.node.governing._shrink", lambda row: shrunk.append(row.pk))
    busy, idle = awake(20), awake(20)
    governing = Governing()
    governing.seen = working(busy)
    governing.settle()
    governing.settle()
    governing.finish()
    assert (limit_of(busy), limit_of(idle)) == (41, 1)
    assert shrunk == [idle.pk]


def test_while_none_works_all_limits_are_the_first_ones_whatever_was_left_behind() -> None:
    one, other = awake(20), awake(20)
    kvcached.set_limit(settings.SEGMENT_DIR, one.ipc_name, GIB)
    Governing().settle()
    assert (limit_of(one), limit_of(other)) == (50, 50)


def test_what_was_decided_is_known_by_marker() -> None:
    busy, idle = awake(20), awake(20)
    governing = Governing()
    governing.seen = working(busy)
    governing.settle()
    assert governing.decisions == {
        busy.marker: Decision(41 * GIB, 50 * GIB, Why.SHARE),
        idle.marker: Decision(GIB, 0, Why.SHARE),
    }


def test_a_segment_that_cannot_be_written_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, there = awake(20), awake(20)
    set_limit = kvcached.set_limit

    def fails(directory: str, ipc_name: str, limit_bytes: int) -> None:
        if ipc_name == gone.ipc_name:
            raise kvcached.SegmentBusy("locked", ipc_name=ipc_name)
        set_limit(directory, ipc_name, limit_bytes)

    monkeypatch.setattr(kvcached, "set_limit", fails)
    governing = Governing()
    governing.seen = working(there)
    governing.settle()
    assert (limit_of(gone), limit_of(there)) == (50, 41)
