"""Every verb in every state, then every way out: what was taken is given back, and nothing more is asked of it."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from gpus.models import GPU
from models_app.errors import ReplicaMoved
from models_app.lifecycle import ending, reconcile, verbs, waits
from models_app.lifecycle.next_step import Effect, Step
from models_app.lifecycle.observe import Sight
from models_app.lifecycle.reconcile import BROKEN, Reconciler
from models_app.lifecycle.setbacks import FIRST_SECONDS, LONGEST_SECONDS, Setbacks
from models_app.models import Deployment, Replica, Reservation
from models_app.states import Goal, State
from sardeenz.errors import SardeenzError
from tests import factories

pytestmark = pytest.mark.django_db

MIB = 1024**2
WAYS_OUT = ("stop", "delete")


def elsewhere(replica: Replica) -> GPU:
    """The GPU it is not on."""
    return GPU.objects.exclude(pk=replica.gpu_id).get()


def scaled_down(replica: Replica) -> None:
    """As a change of the number and a deploy do."""
    Deployment.objects.filter(pk=replica.deployment_id).update(replicas=0)
    verbs.deploy(replica.deployment, actor="ada")


VERBS: dict[str, Callable[[Replica], object]] = {
    "nothing": lambda replica: None,
    "start": lambda replica: verbs.start(replica, actor="ada"),
    "stop": lambda replica: verbs.stop(replica, actor="ada"),
    "restart": lambda replica: verbs.restart(replica, actor="ada"),
    "sleep": lambda replica: verbs.sleep(replica, actor="ada"),
    "wake": lambda replica: verbs.wake(replica, actor="ada"),
    "cancel": lambda replica: verbs.cancel(replica, actor="ada"),
    "move": lambda replica: verbs.move(replica, elsewhere(replica), actor="ada"),
    "deploy": lambda replica: verbs.deploy(replica.deployment, actor="ada"),
    "scale down": scaled_down,
    "delete": lambda replica: verbs.delete(replica.deployment, actor="ada"),
}


def placed(state: State, **fields: Any) -> Replica:
    """A small replica as it is in this state: before its start it has neither port nor segment."""
    sizes = {"weights_bytes": MIB, "overhead_bytes": MIB, "kv_floor_bytes": MIB, "kv_cap_bytes": 2 * MIB}
    fields.setdefault("deployment", None)
    of = fields.pop("deployment") or factories.deployment(**sizes)
    unstarted = {"port": None, "ipc_name": ""} if state in (State.PENDING, State.STOPPED) else {}
    return factories.replica(state, deployment=of, **(unstarted | fields))


def settle(*gpus: GPU) -> None:
    """Let these GPUs' workers step until all have arrived, or every one's. No engine stands behind these replicas."""
    workers = [Reconciler(gpu.uuid) for gpu in gpus or GPU.objects.order_by("pk")]
    for _ in range(30):
        moved = [worker.pass_once() for worker in workers]
        if moved.count(None) == len(workers):
            break
    else:
        pytest.fail(f"never at rest: {list(Replica.objects.values('pk', 'state', 'goal', 'reason', 'message'))}")
    assert not any(worker.setbacks.known for worker in workers)


def leave(replica: Replica, way: str) -> None:
    """The way out, for every replica of the deployment that is there by now."""
    if way == "delete":
        verbs.delete(replica.deployment, actor="ada")
    else:
        for row in Replica.objects.filter(deployment=replica.deployment_id).order_by("pk"):
            verbs.stop(row, actor="ada")


def assert_nothing_is_held() -> None:
    """No row holds bytes, a port or a segment."""
    assert not Reservation.objects.filter(held_bytes__gt=0).exists()
    assert not Replica.objects.exclude(state=State.STOPPED, port=None, ipc_name="").exists()


def attempt(verb: str, replica: Replica) -> None:
    """What cannot be done is refused with a code, and never breaks."""
    with suppress(SardeenzError):
        VERBS[verb](replica)


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("state", State)
def test_every_verb_and_then_every_way_out_gives_back_what_was_taken(state: State, way: str) -> None:
    factories.gpu()
    factories.gpu()
    for verb in VERBS:
        replica = placed(state)
        attempt(verb, replica)
        leave(replica, way)
    settle()
    assert_nothing_is_held()
    assert Deployment.objects.count() == (len(VERBS) - 1 if way == "stop" else 0)  # one was deleted as its verb
    assert way == "stop" or not Replica.objects.exists()


@pytest.mark.parametrize("verb", ["cancel", "stop"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_move_that_ends_early_gives_back_its_targets_bytes_and_frees_its_source(side: str, verb: str) -> None:
    factories.gpu()
    other = factories.gpu()
    for state in State:
        source = placed(State.SLEEPING)
        ended = state == State.STOPPED  # then it was ended, and goes
        target = placed(state, deployment=source.deployment, gpu=other, replaces=source, disposable=ended)
        attempt(verb, source if side == "source" else target)
    settle(other)
    assert not Replica.objects.filter(gpu=other).exists()
    assert Replica.objects.filter(replacements=None).count() == len(State)


def failed_target(source: Replica) -> Replica:
    """A copy that came to nothing, with its source as its worker read it."""
    target = placed(
        State.FAILED, deployment=source.deployment, gpu=factories.gpu(), replaces=source, message="out of memory"
    )
    return Replica.objects.select_related("replaces").get(pk=target.pk)


def test_a_source_that_changed_since_its_move_failed_still_says_why() -> None:
    """Its own worker wrote to it between the look of the target's worker and the end of the move."""
    source = placed(State.READY)
    target = failed_target(source)
    verbs.note(source, phase="measured")
    waits.abandon(target, target.message)
    source.refresh_from_db()
    assert (source.message, source.phase) == ("the move failed: out of memory", "measured")
    assert Replica.objects.get(pk=target.pk).goal == Goal.STOPPED


def test_a_move_that_ends_while_its_target_changes_ends_whole_or_not_at_all() -> None:
    source = placed(State.READY)
    target = failed_target(source)
    verbs.note(Replica.objects.get(pk=target.pk), phase="measured")
    with pytest.raises(ReplicaMoved):
        waits.abandon(target, target.message)
    source.refresh_from_db()
    assert (source.message, Replica.objects.get(pk=target.pk).goal) == ("", Goal.READY)


def test_a_load_that_is_overdue_while_it_waits_gives_its_bytes_back() -> None:
    replica = placed(State.PENDING, deadline_at=timezone.now())
    Reconciler(replica.gpu.uuid).pass_once()
    settle()
    replica.refresh_from_db()
    assert (replica.state, replica.reservations.get().held_bytes) == (State.FAILED, 0)


def breaking() -> bool:
    """A step that never works."""
    raise ValueError("the segment's folder is not ours")


def test_a_step_that_breaks_is_tried_more_and_more_rarely_and_hardly_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A day of it, looked at twice a second."""
    now = 0.0
    setbacks = Setbacks(clock=lambda: now)
    tries: list[float] = []
    while now < 86400:
        if not setbacks.waits("one"):
            setbacks.attempt("one", breaking)
            tries.append(now)
        now += 0.5
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, LONGEST_SECONDS)
    assert (len(caplog.records), sum(record.exc_info is not None for record in caplog.records)) == (11, 1)


def test_a_database_that_was_away_does_not_put_a_step_off_for_long() -> None:
    def away() -> bool:
        raise OperationalError("the database is away")

    setbacks = Setbacks(clock=lambda: 0.0)
    for _ in range(50):
        setbacks.attempt("one", away)
    assert setbacks.known["one"].until == FIRST_SECONDS


def test_a_broken_row_says_so_stops_nobody_else_and_goes_on_once_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, fine = (placed(State.FAILED, goal=Goal.STOPPED) for _ in range(2))
    now = [0.0]
    worker = Reconciler(broken.gpu.uuid, setbacks=Setbacks(clock=lambda: now[0]))

    def release(sight: Sight, step: Step) -> bool:
        return breaking() if sight.replica == broken else ending.release(sight, step)

    monkeypatch.setitem(reconcile._EFFECTS, Effect.RELEASE, release)
    for _ in range(5):
        worker.pass_once()
        now[0] += LONGEST_SECONDS
    fine.refresh_from_db()
    broken.refresh_from_db()
    assert (fine.state, fine.reservations.get().held_bytes) == (State.STOPPED, 0)
    assert broken.message.startswith(f"{BROKEN}: the segment's folder is not ours")

    monkeypatch.setitem(reconcile._EFFECTS, Effect.RELEASE, ending.release)
    for _ in range(5):
        worker.pass_once()
    broken.refresh_from_db()
    assert (broken.state, broken.message, worker.setbacks.known) == (State.STOPPED, "", {})


def test_a_step_that_broke_is_tried_at_once_on_the_way_to_another_goal() -> None:
    setbacks = Setbacks(clock=lambda: 0.0)
    setbacks.attempt("one", partial(int, "x"), "ready")  # type: ignore[arg-type]
    assert setbacks.waits("one", "ready")
    assert not setbacks.waits("one", "stopped")
    assert setbacks.attempt("one", lambda: True, "stopped")
    assert not setbacks.waits("one", "ready")
