"""Make the engines of one GPU agree with their rows, one step at a time. Only this GPU's worker runs this.

The queue gives order, the file lock gives safety, the compare-and-swap gives truth.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from gpus import kvcached
from models_app.engines import logs
from models_app.errors import ReplicaMoved
from models_app.lifecycle import ending, launch, observe, queues, removal, sleeping, starting, verbs, waits
from models_app.lifecycle.next_step import Effect, Step, next_step
from models_app.lifecycle.observe import Remembered, Sight, World
from models_app.lifecycle.orphans.keeping import Keeping
from models_app.lifecycle.setbacks import Setback, Setbacks
from models_app.lifecycle.transition import pages_last
from models_app.memory import placement
from models_app.models import Replica
from models_app.states import TRANSIENT, Goal, State
from sardeenz.locks import locked

BUDGET_SECONDS = 1.0
SHORTEST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.1  # a load takes minutes: looking ten times a second costs little and misses nothing
PRUNE_SECONDS = 3600.0
BROKEN = "a step of its worker broke"
_KNOWN_BY = ("state", "reason", "generation", "ipc_name", "spec", "gpu__uuid", "deployment__name")
"""What an engine, its segment and its log are known by; every tick reads no more of everybody."""


@dataclass(slots=True)
class Reconciler:
    """One GPU's steps, and what its worker remembers between them."""

    uuid: str
    remembered: Remembered = field(default_factory=Remembered)
    setbacks: Setbacks = field(default_factory=Setbacks)
    orphans: Keeping = field(default_factory=Keeping)
    pause_seconds: float = SHORTEST_PAUSE_SECONDS
    pruned_at: float = -PRUNE_SECONDS

    def run(self) -> None:
        """Step until nothing moves or a second has passed; what is still under way is poked again."""
        with _only_one(self.uuid) as ours:
            if not ours:
                return
            until = time.monotonic() + BUDGET_SECONDS
            with queues.looked_after(self.uuid):
                around = observe.world(self.remembered)
                moved = self.pass_once(around)
                while moved is not None and time.monotonic() < until:
                    self._pause(moved)
                    around = observe.world(self.remembered)
                    moved = self.pass_once(around)
            if not self.setbacks.waits("cleaning"):  # last, for nobody waits for it
                self.setbacks.attempt("cleaning", partial(self.clean, around))
        if moved is not None:
            queues.poke(self.uuid)

    def _pause(self, moved: bool) -> None:
        """None after a step; the longer nothing moves, the longer, across runs too."""
        if moved:
            self.pause_seconds = SHORTEST_PAUSE_SECONDS
            return
        time.sleep(self.pause_seconds)
        self.pause_seconds = min(self.pause_seconds * 1.3, LONGEST_PAUSE_SECONDS)

    def pass_once(self, around: World | None = None) -> bool | None:
        """One step for every replica; whether anything moved, or None when all have arrived."""
        around = around or observe.world(self.remembered)
        moved = busy = False
        replicas = self._replicas()
        for replica in replicas:
            whose = f"replica={replica.pk}"
            if self.setbacks.waits(whose, replica.goal):
                continue  # the tick comes back to it
            moved |= self.setbacks.attempt(whose, partial(self.step, replica, around), replica.goal)
            self._show_setback(replica, self.setbacks.known.get(whose))
            busy |= replica.state in TRANSIENT or _under_way(replica)
        rests = not busy and (not moved or all(row.state == row.goal for row in replicas))
        return None if rests else moved

    @staticmethod
    def _show_setback(replica: Replica, setback: Setback | None) -> None:
        """Say on the row that its worker cannot go on, and no longer once it can."""
        lasts = setback is not None and setback.count > 1
        if lasts == replica.message.startswith(BROKEN):
            return
        words = f"{BROKEN}: {setback.error}; it is tried again, with longer and longer pauses" if setback else ""
        with suppress(ReplicaMoved, DatabaseError):
            verbs.note(replica, message=words if lasts else "")

    def _replicas(self) -> list[Replica]:
        replicas = Replica.objects.filter(gpu__uuid=self.uuid).select_related("gpu", "deployment")
        return list(replicas.prefetch_related("replacements").order_by("pk"))

    def step(self, replica: Replica, around: World) -> bool:
        """Look, decide, and take the step. Whether anything was done."""
        sight = observe.look(replica, around, self.remembered)
        if sight.answer is not None:
            replica.count_own_tokens(sight.answer.prompt_tokens, sight.answer.completion_tokens)
        step = next_step(State(replica.state), Goal(replica.goal), sight.seen)
        if step.to is None and step.effect is None:
            self._idle(sight)
            return False
        if step.to != State.WAKING:
            return _story(State(replica.state), step)(sight, step)
        with pages_last():
            moved = sleeping.wake(sight, step)
            if replica.state == State.WAKING:  # it may be awake already, and calls wait
                self.step(replica, replace(around, now=timezone.now()))
        return moved

    @staticmethod
    def _idle(sight: Sight) -> None:
        """Nothing to do: show a load's progress or whose turn it is, forget what has served its purpose."""
        replica = sight.replica
        if replica.state == State.STOPPED and replica.goal == Goal.STOPPED and replica.disposable:
            removal.forget(replica)
        elif replica.state == State.STARTING:
            starting.show_progress(sight)
        elif replica.state == State.PENDING:
            waits.for_other_loads(sight)

    def clean(self, around: World) -> bool:
        """See to engines that no replica owns, sweep segments, bound logs. Processes were read before rows."""
        rows = list(Replica.objects.select_related("gpu", "deployment").only(*_KNOWN_BY).order_by())
        live = [row for row in rows if row.ipc_name or row.state != State.STOPPED]
        left = self.orphans.see_to(observe.orphans(around, {row.marker for row in live}), rows)
        _sweep({row.ipc_name for row in live} | {launch.segment_name(marker) for marker in left})
        for row in rows:
            if row.gpu.uuid == self.uuid:
                logs.bound(launch.log_path(row), settings.ENGINE_LOG_BYTES)
        if time.monotonic() - self.pruned_at >= PRUNE_SECONDS:
            self.pruned_at = time.monotonic()
            logs.prune(lambda: Replica.objects.values_list("pk", flat=True))
        return True


Story = Callable[[Sight, Step], bool]
_ARRIVALS: dict[State, Story] = {
    State.STARTING: starting.loaded,
    State.WAKING: sleeping.awake,
    State.DRAINING: sleeping.stay_awake,
}
_TRANSITIONS: dict[State, Story] = {
    State.PENDING: starting.again,
    State.STARTING: starting.load,
    State.DRAINING: sleeping.drain,
    State.SLEEPING: sleeping.asleep,
    State.STOPPING: ending.stop,
    State.STOPPED: ending.release,
    State.FAILED: ending.fail,
}
_EFFECTS: dict[Effect | None, Story] = {
    Effect.SLEEP: sleeping.sleep,
    Effect.WAKE: sleeping.wake,
    Effect.TERMINATE: ending.terminate,
    Effect.KILL: ending.kill,
    Effect.RELEASE: ending.release,
    Effect.RETIRE: ending.retire,
    Effect.ABANDON: ending.abandon,
}


def _story(state: State, step: Step) -> Story:
    """What takes this step: by the state it leads to, from where for one that comes to serve; else by its effect."""
    if step.to is None:
        return _EFFECTS[step.effect]
    return _ARRIVALS[state] if step.to == State.READY else _TRANSITIONS[step.to]


def _sweep(known_names: set[str]) -> None:
    """Remove segments and sockets of this installation that no replica owns."""
    for segment in kvcached.read_all(settings.SEGMENT_DIR, launch.segment_prefix()):
        if segment.ipc_name not in known_names:
            kvcached.sweep(settings.SEGMENT_DIR, segment.ipc_name)


def _under_way(replica: Replica) -> bool:
    """Settled, yet not where it is headed, or holding what is to be given back."""
    if replica.state == State.FAILED:
        asked_for = replica.goal == Goal.READY and replica.reason == placement.CLAIMED
        return replica.port is not None or replica.goal == Goal.STOPPED or asked_for
    if replica.state == State.STOPPED:
        waits = placement.waits_for_room(replica) and not replica.gives_way
        return replica.port is not None or (replica.goal == Goal.READY and not waits) or replica.disposable
    return replica.state != replica.goal or any(
        target.state in (State.READY, State.SLEEPING) for target in replica.replacements.all()
    )


def _only_one(uuid: str) -> AbstractContextManager[bool]:
    """Whether we hold this GPU's lock: a second worker started by mistake does nothing."""
    folder = settings.DATA_DIR / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / f"{uuid}.lock", wait=False)
