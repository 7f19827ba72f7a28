"""An operator needs room: what would have to go for it, and that it goes once the operator agrees.

The rules are those of models that take turns. What they do not allow yet is waited for, as a request of common priority
would wait, and decided anew at every tick. Whatever was shown before, only what the rules allow under the locks goes.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from gpus.models import GPU
from models_app.errors import GPUCordoned, NoCapacity, ReplicaMoved
from models_app.lifecycle import fleet, verbs, waits
from models_app.lifecycle.placing import place, place_in_two_phases, place_to_wait, two_phases_help
from models_app.memory import placement
from models_app.memory.fit import Evictable, Fit
from models_app.models import Deployment, Replica
from models_app.policy import eviction, verdicts, ways
from models_app.policy.eviction import Decision, Resident, Scene, Verdict
from models_app.policy.scene import LockedGPUs, Traffic, consented, read_traffic
from models_app.policy.ways import Way
from models_app.states import Goal, State

_Look = tuple[Scene, Decision]


def deploy(deployment: Deployment, *, actor: str, gpu: GPU | None = None, evict: bool = False) -> None:
    """As `fleet.deploy`; with `evict` others make room, without it a refusal says who would have to."""
    room = _room(evict)
    with transaction.atomic():
        fleet.deploy(deployment, actor=actor, gpu=gpu, placing=room.place)
        room.for_waiting(deployment, actor)


def start_all(deployment: Deployment, *, actor: str, evict: bool = False) -> None:
    """As `fleet.start` does, for every replica of a deployment, making room where that is allowed."""
    room = _room(evict)
    with transaction.atomic():
        fleet.start(deployment, actor=actor, placing=room.place, waking=room.wake)
        room.for_waiting(deployment, actor)


def wake_all(deployment: Deployment, *, actor: str, evict: bool = False) -> None:
    """As `fleet.wake` does, for every replica of a deployment, making room where that is allowed."""
    fleet.wake(deployment, actor=actor, waking=_room(evict).wake)


def wake(replica: Replica, *, actor: str, evict: bool = False) -> Replica:
    """As `verbs.wake` does, making room where that is allowed."""
    with transaction.atomic():
        return _room(evict).wake(replica, actor=actor)


def start(replica: Replica, *, actor: str, evict: bool = False) -> Replica:
    """As `verbs.start` does, making room where that is allowed."""
    room = _room(evict)
    with transaction.atomic():
        if evict and replica.state == State.SLEEPING:
            return room.wake(replica, actor=actor)
        return room.agree_if_it_waits(verbs.start(replica, actor=actor), actor)


def move(replica: Replica, gpu: GPU, *, actor: str, evict: bool = False, two_phase: bool = False) -> Replica:
    """As `verbs.move` does, making room on the target where that is allowed, or by the replica itself."""
    return verbs.move(replica, gpu, actor=actor, placing=_room(evict, two_phase=two_phase).place)


def roll_out(deployment: Deployment, *, actor: str, evict: bool = False, two_phase: bool = False) -> None:
    """As `fleet.roll_out` does, making room where that is allowed."""
    fleet.roll_out(deployment, actor=actor, placing=_room(evict, two_phase=two_phase).place)


def settle() -> None:
    """Decide anew for all that wait although their operator agreed; the control worker calls it at every tick."""
    rows = Replica.objects.filter(reason=placement.CONSENTED).order_by("pk")
    if not rows.exists():
        return  # hardly ever anybody waits, and to read all of a row that is not there takes its time too
    waiting = [row for row in rows.select_related("deployment", "gpu", "replaces") if consented(row)]
    if not waiting:
        return
    traffic = read_traffic()
    for row in waiting:
        with suppress(ReplicaMoved):  # somebody changes it right now; the next tick looks again
            try:
                _seek(row, traffic, _who_agreed(row))
            except NoCapacity as error:
                _withdraw(row, error)


def of_deployment(fit: Fit, deployment: Deployment, gpu: GPU | None = None) -> Fit:
    """The same answer, with those who would have to go: on each GPU, and for the next replica that does not fit."""
    return _with_offers(fit, deployment, [gpu] if gpu is not None else None)


def of_move(fit: Fit, replica: Replica) -> Fit:
    """The same answer, likewise, for a copy of the replica."""
    return _with_offers(fit, replica.deployment, None)


@dataclass(frozen=True, slots=True)
class _Room:
    """How one verb comes to room: with the operator's word that others may be evicted, or without."""

    evict: bool
    traffic: Traffic
    two_phase: bool = False

    def place(
        self,
        deployment: Deployment,
        *,
        actor: str,
        gpu: GPU | None = None,
        replaces: Replica | None = None,
        anew: bool = False,
    ) -> Replica:
        """As `placing.place`, or on GPUs where others make room for it, or the one that it replaces."""
        try:
            with transaction.atomic():
                return place(deployment, actor=actor, gpu=gpu, replaces=replaces, anew=anew)
        except GPUCordoned:
            raise  # nobody's going would help
        except NoCapacity as error:
            short = error
        if replaces is not None and self.two_phase:
            target = place_in_two_phases(deployment, replaces, actor=actor, gpu=gpu, anew=anew)
            if target is not None:
                return target
        elif replaces is not None and not self.evict and two_phases_help(deployment, replaces, gpu=gpu, anew=anew):
            raise _with_two_phases(short)
        if not self.evict and gpu is None:
            raise short  # it waits, and whoever asks where it fits is told who would have to go
        return self._place_by_eviction(short, deployment, actor, gpu, replaces, anew=anew)

    def _place_by_eviction(
        self,
        short: NoCapacity,
        deployment: Deployment,
        actor: str,
        gpu: GPU | None,
        replaces: Replica | None,
        *,
        anew: bool,
    ) -> Replica:
        best = ways.search(deployment, self.traffic, gpu=gpu, replaces=replaces, anew=anew)
        if not self.evict:
            raise _with_offer(short, best) from short
        if best is None:
            raise short
        if best.decision.verdict is Verdict.REFUSE:
            raise verdicts.no_capacity(best.seen, eviction.words(best.seen, best.decision)) from short
        target = place_to_wait(deployment, best.gpus, actor=actor, replaces=replaces, anew=anew)
        self._try(target, actor)
        return target

    def wake(self, replica: Replica, *, actor: str) -> Replica:
        """As `verbs.wake`, or once others made room."""
        try:
            return verbs.wake(replica, actor=actor)
        except GPUCordoned:  # it has no engine, and may come to be elsewhere
            return self.agree_if_it_waits(verbs.start(replica, actor=actor), actor)
        except NoCapacity as error:
            if not self.evict:
                seen = _seen(replica, self.traffic)
                raise _with_offer(error, Way([], seen, eviction.decide(seen))) from error
        replica.refresh_from_db()
        if replica.goal != Goal.SLEEPING:
            raise ReplicaMoved(f"{replica} was changed meanwhile; look again", replica=replica.pk)
        return self._agree(replica, actor)

    def agree_if_it_waits(self, replica: Replica, actor: str) -> Replica:
        """One without an engine that found no room: others make it, where that was agreed to."""
        fits_the_reservation = len(replica.gpu_uuids) == replica.deployment.tensor_parallel
        if not (self.evict and fits_the_reservation and _lacks_room(replica)):
            return replica
        return self._agree(replica, actor)

    def for_waiting(self, deployment: Deployment, actor: str) -> None:
        """The same for every replica of a deployment."""
        for replica in verbs.kept(deployment) if self.evict else ():
            self.agree_if_it_waits(replica, actor)

    def _agree(self, replica: Replica, actor: str) -> Replica:
        verbs.set_goal(replica, Goal(replica.goal), reason=placement.CONSENTED, actor=actor)
        self._try(replica, actor)
        return replica

    def _try(self, replica: Replica, actor: str) -> None:
        with suppress(ReplicaMoved):  # somebody changes one of those rows right now: the tick tries again
            _seek(replica, self.traffic, actor)
        replica.refresh_from_db()


def _lacks_room(replica: Replica) -> bool:
    if not (replica.down and replica.goal == Goal.READY and replica.port is None):
        return False
    if replica.reason in (placement.CLAIMED, placement.CONSENTED):
        return False  # room is being made for it, or waited for, already
    try:
        with transaction.atomic():
            placement.check_room(replica)
    except NoCapacity:
        return True
    return False


def _room(evict: bool, *, two_phase: bool = False) -> _Room:
    return _Room(evict, read_traffic(), two_phase)  # before any lock: Redis may take its time


def _seek(replica: Replica, traffic: Traffic, actor: str) -> None:
    """Decide for one whose operator agreed, and do it. Raises NoCapacity where the rules never let enough go."""
    with transaction.atomic():
        ways.take_turn(replica, traffic, actor, still=consented)


def _who_agreed(replica: Replica) -> str:
    entry = replica.transitions.filter(reason=placement.CONSENTED).first()
    return entry.actor if entry is not None else "operator"


def _withdraw(replica: Replica, error: NoCapacity) -> None:
    """What was agreed to cannot come about any more: it waits or sleeps as without, and says why."""
    if replica.replaces is not None:
        waits.abandon(replica, error.message)
        return
    message = error.message if replica.goal == Goal.SLEEPING else f"It waits for room: {error.message}"
    verbs.set_goal(replica, Goal(replica.goal), reason=error.code, actor="rule:evict", message=message)


def _seen(replica: Replica, traffic: Traffic) -> Scene:
    """What a decision for this replica would be made of, only to tell."""
    here = LockedGPUs(list(GPU.objects.filter(reservations__replica=replica)), traffic, [replica])
    [row] = here.of([replica])
    return here.scene(row)


def _offers(looks: list[_Look]) -> list[list[Evictable]]:
    """For each decision those whom it would evict, now or once the rules let them go."""
    concerned = [_concerned(decision) for _, decision in looks]
    means = verdicts.means_of({one.id for residents in concerned for one in residents})
    return [
        [_evictable(seen, one, means[one.id].code) for one in residents if one.id in means]
        for (seen, _), residents in zip(looks, concerned, strict=True)
    ]


def _concerned(decision: Decision) -> tuple[Resident, ...]:
    return decision.residents if decision.verdict in (Verdict.EVICT, Verdict.WAIT) else ()


def _evictable(seen: Scene, one: Resident, means: str) -> Evictable:
    moment = eviction.free_at(seen, one)
    return {
        "replica": one.id,
        "name": one.name,
        "freed_bytes": sum(one.frees.values()),
        "means": means,
        "seconds": one.sleep_seconds,
        "free_at": datetime.fromtimestamp(moment, UTC).isoformat() if moment is not None else None,
        "why": eviction.why_it_may_go(seen, one),
    }


def _with_two_phases(error: NoCapacity) -> NoCapacity:
    """The refusal, with the way that is left."""
    more = "in two phases there is room, and calls are held meanwhile: ask again with two_phase"
    return NoCapacity(f"{error.message}; {more}", **error.fields | {"two_phase": True})


def _with_offer(error: NoCapacity, way: Way | None) -> NoCapacity:
    """The refusal, with who would have to go and may, or why nobody may."""
    offered = _offers([(way.seen, way.decision)])[0] if way is not None else []
    names = " and ".join(f"`{one['name']}`" for one in offered)
    if names:
        more = f"{names} can make room: ask again with evict"
    elif way is not None and way.decision.verdict is Verdict.REFUSE:
        more = f"what has to stay: {eviction.kept(way.decision.residents)}"
    else:
        more = ""
    message = f"{error.message}; {more}" if more else error.message
    return NoCapacity(message, **error.fields | {"evictable": offered})


def _with_offers(fit: Fit, deployment: Deployment, leads: list[GPU] | None) -> Fit:
    short = {one["gpu"] for one in fit["gpus"] if one["code"] == NoCapacity.code}
    if not short:
        return fit
    open_gpus = list(GPU.objects.filter(enabled=True, present=True).select_related("node").order_by("uuid"))
    here = LockedGPUs(open_gpus, read_traffic())
    found = ways.of_each(here, open_gpus, deployment, fit["needed_bytes"], short)
    offers = dict(zip(found, _offers([(way.seen, way.decision) for way in found.values()]), strict=True))
    for one in fit["gpus"]:
        one["evictable"] = offers.get(one["gpu"], [])
    asked_for = None if leads is None else {gpu.pk for gpu in leads}
    best = [lead for lead in found if offers[lead] and (asked_for is None or lead in asked_for)]
    if not fit["fits"] and best:
        fit["evictable"] = offers[min(best, key=lambda lead: found[lead].rank)]
    return fit
