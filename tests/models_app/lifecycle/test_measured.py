"""What a load was seen to take counts from then on: for the replica itself, its moves, and the next of its kind."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from gpus import kvcached
from models_app.engines import logs
from models_app.lifecycle import starting, verbs
from models_app.lifecycle.observe import Sight
from models_app.memory import placement
from models_app.models import MemoryProfile, Replica
from models_app.states import State
from tests import factories
from tests.models_app.lifecycle.sights import sight

GIB = 2**30
pytestmark = pytest.mark.django_db


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Replica:
    """A replica on a real GPU whose engine has just come up and holds more than was thought."""
    gpu = factories.gpu(simulated=False)
    of = factories.deployment(weights_bytes=None, overhead_bytes=None)
    replica = factories.replica(State.STARTING, deployment=of, gpu=gpu)
    replica.spec |= {"weights_bytes": 15 * GIB, "overhead_bytes": GIB}
    replica.save()
    replica.reservations.update(awake_bytes=17 * GIB, asleep_bytes=GIB, held_bytes=17 * GIB)
    segment = kvcached.Segment("srdz_test", limit_bytes=40 * GIB, used_bytes=GIB // 2, prealloc_bytes=0)
    monkeypatch.setattr(Sight, "own_bytes", {gpu.uuid: 19 * GIB})
    monkeypatch.setattr(kvcached, "read", lambda folder, _: segment if folder == settings.SEGMENT_DIR else None)
    monkeypatch.setattr(logs, "progress", lambda _: SimpleNamespace(facts={"weights_bytes": 15 * GIB}))
    return replica


def become_ready(replica: Replica) -> dict[str, Any]:
    return starting.taught(sight(replica))


def test_the_replica_counts_with_what_it_holds_and_its_floor(loaded: Replica) -> None:
    changes = become_ready(loaded)
    reservation = loaded.reservations.get()
    assert reservation.held_bytes == reservation.awake_bytes == 19 * GIB - GIB // 2 + GIB
    assert changes["profile"]["overhead_bytes"] == 19 * GIB - GIB // 2 - 15 * GIB


def test_without_kvcached_the_floor_counts_once(loaded: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvcached, "read", lambda *_: None)
    changes = become_ready(loaded)
    assert loaded.reservations.get().held_bytes == 19 * GIB
    assert changes["profile"]["overhead_bytes"] == 3 * GIB


def test_a_load_that_took_less_than_was_promised_keeps_its_promise(loaded: Replica) -> None:
    loaded.reservations.update(awake_bytes=30 * GIB, held_bytes=30 * GIB)
    become_ready(loaded)
    assert loaded.reservations.get().held_bytes == 30 * GIB


def test_the_next_of_its_kind_is_placed_by_the_measurement(loaded: Replica) -> None:
    become_ready(loaded)
    assert MemoryProfile.objects.get().overhead_bytes == 4 * GIB - GIB // 2
    assert placement.need(loaded.deployment).overhead_bytes == 4 * GIB - GIB // 2


def test_a_move_promises_the_measured_bytes(loaded: Replica) -> None:
    changes = become_ready(loaded)
    Replica.objects.filter(pk=loaded.pk).update(state=State.READY, deadline_at=None, profile=changes["profile"])
    loaded.refresh_from_db()
    target = verbs.move(loaded, factories.gpu(simulated=False), actor="test")
    assert target.reservations.get().awake_bytes == 15 * GIB + 4 * GIB - GIB // 2 + GIB


def test_simulated_bytes_teach_nothing(loaded: Replica) -> None:
    loaded.gpu.simulated = True
    become_ready(loaded)
    assert loaded.reservations.get().held_bytes == 17 * GIB
    assert not MemoryProfile.objects.exists()
