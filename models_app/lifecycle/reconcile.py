"""Make the engines of one GPU agree with their rows, one step at a time. Only this GPU's worker runs this.

The queue gives order, the file lock gives safety, the compare-and-swap gives truth.
"""

import logging
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from gpus import processes
from gpus.models import Node
from models_app.engines import logs
from models_app.engines.diagnose import OUT_OF_MEMORY, Diagnosis, diagnose
from models_app.errors import EngineRefused, MemoryHeld, NoCapacity, ReplicaMoved
from models_app.lifecycle import effects, kv_limits, loads, observe, queues, removal, verbs
from models_app.lifecycle.kv_limits import KvLimits
from models_app.lifecycle.next_step import Effect, next_step
from models_app.lifecycle.observe import Remembered, World
from models_app.lifecycle.setbacks import Setback, Setbacks
from models_app.memory import placement, reclaim
from models_app.models import Replica
from models_app.states import TRANSIENT, Goal, State
from sardeenz.locks import locked

BUDGET_SECONDS = 1.0
SHORTEST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.1  # a load takes minutes: looking ten times a second costs little and misses nothing
PROGRESS_SECONDS = 0.5
PRUNE_SECONDS = 3600.0
TELL_SECONDS = 1.0
ACTOR = "worker"
BROKEN = "a step of its worker broke"
WAITS_FOR_TURN = "waits_for_turn"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Reconciler:
    """One GPU's steps, and what its worker remembers between them."""

    uuid: str
    remembered: Remembered = field(default_factory=Remembered)
    progress_at: dict[str, float] = field(default_factory=dict)
    setbacks: Setbacks = field(default_factory=Setbacks)
    told_at: dict[str, float] = field(default_factory=dict)
    pause_seconds: float = SHORTEST_PAUSE_SECONDS
    pruned_at: float = -PRUNE_SECONDS
    kv_limits: KvLimits = field(init=False)

    def __post_init__(self) -> None:
        self.kv_limits = KvLimits(self.uuid)

    def run(self) -> None:
        """Step until nothing moves or a second has passed; what is still under way is poked again."""
        with _only_one(self.uuid) as ours:
            if not ours:
                return
            until = time.monotonic() + BUDGET_SECONDS
            for name, chore in (("cleaning", self.clean), ("kv limits", self._settle_limits)):
                if not self.setbacks.waits(name):
                    self.setbacks.attempt(name, chore)
            while (moved := self.pass_once()) is not None and time.monotonic() < until:
                self._pause(moved)
        if moved is not None:
            queues.poke(self.uuid)

    def _pause(self, moved: bool) -> None:
        """None after a step; the longer nothing moves, the longer, across runs too."""
        if moved:
            self.pause_seconds = SHORTEST_PAUSE_SECONDS
            return
        time.sleep(self.pause_seconds)
        self.pause_seconds = min(self.pause_seconds * 1.3, LONGEST_PAUSE_SECONDS)

    def pass_once(self) -> bool | None:
        """One step for every replica; whether anything moved, or None when all have arrived."""
        around = observe.world(self.remembered)
        moved = busy = False
        for replica in self._replicas():
            whose = f"replica={replica.pk}"
            if self.setbacks.waits(whose, replica.goal):
                continue  # the tick comes back to it
            moved |= self.setbacks.attempt(whose, partial(self.step, replica, around), replica.goal)
            self._show_setback(replica, self.setbacks.known.get(whose))
            busy |= replica.state in TRANSIENT or _under_way(replica)
        return moved if busy or moved else None

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
        found = Replica.objects.filter(gpu__uuid=self.uuid).select_related("gpu", "deployment", "replaces")
        return list(found.order_by("pk"))

    def step(self, replica: Replica, around: World) -> bool:
        """Look, decide, claim, act. Whether anything was done."""
        seen = observe.look(replica, around, self.remembered)
        step = next_step(State(replica.state), Goal(replica.goal), seen)
        if step.to is None and step.effect is None:
            self._idle(replica)
            return False
        if step.to is not None and not self._claim(replica, step.to, step.reason, around):
            return False
        if step.effect is not None:
            self._act(replica, step.effect, around)
        return True

    def _claim(self, replica: Replica, to: State, reason: str, around: World) -> bool:
        """The transition, with what has to be booked in the same transaction. False when there is no room now."""
        if to == State.FAILED:
            self._fail(replica, effects.failure(replica, reason, self.remembered), reason, around)
            return True
        try:
            if replica.state == State.STOPPED:
                verbs.start(replica, actor=ACTOR)
                return True
            with transaction.atomic():
                changes = self._book(replica, to, around)
                if changes is None:
                    return False
                verbs.transition(replica, to, reason=reason, actor=ACTOR, **changes)
        except MemoryHeld as held:
            self._memory_held(replica, held)
            return False
        except NoCapacity as error:
            self._no_room(replica, error)
            return False
        return True

    def _book(self, replica: Replica, to: State, around: World) -> dict[str, Any] | None:
        """What changes with the state; None when a cold start has to wait for another one."""
        old = State(replica.state)
        if to == State.PENDING:
            placement.hold_awake(replica)
            return {"generation": replica.generation + 1, "restart_at": None}
        if to == State.STARTING:
            Node.objects.select_for_update().get(pk=replica.gpu.node_id)
            if loads.hold(replica) is not None:
                return None
            kv_limits.require(replica, around)
            return effects.prepare(replica)
        if to == State.WAKING:
            placement.hold_awake(replica)
            kv_limits.require(replica, around)
        if to == State.SLEEPING:
            placement.hold_asleep(replica, observe.own_bytes(replica, around))
        if to == State.READY and old in (State.STARTING, State.WAKING):
            return effects.became_ready(replica, around)
        if to == State.STOPPED and replica.restarting:
            return {"restarting": False, "goal": Goal.READY}
        if to == State.STOPPED and replica.goal == Goal.SLEEPING:
            return {"message": "It sleeps without an engine; it loads at its first request."}
        return {}

    def _no_room(self, replica: Replica, error: NoCapacity) -> None:
        """Who is asked for waits for those who make room, else sleeps on; a restart is put off, and no failure."""
        asked_for = replica.state == State.SLEEPING or replica.reason == placement.CLAIMED
        if asked_for and placement.room_comes(replica):
            return
        if asked_for and replica.state != State.FAILED:
            verbs.set_goal(replica, Goal.SLEEPING, reason=error.code, actor=ACTOR, message=error.message)
        else:
            later = timezone.now() + verbs.NO_ROOM_PAUSE
            verbs.note(replica, reason=error.code, message=error.message, restart_at=later)

    def _memory_held(self, replica: Replica, held: MemoryHeld) -> None:
        """It waits and says for what; that it waits is what makes its neighbours give memory back."""
        now = time.monotonic()
        if replica.reason == held.code and now - self.told_at.get(replica.marker, -TELL_SECONDS) < TELL_SECONDS:
            return
        self.told_at[replica.marker] = now
        told = {"message": held.message, "profile": replica.profile | {"waits_for": held.fields}}
        if replica.reason != held.code:
            goal = Goal(replica.goal)
            verbs.set_goal(replica, goal, reason=held.code, actor=ACTOR, fields=held.fields, **told)
        elif replica.message != held.message:
            verbs.note(replica, **told)
        kv_limits.poke_neighbours(replica, held.fields["excess"])

    def _fail(self, replica: Replica, found: Diagnosis, reason: str, around: World) -> None:
        """Out of memory beside neighbours with more than their promise is nobody's failure: it costs no restart."""
        holders = kv_limits.over_floor(replica, around) if found.code in OUT_OF_MEMORY else []
        words, changes = f"{found.message} {found.hint}", effects.backoff(replica, permanent=found.permanent)
        if replica.state == State.PENDING:  # it waited, and nothing of it ever ran
            changes = effects.short_of_memory(replica)
        if holders:
            words = f"{found.message} {reclaim.holders(holders)}; it starts again once there is room."
            changes = effects.short_of_memory(replica)
        verbs.transition(
            replica,
            State.FAILED,
            reason=found.code,
            actor=ACTOR,
            message=words.strip(),
            fields={"step": reason},
            **changes,
        )

    def _act(self, replica: Replica, effect: Effect, around: World) -> None:
        match effect:
            case Effect.SPAWN:
                effects.spawn(replica)
            case Effect.SLEEP:
                self._sleep(replica)
            case Effect.WAKE:
                self._wake(replica, around)
            case Effect.TERMINATE:
                effects.terminate(replica, around, self.remembered)
            case Effect.KILL:
                effects.kill(replica, around)
            case Effect.RELEASE:
                effects.release(replica, self.remembered)
            case Effect.RETIRE:
                effects.retire(replica)
            case Effect.GIVE_UP:
                effects.give_up_sleep(replica)
            case Effect.ABANDON:
                effects.abandon(replica)

    @staticmethod
    def _sleep(replica: Replica) -> None:
        """An engine that refuses to sleep stays awake and says why."""
        try:
            effects.sleep(replica)
        except EngineRefused as error:
            effects.give_up_sleep(replica, f"the engine refused to sleep: {error.message}")

    def _wake(self, replica: Replica, around: World) -> None:
        """An engine that fails to wake may have leaked memory: it starts afresh, unless a neighbour was the cause."""
        try:
            effects.wake(replica)
        except EngineRefused as error:
            found = diagnose([error.message], None)
            holders = kv_limits.over_floor(replica, around) if found.code in OUT_OF_MEMORY else []
            if not holders:
                self._fail(replica, found, "wake_refused", around)
                return
            message = f"it could not wake for want of memory: {reclaim.holders(holders)}"
            with transaction.atomic():
                placement.hold_asleep(replica, observe.own_bytes(replica, around))
                verbs.transition(replica, State.SLEEPING, reason=MemoryHeld.code, actor=ACTOR, message=message)

    def _idle(self, replica: Replica) -> None:
        """Nothing to do: show a load's progress or whose turn it is, forget what has served its purpose."""
        if replica.state == State.STOPPED and replica.goal == Goal.STOPPED and replica.disposable:
            removal.forget(replica)
        elif replica.state == State.STARTING:
            now = time.monotonic()
            if now - self.progress_at.get(replica.marker, -PROGRESS_SECONDS) >= PROGRESS_SECONDS:
                self.progress_at[replica.marker] = now
                effects.show_progress(replica)
        elif replica.state == State.PENDING:
            self._say_whose_turn(replica)

    @staticmethod
    def _say_whose_turn(replica: Replica) -> None:
        hold = loads.hold(replica)
        if hold is not None and (replica.reason, replica.message) != (WAITS_FOR_TURN, hold.message):
            verbs.note(replica, reason=WAITS_FOR_TURN, message=hold.message)

    def _settle_limits(self) -> bool:
        self.kv_limits.settle(observe.world(self.remembered))
        return True

    def clean(self) -> bool:
        """End engines that no replica owns, sweep their segments, keep logs bounded. Processes are read before rows."""
        around = observe.world(self.remembered)
        rows = list(Replica.objects.exclude(ipc_name="", state=State.STOPPED))
        known = {replica.marker for replica in rows}
        for engine in observe.orphans(around, known):
            logger.warning("orphan ended: marker=%s pid=%s", engine.marker, engine.pid)
            processes.kill(engine)
        effects.sweep({replica.ipc_name for replica in rows})
        for replica in self._replicas():
            logs.bound(effects.log_path(replica), settings.ENGINE_LOG_BYTES)
        if time.monotonic() - self.pruned_at >= PRUNE_SECONDS:
            self.pruned_at = time.monotonic()
            logs.prune(lambda: Replica.objects.values_list("pk", flat=True))
        return True


def _under_way(replica: Replica) -> bool:
    """Settled, yet not where it is headed, or holding what is to be given back."""
    if replica.state == State.FAILED:
        asked_for = replica.goal == Goal.READY and replica.reason == placement.CLAIMED
        return replica.port is not None or replica.goal == Goal.STOPPED or asked_for
    if replica.state == State.STOPPED:
        waits = verbs.waits_for_room(replica)
        return replica.port is not None or (replica.goal == Goal.READY and not waits) or replica.disposable
    return replica.state != replica.goal or any(
        target.state in (State.READY, State.SLEEPING) for target in replica.replacements.all()
    )


def _only_one(uuid: str) -> AbstractContextManager[bool]:
    """Whether we hold this GPU's lock: a second worker started by mistake does nothing."""
    folder = settings.DATA_DIR / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / f"{uuid}.lock", wait=False)
