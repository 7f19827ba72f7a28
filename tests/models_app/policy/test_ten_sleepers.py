"""Ten engines that sleep on a node with host RAM for four: the least valuable give way, and none is killed.

Simulated engines, their workers, the node's readings and the policy, as they run together; `pytest -s` prints the
steps. Then sleepers may hold less: two go from level 1 to 2, and one, where no GPU has the room for that, to no engine.
"""

from collections.abc import Iterator

import pytest

from gpus import devices, processes, telemetry
from gpus.installation import installation_id
from gpus.models import GPU, Node
from models_app.lifecycle import verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.memory import host_rows
from models_app.models import Replica, Transition
from models_app.node import frame
from models_app.node.host import HostReading
from models_app.node.owners import Owners
from models_app.policy import host_memory
from models_app.states import State
from tests import factories
from tests.models_app.policy.test_demand import say
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

GIB = factories.GIB
ARGS = ["--load-seconds", "0", "--sleep-seconds", "0", "--wake-seconds", "0"]
WEIGHTS = 6 * GIB
MODELS, ROOM = 10, 4


@pytest.fixture
def workers() -> Iterator[list[Reconciler]]:
    with fresh_workers(Reconciler) as made:
        yield made


class Watch:
    """The node's readings and the policy between the workers' rounds; and the most that sleepers ever held."""

    def __init__(self) -> None:
        self.owners, self.host, self.most_bytes = Owners(), HostReading(), 0

    def __call__(self) -> None:
        """One second of the node's loop, and one tick."""
        self.most_bytes = max(self.most_bytes, sum(devices.host_claims().values()))
        now = frame.collect(None, self.owners, None, self.host)
        self.host.settle(10)
        if self.owners.due({engine["marker"] for engine in now["engines"]}):
            self.owners.read()
        telemetry.publish(now)
        say()
        host_memory.relieve()


def test_ten_sleepers_on_a_node_with_room_for_four_give_way_by_value(
    workers: list[Reconciler], capsys: pytest.CaptureFixture[str]
) -> None:
    budget = ROOM * WEIGHTS + GIB
    Node.objects.update(sleep_budget_bytes=budget)
    homes = list(GPU.objects.order_by("index"))
    for place in range(MODELS):
        of = factories.deployment(extra_args=ARGS, priority=place, weights_bytes=WEIGHTS)
        verbs.deploy(of, actor="test", gpu=homes[place % 2])
    until(workers, lambda: not Replica.objects.exclude(state=State.READY).exists(), "all ten serve")
    engines = {marker: engine.pid for marker, engine in processes.find_all(installation_id()).items()}
    rows, watch = list(Replica.objects.order_by("pk")), Watch()
    for row in rows:
        verbs.sleep(row, actor="test")

    def rest_within(room: int) -> bool:
        watch()
        at_rest = (row.state in (State.SLEEPING, State.STOPPED) and not _moves(row) for row in Replica.objects.all())
        return sum(devices.host_claims().values()) <= room * WEIGHTS and all(at_rest)

    until(workers, lambda: rest_within(ROOM), "all ten rest, within the budget")
    assert levels() == [2] * (MODELS - ROOM) + [1] * ROOM, "by priority"
    assert watch.most_bytes <= budget
    Node.objects.update(sleep_budget_bytes=2 * WEIGHTS + GIB)
    until(workers, lambda: rest_within(2), "two more sleep at level 2")
    assert levels() == [2] * (MODELS - 2) + [1] * 2
    assert {marker: one.pid for marker, one in processes.find_all(installation_id()).items()} == engines
    GPU.objects.update(headroom_bytes=70 * GIB)  # no room for the wake that level 2 takes
    Node.objects.update(sleep_budget_bytes=WEIGHTS + GIB)
    until(workers, lambda: rest_within(1), "one has no engine any more")
    assert levels() == [2] * (MODELS - 2) + [0, 1]
    engines.pop(rows[-2].marker)
    assert {marker: one.pid for marker, one in processes.find_all(installation_id()).items()} == engines
    with capsys.disabled():
        print(f"\nsleepers held {watch.most_bytes / GIB:.0f} GiB at most, of {budget / GIB:.0f} GiB")
        for told in Transition.objects.filter(actor=host_memory.ACTOR).order_by("id"):
            print(f"  {told.deployment_name}: {told.message}")
    assert not Transition.objects.filter(new=State.FAILED).exists()
    for row in rows[:-1]:
        told = row.transitions.filter(actor=host_memory.ACTOR).first()
        assert told is not None, f"{row} does not say why it went down"
        assert "host RAM" in told.message
        assert told.fields["verdict"] == "evict"


def levels() -> list[int]:
    """Who sleeps at which level, the least valuable first; 0 without an engine."""
    rows = Replica.objects.order_by("pk")
    return [row.sleep_level if row.state == State.SLEEPING else 0 for row in rows]


def _moves(row: Replica) -> bool:
    return row.reason in host_rows.DEMOTED and row.state != State.SLEEPING
