"""Replicas as decisions about memory see them: the same facts as their rows tell, and nothing older."""

import time
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from gpus.models import GPU
from models_app.errors import ReplicaMoved
from models_app.memory import host_rows, standing
from models_app.models import Deployment, Replica
from models_app.policy import eviction, verdicts
from models_app.policy.scene import LockedGPUs, Traffic
from models_app.states import Goal, State
from models_app.traffic.activity import GatewayReport
from tests import factories
from tests.factories import GIB

pytestmark = pytest.mark.django_db

_SAME = (
    "pk",
    "seq",
    "deployment_id",
    "state",
    "goal",
    "reason",
    "message",
    "generation",
    "sleep_level",
    "restarting",
    "disposable",
    "replaces_id",
    "restart_at",
    "state_at",
    "deadline_at",
    "profile",
    "weights_bytes",
    "gpu_uuids",
    "sleep_enabled",
    "marker",
    "down",
)


def test_a_replica_stands_as_its_row_says() -> None:
    first = factories.replica(profile={"wake_seconds": 2.0})
    told = {"reason": "evicted", "message": "why", "generation": 3, "sleep_level": 2, "seq": 9}
    factories.replica(State.SLEEPING, replaces=first, disposable=True, restart_at=timezone.now(), **told)
    factories.replica(State.FAILED, restarting=True, spec={"gpu_uuids": ["one", "two"], "weights_bytes": 3 * GIB})
    factories.replica(State.STOPPED, spec={})
    for row, stands in zip(Replica.objects.order_by("pk"), standing.read(Replica.objects.all()), strict=True):
        assert {name: getattr(stands, name) for name in _SAME} == {name: getattr(row, name) for name in _SAME}
        assert stands.name == row.deployment.name
        assert host_rows.copy_of(stands) == host_rows.copy_of(row)


@pytest.mark.parametrize(
    "governed", [{}, {"priority": 7}, {"pinned": True}, {"pinned": False}, {"level": "awake"}, {"level": "asleep_1"}]
)
@pytest.mark.parametrize("pinned", [True, False])
def test_what_windows_and_overrides_say_acts(governed: dict[str, object], pinned: bool) -> None:
    factories.replica(deployment=factories.deployment(priority=2, pinned=pinned))
    sources = {name: {"value": value, "by": "window", "name": "day", "id": 1} for name, value in governed.items()}
    Deployment.objects.update(governed={"fields": sources})
    [stands] = standing.read(Replica.objects.all())
    in_force = Deployment.objects.get().in_force
    assert (stands.priority, stands.stays) == (in_force.priority, in_force.stays)


@pytest.mark.parametrize("whose", ["wanted", "resident"])
def test_nothing_is_decided_by_how_a_replica_stood_before(whose: str) -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    resident, wanted = (
        factories.replica(state, deployment=factories.deployment(weights_bytes=60 * GIB), state_at=long_ago)
        for state in (State.READY, State.SLEEPING)
    )
    idle = GatewayReport("one", frozenset(), {}, time.time())
    here = LockedGPUs(list(GPU.objects.all()), Traffic([idle], {}, {}), [wanted])
    [row] = here.of([wanted])
    seen = here.scene(row)
    decision = eviction.decide(seen)
    assert decision.verdict is eviction.Verdict.EVICT
    changed = {"wanted": wanted, "resident": resident}[whose]
    Replica.objects.filter(pk=changed.pk).update(seq=changed.seq + 1)
    with pytest.raises(ReplicaMoved), transaction.atomic():
        verdicts.carry_out(decision, row, seen, here.rows, "test")
    assert [one.goal for one in Replica.objects.order_by("pk")] == [Goal.READY, Goal.SLEEPING]
