"""What a decision about room changes in rows, whoever it is for.

Locks: first the GPUs, in uuid order, so that no two decisions about a GPU cross; then, without waiting, the rows that
change, because verbs lock a replica first and its GPUs second.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.utils import timezone

from models_app import compatibility, decisions
from models_app.errors import HostMemoryShort, NoCapacity, ReplicaMoved
from models_app.lifecycle import verbs
from models_app.memory import host_rows, placement
from models_app.memory.standing import Standing
from models_app.models import Replica
from models_app.policy import eviction
from models_app.policy.eviction import Decision, Scene, Verdict
from models_app.states import Goal
from models_app.traffic.callers import WAITS_FOR_ROOM

EVICTED = "evicted"


def carry_out(decision: Decision, row: Standing, seen: Scene, rows: list[Standing], actor: str) -> None:
    """Change what the decision names, and tell why."""
    message = eviction.words(seen, decision)
    if decision.verdict is Verdict.REFUSE:
        raise no_capacity(seen, message)
    without_room = placement.waits_for_room(row)
    if decision.verdict is Verdict.WAKE and row.goal == Goal.READY and not without_room:
        return  # it failed, and its worker starts it again when its back-off is over
    expected = eviction.expected_at(seen, decision)
    changes: dict[str, Any] = {
        "message": message,
        "expected_at": datetime.fromtimestamp(expected, UTC) if expected is not None else None,
    }
    if decision.verdict is Verdict.WAIT:
        _wait(row, changes, eviction.explain(seen, decision), actor)
        return
    [wanted] = _lock([row])
    fields = eviction.explain(seen, decision)
    evict(decision, seen, rows, actor)  # a wake concerns nobody else
    if without_room:
        changes["restart_at"] = timezone.now()
    verbs.head_for_ready(wanted, actor=actor, fields=fields, **changes)


def evict(decision: Decision, seen: Scene, rows: list[Standing], actor: str, cause: str = "") -> None:
    """Have those make room whom the decision names; each history keeps why, with all inputs, and on whose word."""
    more = f"; {cause}" if cause else ""
    reasons = {one.id: f"{eviction.why_evicted(seen, one)}{more}" for one in decision.residents}
    evicted = _lock([other for other in rows if other.pk in reasons])
    fields = eviction.explain(seen, decision)
    for resident in evicted:
        _make_room(resident, reasons[resident.pk], fields, actor)


def _wait(row: Standing, changes: dict[str, Any], fields: dict[str, Any], actor: str) -> None:
    """One entry in the history per wait; afterwards the row alone says how it stands."""
    reason = placement.CONSENTED if row.reason == placement.CONSENTED else WAITS_FOR_ROOM
    if row.reason != reason or (reason == placement.CONSENTED and not row.message):
        [locked] = _lock([row])
        verbs.set_goal(locked, Goal(row.goal), reason=reason, actor=actor, fields=fields, **changes)
    elif row.message != changes["message"]:
        [locked] = _lock([row])
        verbs.note(locked, **changes)


@dataclass(frozen=True, slots=True)
class Means:
    """How a resident makes room."""

    level: int | None
    why: str = ""
    """Why not at level 1, in words."""
    ends: bool = False
    """Whether its engine ends where it would have slept at that level."""

    @property
    def code(self) -> str:
        """Its name in answers and in the history."""
        return "stop" if self.ends else f"sleep_{self.level}"


_NO_SLEEP = Means(None, "it has no sleep mode", ends=True)


def means(resident: Replica) -> Means:
    """At level 1 while host memory lasts, else at level 2; one that cannot sleep so is stopped."""
    if not resident.sleep_enabled:
        return _NO_SLEEP
    try:
        placement.check_host_memory(resident, level=1)
    except HostMemoryShort as short:
        return _deeper(resident, short)
    return Means(1)


def means_of(residents: Collection[int]) -> dict[int, Means]:
    """The same of many by id, only to tell: nothing is locked, and who is gone meanwhile is left out."""
    rows, hosts = host_rows.around(residents)
    found, shorts = dict[int, Means](), dict[int, HostMemoryShort]()
    for pk, row in rows.items():
        try:
            placement.check_host(hosts[row.node_id], row)
            found[pk] = Means(1) if row.sleep_enabled else _NO_SLEEP
        except HostMemoryShort as short:
            shorts[pk] = short
    deeper = Replica.objects.select_related("deployment__model").in_bulk(shorts)
    for pk, one in deeper.items():
        found[pk] = _deeper(one, shorts[pk]) if one.sleep_enabled else _NO_SLEEP
    return found


def _deeper(resident: Replica, short: HostMemoryShort) -> Means:
    problem = compatibility.unsafe(resident, 2)
    return Means(2, f"{short.message}; {problem.words}" if problem else short.message, ends=problem is not None)


def _make_room(resident: Replica, message: str, fields: dict[str, Any], actor: str) -> None:
    """The resident drains, and then sleeps or ends."""
    chosen = means(resident)
    if chosen.level == 2:
        message = f"{message}; {'its engine ends' if chosen.ends else 'at level 2'}, for {chosen.why}"
    changes: dict[str, Any] = {"sleep_level": chosen.level} if chosen.level is not None else {}
    fields = fields | changes | {"means": chosen.code, "why_these_means": chosen.why}
    verbs.set_goal(resident, Goal.SLEEPING, reason=EVICTED, actor=actor, message=message, fields=fields, **changes)


def _lock(seen: list[Standing]) -> list[Replica]:
    """The rows that are about to change, locked and as they were seen, in the order of their ids.

    Raises ReplicaMoved rather than wait for somebody who may wait for us, and where one was changed meanwhile.
    """
    expected = {row.pk: row.seq for row in seen}
    unlocked = Replica.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk__in=list(expected))
    rows = list(unlocked.select_related("deployment", "gpu").order_by("pk"))
    if {row.pk: row.seq for row in rows} != expected:
        raise ReplicaMoved("somebody else changes these replicas right now; look again", replica=seen[0].pk)
    return rows


def refuse(error: NoCapacity, name: str, seen: Scene, decision: Decision, actor: str) -> NoReturn:
    """Nobody may make room: whoever asks is told so, and the decision is kept with all its inputs."""
    inputs, replica_id = eviction.explain(seen, decision), seen.wanted.id or None
    sentence = f"a request found no room for `{name}`: {error.message}"
    kind = decisions.Kind.EVICTION
    decisions.keep(decisions.Decided(kind, error.code, sentence, name, actor, replica_id, inputs))
    raise error


def no_capacity(seen: Scene, message: str) -> NoCapacity:
    uuid, needed = max(seen.wanted.needs.items(), key=lambda need: need[1] - seen.free[need[0]])
    return NoCapacity(message, needed_bytes=needed, free_bytes=max(seen.free[uuid], 0), gpu=uuid)
