"""What becomes of a fleet when everything goes as it should, followed to its end by the rules that will be at work.

No query, no engine: `next_step` says what each replica does, `load_order` who loads first, `placement.pick` where what
is missing goes. Time passes by learnt seconds; what nobody has measured takes none here, and is told as unknown.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from models_app.errors import NeverFits, NoCapacity
from models_app.lifecycle import load_order
from models_app.lifecycle.load_order import Candidate, Load
from models_app.lifecycle.next_step import Effect, Seen, Step, next_step
from models_app.memory import placement
from models_app.memory.placement import Choice, Need
from models_app.policy.plans.imagined import Imagined, Wish
from models_app.states import LIVE, Goal, State

LONGEST = 60
"""Steps of one replica; what is not at rest by then is said to be under way."""
GONE = "gone"
WAITS = "waits"


@dataclass(frozen=True, slots=True)
class Entry:
    """One replica came into a state, or began to wait. `sure` unless an unmeasured time lies before it."""

    order: int
    at: float
    id: int
    what: str
    sure: bool = True


@dataclass(slots=True)
class Course:
    """Everything that happens, and how it ends."""

    entries: list[Entry] = field(default_factory=list)
    down_seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """By deployment: the time in which it was to serve and did not."""
    unsure: set[int] = field(default_factory=set)
    """Deployments whose seconds are unknown."""
    imagined: dict[int, Imagined] = field(default_factory=dict)
    """All replicas there ever were, as they are at the end."""
    gone: set[int] = field(default_factory=set)

    def of(self, number: int) -> list[Entry]:
        """What happens to one replica, in order."""
        return [entry for entry in self.entries if entry.id == number]


class Forecast:
    """One fleet on its way."""

    def __init__(self, imagined: list[Imagined], wishes: list[Wish], gpus: placement.Choice) -> None:
        self.here = {one.id: one for one in imagined}
        self.wishes = {wish.id: wish for wish in sorted(wishes, key=lambda wish: (-wish.priority, wish.id))}
        self.gpus = gpus
        """The GPUs, and of each what may be promised when nobody is there."""
        self.clock = 0.0
        self.course = Course()
        self.doubtful: set[str] = set()
        """GPUs on which something of unknown length has ended."""
        self.steps: dict[int, int] = defaultdict(int)

    def run(self) -> Course:
        """Until nothing moves any more."""
        while True:
            while self._pass():
                pass
            ends = [one.until for one in self.here.values() if one.until is not None and one.until > self.clock]
            if not ends:
                break
            self._pass_time(min(ends))
        for one in self.here.values():
            self.course.imagined[one.id] = one
        return self.course

    def _pass(self) -> bool:
        moved = False
        for one in sorted(self.here.values(), key=lambda one: one.id):
            if self.steps[one.id] < LONGEST and self._step(one):
                self.steps[one.id] += 1
                moved = True
        return self._to_numbers() or moved

    def _pass_time(self, until: float) -> None:
        serving = {one.deployment for one in self.here.values() if one.state == State.READY}
        for number in {one.deployment for one in self.here.values()} | self.wishes.keys():
            if number not in serving:
                self.course.down_seconds[number] += until - self.clock
        self.clock = until

    def _step(self, one: Imagined) -> bool:
        if one.gives_way_at is not None and self.clock >= one.gives_way_at:
            self._evict_for(one)
            return True
        if (one.state, one.goal) == (State.STOPPED, Goal.STOPPED):
            return one.disposable and self._forget(one)
        step = next_step(one.state, one.goal, self._seen(one))
        if step.to is None and step.effect is None:
            return False
        return self._enter(one, step) if step.to is not None else self._act(one, step)

    def _seen(self, one: Imagined) -> Seen:
        """As its worker would see it if all went well."""
        over = one.until is None or self.clock >= one.until
        state = one.state
        return Seen(
            alive=state in LIVE or (state == State.STOPPING and not over),
            healthy=state == State.STARTING and over,
            canary=over or None,
            asleep=_asleep(one, over=over),
            quiet=state == State.DRAINING and over and not one.told,
            freed=True,
            may_start=state == State.PENDING and self._may_load(one),
            superseded=self._superseded(one),
            restart_due=one.restarts and over,
            replaces=False,
            terminated=True,
            deepens=one.deepens,
            rests=one.rests,
        )

    def _superseded(self, one: Imagined) -> bool:
        targets = [other for other in self.here.values() if other.replaces == one.id and not other.disposable]
        usable = {State.READY} if one.goal == Goal.READY else {State.READY, State.SLEEPING}
        return any(other.state in usable and other.state.value == other.goal.value for other in targets)

    def _may_load(self, one: Imagined) -> bool:
        loads = [other for other in self.here.values() if other.state == State.STARTING]
        waiting = [other for other in self.here.values() if other.state == State.PENDING and other.goal != Goal.STOPPED]
        scene = load_order.Scene(
            now=0.0,
            patience_seconds=float("inf"),
            host_free_bytes=2**62,
            loads=tuple(Load(other.id, other.name, frozenset(other.uuids), 0, 0.0, 0.0) for other in loads),
            candidates=tuple(_candidate(other) for other in waiting),
        )
        return load_order.hold(scene, _candidate(one)) is None

    def _enter(self, one: Imagined, step: Step) -> bool:
        to = step.to
        assert to is not None  # noqa: S101
        claims = {State.PENDING: one.fresh or one.awake, State.WAKING: one.awake}
        if to in claims:
            if not self._has_room(one, claims[to]):
                return self._wait(one)
            one.awake, one.held = dict(claims[to]), dict(claims[to])
        source = self.here.get(one.replaces) if one.replaces is not None else None
        if to == State.PENDING and one.state == State.STOPPED and source is not None and not source.gives_way:
            one.goal = source.goal
        one.told = False
        if to == State.SLEEPING:
            one.held, one.deepens = dict(one.asleep), False
        elif to == State.STOPPED:
            one.held = {}
            one.restarting, one.goal = False, Goal.READY if one.restarting else one.goal
        elif to == State.READY:
            one.served, one.fresh, one.gives_way = True, None, ""
        self._note(one, to)
        one.state = to
        self._lasts(one, _seconds(one, to))
        return True

    def _act(self, one: Imagined, step: Step) -> bool:
        match step.effect:
            case Effect.SLEEP:
                one.told = True
                self._lasts(one, one.costs.sleep)
            case Effect.RETIRE:
                one.goal, one.disposable = Goal.STOPPED, True
            case _:
                return False
        return True

    def _lasts(self, one: Imagined, seconds: float | None) -> None:
        """So long from now on; an unknown time is no time, and makes unsure what comes after it."""
        one.until = self.clock + (seconds or 0.0)
        if seconds is None:
            one.sure = False
            self.doubtful |= set(one.uuids)
            self.course.unsure.add(one.deployment)

    def _wait(self, one: Imagined) -> bool:
        """It has no room now. Whether that is news."""
        if one.waits:
            return False
        one.waits = True
        self._note(one, WAITS)
        return True

    def _note(self, one: Imagined, what: str) -> None:
        if one.waits and what != WAITS:
            one.waits = False
            if self.doubtful & set(one.uuids):
                one.sure = False
                self.course.unsure.add(one.deployment)
        self.course.entries.append(Entry(len(self.course.entries), self.clock, one.id, str(what), one.sure))

    def _evict_for(self, one: Imagined) -> None:
        """What its operator agreed to comes about: those it was told of go to sleep, and it has claimed its place."""
        one.gives_way_at, one.reason, one.goal = None, placement.CLAIMED, Goal.READY
        for number in one.concerns:
            if (other := self.here.get(number)) is not None and other.state == State.READY:
                other.goal = Goal.SLEEPING

    def _forget(self, one: Imagined) -> bool:
        """Its row goes; the other side of a move is an ordinary replica then, and a source that gave way returns."""
        self._note(one, GONE)
        self.course.gone.add(one.id)
        self.course.imagined[one.id] = self.here.pop(one.id)
        for other in self.here.values():
            if other.replaces == one.id:
                other.replaces = None
        source = self.here.get(one.replaces) if one.replaces is not None else None
        if source is not None and source.gives_way and not source.disposable:
            source.goal, source.reason = Goal.READY, placement.CLAIMED
        return True

    def _has_room(self, one: Imagined, needed: dict[str, int]) -> bool:
        free = self._free(besides=one)
        more = {uuid: size - one.held.get(uuid, 0) for uuid, size in needed.items()}
        return all(size <= max(free.get(uuid, 0), 0) for uuid, size in more.items())

    def _free(self, *, besides: Imagined | None = None) -> dict[str, int]:
        free = {gpu.uuid: self.gpus.free[gpu.pk] for gpu in self.gpus.gpus}
        for one in self.here.values():
            for uuid, size in (one.awake if one is not besides and one.claims else one.held).items():
                if uuid in free:
                    free[uuid] -= size
        return free

    def _to_numbers(self) -> bool:
        """What the control worker does at its next look: too many of a deployment stop, and what lacks is placed."""
        moved = False
        for wish in self.wishes.values():
            moved |= wish.wanted and self._to_number(wish)
        return moved

    def _to_number(self, wish: Wish) -> bool:
        counted = [one for one in self._of(wish) if not one.disposable and self._counts(one)]
        kept = sorted(counted, key=lambda one: (one.goal == Goal.STOPPED or one.state == State.FAILED, one.id))
        for one in kept[wish.replicas :]:
            one.goal, one.disposable, one.restarting = Goal.STOPPED, True, False
        moved = len(kept) > wish.replicas
        for _ in range(wish.replicas - len(kept)):
            moved |= self._place(wish)
        for one in kept[: wish.replicas]:
            if one.waits_without_engine and self._place(wish):
                one.goal, one.disposable, moved = Goal.STOPPED, True, True
        return moved

    def _of(self, wish: Wish) -> Iterator[Imagined]:
        return (one for one in self.here.values() if one.deployment == wish.id)

    def _counts(self, one: Imagined) -> bool:
        source = self.here.get(one.replaces) if one.replaces is not None else None
        return source is None or source.disposable

    def _place(self, wish: Wish) -> bool:
        """Whether there was room for one more of it."""
        by_uuid = self._free()
        copies: dict[int, int] = defaultdict(int)
        for one in self._of(wish):
            for gpu in self.gpus.gpus:
                copies[gpu.pk] += one.held.get(gpu.uuid, 0) > 0
        free = {gpu.pk: by_uuid[gpu.uuid] for gpu in self.gpus.gpus}
        need = wish.need
        open_gpus = [gpu for gpu in self.gpus.gpus if gpu.enabled and gpu.present]
        try:
            chosen = placement.pick(Choice(open_gpus, free, copies), need, wish.width) if need is not None else []
        except (NoCapacity, NeverFits):
            chosen = []
        if not chosen or need is None:
            return False
        new = _placed(wish, need, [gpu.uuid for gpu in chosen], -1 - len(self.course.gone) - len(self.here))
        new.sure = not self.doubtful & set(new.uuids)
        if not new.sure:
            self.course.unsure.add(wish.id)
        self.here[new.id] = new
        self._note(new, State.PENDING)
        return True


def _placed(wish: Wish, need: Need, uuids: list[str], number: int) -> Imagined:
    awake, asleep = dict.fromkeys(uuids, need.awake_bytes), dict.fromkeys(uuids, need.asleep_bytes)
    return Imagined(
        id=number,
        deployment=wish.id,
        name=wish.name,
        uuids=tuple(uuids),
        state=State.PENDING,
        goal=Goal.READY,
        awake=awake,
        asleep=asleep,
        held=dict(awake),
        weights_bytes=need.weights_bytes,
        costs=wish.costs,
    )


def _asleep(one: Imagined, *, over: bool) -> bool | None:
    """What its engine says of itself."""
    if one.state == State.WAKING and not over:
        return None
    return one.state == State.SLEEPING or (one.state == State.DRAINING and one.told and over)


def _candidate(one: Imagined) -> Candidate:
    return Candidate(one.id, one.name, frozenset(one.uuids), 0, 0.0, serves=one.goal == Goal.READY, served=one.served)


def _seconds(one: Imagined, to: State) -> float | None:
    """How long it stays there by itself."""
    costs = one.costs
    return {
        State.STARTING: costs.load,
        State.WAKING: costs.wake,
        State.STOPPING: costs.stop or 0.0,
        State.DRAINING: 0.0 if one.goal == Goal.SLEEPING and not one.rests else costs.drain or 0.0,
    }.get(to, 0.0)
