"""The governor asks the eviction rules for a sleep where no limit gives an engine what it was promised."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from gpus import kvcached
from gpus.simulated import Claim
from models_app.engines import metrics
from models_app.models import Replica
from models_app.node.governing import Governing
from models_app.states import Goal
from tests import factories
from tests.factories import GIB
from tests.models_app.node.test_governing import awake, working
from tests.models_app.policy.test_demand import last, now, say

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def full_gpu() -> Iterator[Claim]:
    """One GiB is left of GPU 0, where kvcached wants to leave four."""
    claim = Claim(settings.SIMULATED_DIR, factories.gpu().uuid, memory_bytes=80 * GIB)
    claim.set(79 * GIB)
    yield claim
    claim.close()
    for segment in kvcached.read_all(settings.SEGMENT_DIR):
        kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)


def settled(**fields: object) -> Replica:
    """One that has been ready for long and holds its floor."""
    replica = awake(1, **fields)
    Replica.objects.filter(pk=replica.pk).update(state_at=timezone.now() - timedelta(seconds=600))
    return replica


def govern(governing: Governing, *moments: float) -> None:
    for moment in moments:
        governing.settle(moment)


def test_an_idle_neighbour_sleeps_for_one_at_work_once_the_lack_lasts() -> None:
    busy, idle = settled(), settled()
    say({busy.marker: 4})
    governing = Governing()
    governing.seen = working(busy)
    govern(governing, 100.0, 109.0)
    assert now(idle)[0] == Goal.READY
    govern(governing, 110.0)
    assert (now(idle), now(busy)[0]) == ((Goal.SLEEPING, "evicted"), Goal.READY)
    assert f"`{busy.deployment.name}` lacks 3 GiB of KV memory that no limit gives it" in idle.message
    assert (last(idle).actor, last(idle).fields["wanted"]["needs"]) == ("governor", {idle.gpu.uuid: 3 * GIB})


def test_one_goes_at_a_time() -> None:
    busy, *idle = settled(), settled(), settled()
    say({busy.marker: 4})
    governing = Governing()
    governing.seen = working(busy)
    govern(governing, 100.0, 110.0, 111.0, 150.0)
    assert sorted(now(one)[0] for one in idle) == [Goal.READY, Goal.SLEEPING], (
        "what the first one gives is not free yet"
    )


def test_a_lack_that_passes_costs_nobody_a_sleep(full_gpu: Claim) -> None:
    busy, idle = settled(), settled()
    say({busy.marker: 4})
    governing = Governing()
    governing.seen = working(busy)
    govern(governing, 100.0, 105.0)
    full_gpu.set(70 * GIB)
    govern(governing, 109.0)
    full_gpu.set(79 * GIB)
    govern(governing, 110.0, 115.0)
    assert now(idle)[0] == Goal.READY


@pytest.mark.parametrize("fields", [{"pinned": True}, {"priority": 1}])
def test_neither_pinned_ones_nor_those_of_higher_priority_go(fields: dict[str, object]) -> None:
    busy, kept = settled(), settled(**fields)
    say({busy.marker: 4})
    governing = Governing()
    governing.seen = working(busy)
    govern(governing, 100.0, 110.0, 120.0)
    assert now(kept)[0] == Goal.READY


def test_nobody_goes_who_is_in_use_or_while_no_gateway_is_heard() -> None:
    busy, other = settled(), settled()
    governing = Governing()
    governing.seen = working(busy)
    govern(governing, 100.0, 110.0)
    assert now(other)[0] == Goal.READY
    say({busy.marker: 4, other.marker: 1})
    govern(governing, 120.0)
    assert now(other)[0] == Goal.READY


def test_nobody_goes_while_nobody_wants_to_grow() -> None:
    one, other = settled(), settled()
    say()
    governing = Governing()
    governing.seen = {row.marker: {**metrics.unknown(), "running": 0, "waiting": 0} for row in (one, other)}
    govern(governing, 100.0, 110.0, 140.0)
    assert (now(one)[0], now(other)[0]) == (Goal.READY, Goal.READY)
