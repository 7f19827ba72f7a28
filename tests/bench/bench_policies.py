"""One look of policies at a fleet in which nothing changes: 64 GPUs, 1,000 deployments, 200 windows; and at half of it.

`make bench` runs this. The look is what beat has done every two seconds, in a process that has looked before.
"""

import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest

from gpus.models import GPU
from models_app.models import Deployment, Override, Replica, Window, WindowState
from models_app.policy.windows.apply import Applier
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

GPUS, DEPLOYMENTS, WINDOWS, OVERRIDES, ROUNDS = 64, 1000, 200, 20, 30
NOW = datetime(2027, 6, 9, 10, 15, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")


def fleet(part: int) -> None:
    """A fleet of this part of the full size; every window asks something of five deployments and of a label."""
    model, runtime = factories.model(name="weights"), factories.runtime()
    gpus = GPU.objects.bulk_create(
        GPU(
            node=factories.node(),
            index=index,
            uuid=f"GPU-{index}",
            name="bench",
            memory_bytes=80 * GIB,
            headroom_bytes=GIB,
        )
        for index in range(GPUS // part)
    )
    deployments = Deployment.objects.bulk_create(
        Deployment(
            name=f"d{number}",
            served_name=f"d{number}",
            model=model,
            runtime=runtime,
            goal=Goal.READY,
            kv_floor_bytes=GIB,
            labels={"team": f"t{number % 50}"},
        )
        for number in range(DEPLOYMENTS // part)
    )
    Replica.objects.bulk_create(
        Replica(
            deployment=each,
            gpu=gpus[number % len(gpus)],
            state=State.READY,
            goal=Goal.READY,
            state_at=NOW - timedelta(days=1),
            spec={"kv_floor_bytes": GIB},
        )
        for number, each in enumerate(deployments)
    )
    windows = Window.objects.bulk_create(
        Window(
            name=f"w{number}",
            cron=f"{number % 60} {number % 24} * * {'1-5' if number % 2 else '*'}",
            zone=ZONES[number % len(ZONES)],
            duration_seconds=3600.0 * (1 + number % 12),
            precedence=number,
            ready_by=number % 3 == 0,
        )
        for number in range(WINDOWS // part)
    )
    WindowState.objects.bulk_create(
        WindowState(window=window, deployment=deployments[(number * 7 + step) % len(deployments)], priority=number % 9)
        for number, window in enumerate(windows)
        for step in range(5)
    )
    WindowState.objects.bulk_create(
        WindowState(window=window, label=f"team=t{number % 50}", level="awake", kv_weight=7, kv_cap_bytes=9 * GIB)
        for number, window in enumerate(windows)
    )
    Override.objects.bulk_create(
        Override(deployment=each, values={"priority": 3}, until=NOW + timedelta(hours=2), actor="bench")
        for each in deployments[: OVERRIDES // part]
    )


@pytest.mark.parametrize("part", [2, 1], ids=["half", "full"])
def test_a_look_that_changes_nothing(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    fleet(part)
    applier = Applier()
    began = time.perf_counter()
    applier.run(NOW)
    first = time.perf_counter() - began
    written = list(Deployment.objects.order_by("pk").values_list("seq", flat=True))
    spent, worked = [], []
    for step in range(ROUNDS):
        began, since = time.perf_counter(), time.process_time()
        applier.run(NOW + timedelta(seconds=2 * step))
        spent.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - since))
    assert list(Deployment.objects.order_by("pk").values_list("seq", flat=True)) == written
    governed = sum(bool(row.governed.get("fields")) for row in Deployment.objects.all())
    with capsys.disabled():
        print(
            f"\n{GPUS // part} GPUs, {DEPLOYMENTS // part} deployments of which {governed} are governed, "
            f"{WINDOWS // part} windows: p50 {statistics.median(spent):.1f} ms, of which this process computes "
            f"{statistics.median(worked):.1f} ms; best {min(spent):.1f} ms; the first look {first:.1f} s"
        )
