"""The ledger of each GPU against what simulated engines hold in truth, over a run with kills. `pytest -s` prints it.

The truth is read from the simulated devices' own files, beside the ledger: what each live process claims. A look counts
only where that was the same before and after it, for two readings are two instants.
"""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.conf import settings as configured
from django.utils import timezone

from gpus import devices, processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.lifecycle import observe, scale, verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.lifecycle.setbacks import Setbacks
from models_app.models import Replica, Reservation
from models_app.node import frame
from models_app.node.owners import Owners
from models_app.states import Goal, State
from sardeenz.errors import SardeenzError
from tests import factories
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

ARGS = ["--load-seconds", "0.1", "--sleep-seconds", "0", "--wake-seconds", "0"]
GIB = factories.GIB
UNEXPLAINED_RATIO = 0.01
WISHES = ("sleep", "wake", "restart", "start")
HAPPENS = [*["kill"] * 8, *["lose"] * 4, *WISHES * 3]
SEED = int(os.environ.get("SARDEENZ_TEST_SEED", "0")) or random.randrange(1, 10**6)
PARTS = ("weights_bytes", "overhead_bytes", "kv_mapped_bytes", "kv_kept_bytes", "asleep_bytes")

Truth = dict[str, dict[int, int]]


@pytest.fixture
def workers() -> Iterator[list[Reconciler]]:
    with fresh_workers(Reconciler) as made:
        yield made


def truth() -> Truth:
    """What every live process claims of each GPU, by its pid."""
    found: Truth = {}
    for uuid in GPU.objects.values_list("uuid", flat=True):
        found[uuid] = {}
        folder = Path(configured.SIMULATED_DIR) / uuid
        for claim in folder.glob("[0-9]*") if folder.is_dir() else ():
            started, size = claim.read_text().split()
            if processes.start_time(int(claim.name)) == float(started):
                found[uuid][int(claim.name)] = int(size)
    return found


@dataclass
class Looks:
    """Ledgers, as the node's loop reads them, each beside the truth of the same instant."""

    owners: Owners = field(default_factory=Owners)
    counts: Counter[str] = field(default_factory=Counter)
    worst_unexplained: float = 0.0
    worst_difference: float = 0.0

    def look(self) -> None:
        """Compare once, where nothing moved meanwhile."""
        before, now = truth(), frame.collect(None, self.owners)
        if self.owners.due({engine["marker"] for engine in now["engines"]}):
            self.owners.read()
        if truth() != before:
            self.counts["moved meanwhile"] += 1
            return
        pids = {engine.marker: engine.pids for engine in processes.find_all(installation_id()).values()}
        for uuid, held in before.items():
            ledger = now["ledgers"][uuid]
            size = ledger["total_bytes"]
            self.counts["compared"] += 1
            self.counts["with orphans"] += bool(ledger["orphans"])
            self.worst_unexplained = max(self.worst_unexplained, abs(ledger["unexplained_bytes"]) / size)
            told: defaultdict[str, int] = defaultdict(int)
            for holding in ledger["holdings"]:
                told[holding["marker"]] += sum(holding[part] for part in PARTS)  # type: ignore[literal-required]
            true = {marker: sum(held.get(pid, 0) for pid in pids.get(marker, ())) for marker in told}
            gaps = [abs(told[marker] - true[marker]) for marker in told]
            gaps.append(abs(ledger["orphan_bytes"] + sum(told.values()) - sum(held.values())))
            self.worst_difference = max(self.worst_difference, *(gap / size for gap in gaps))


def once(what: str, dice: random.Random, done: Counter[str]) -> None:
    """A kill, a row that is lost, or a wish; who failed need not wait to start again."""
    Replica.objects.filter(state=State.FAILED, restart_at__isnull=False).update(restart_at=timezone.now())
    rows, engines = list(Replica.objects.order_by("pk")), processes.find_all(installation_id())
    live = [row for row in rows if row.marker in engines]
    row = dice.choice(live or rows)
    done[what] += 1
    if what == "kill" and live:
        os.kill(engines[row.marker].pid, signal.SIGKILL)
    elif what == "lose" and live:
        Reservation.objects.filter(replica=row).delete()
        Replica.objects.filter(pk=row.pk).delete()
        scale.bring_about(Setbacks())
    elif what in WISHES:
        try:
            getattr(verbs, what)(dice.choice(rows), actor="test")
        except SardeenzError as refused:
            done[f"{what}: {refused.code}"] += 1


def test_the_ledger_is_what_engines_hold_in_truth_while_they_are_killed(
    workers: list[Reconciler], settings: LazySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ORPHAN_SECONDS = 1.0
    settings.RESTART_LIMIT = 10**6
    for _ in range(4):
        verbs.deploy(factories.deployment(extra_args=ARGS), actor="test")
    until(workers, lambda: not Replica.objects.exclude(state=State.READY).exists(), "all serve")
    looks, done, dice = Looks(), Counter[str](), random.Random(SEED)
    dice.shuffle(happens := [*HAPPENS])
    for what in happens:
        once(what, dice, done)
        for worker in workers:
            looks.look()
            around = observe.world(worker.remembered)
            worker.pass_once(around)
            worker.clean(around)
        looks.look()
        time.sleep(0.1)
    until(workers, lambda: _settled(looks), "everything is where it is headed, and no engine without its row")
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {dict(done)}\n{dict(looks.counts)}: of a GPU, unexplained at most "
            f"{looks.worst_unexplained:.3%}, beside the truth at most {looks.worst_difference:.3%}"
        )
    assert looks.counts["compared"] > len(HAPPENS)
    assert looks.counts["with orphans"] > 0
    assert looks.worst_unexplained <= UNEXPLAINED_RATIO
    assert looks.worst_difference <= UNEXPLAINED_RATIO
    for row in Replica.objects.all():
        verbs.stop(row, actor="test")
    until(workers, lambda: not processes.find_all(installation_id()), "every engine ended")
    assert [reading.memory_used_bytes for reading in devices.read_all()] == [0, 0]


def _settled(looks: Looks) -> bool:
    looks.look()
    Replica.objects.filter(state=State.FAILED, restart_at__isnull=False).update(restart_at=timezone.now())
    ledgers = frame.collect(None, looks.owners)["ledgers"].values()
    live = {row.marker for row in Replica.objects.exclude(state=State.STOPPED)}
    rests = {Goal.STOPPED: {*State}, Goal.SLEEPING: {State.SLEEPING, State.STOPPED}, Goal.READY: {State.READY}}
    headed = all(row.state in rests[Goal(row.goal)] for row in Replica.objects.all())
    time.sleep(0.05)
    return headed and not any(one["orphans"] for one in ledgers) and set(processes.find_all(installation_id())) == live
