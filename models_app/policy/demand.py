"""A request waits for a model: see to it that one of its replicas heads for ready, and who makes room for it.

Locks: first the GPUs, in uuid order, so that no two decisions about a GPU cross; then, without waiting, the rows that
change, because verbs lock a replica first and its GPUs second.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from gpus.models import GPU
from models_app.errors import (
    CrashLoop,
    DeploymentDeleting,
    DeploymentStopped,
    HostMemoryShort,
    MemoryHeld,
    NoCapacity,
    ReplicaMoved,
)
from models_app.lifecycle import verbs
from models_app.memory import placement
from models_app.models import Deployment, Replica
from models_app.policy import eviction
from models_app.policy.eviction import Decision, Resident, Sleeper, Snapshot, Verdict
from models_app.states import Goal, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport
from models_app.traffic.callers import WAITS_FOR_ROOM, Waiting

WAITS = WAITS_FOR_ROOM
EVICTED = "evicted"
RECLAIM_SECONDS = 5.0
REFUSED_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What gateways say; `reports` is None while Redis is away or new: somebody asks, so there is a gateway."""

    reports: list[GatewayReport] | None
    waiting: dict[int, Waiting]
    used: dict[int, float]


def request_ready(deployment_id: int, *, actor: str = "gateway") -> None:
    """See to it that one replica heads for ready; any number of calls cause one wake, and repeating it is the rule.

    One whose engine is gone is started as one that sleeps is woken: by the same rules, after the same evictions.
    Returns while waiting is right, also where others have to be evicted first. Raises DeploymentStopped, CrashLoop or
    NoCapacity when waiting would not help, ReplicaMoved when somebody else changes a replica right now.
    """
    placed = _placed(deployment_id)
    if _headed_for_ready(placed):
        _seek_memory(placed, actor)
        return
    if _sleepers(placed):
        _seek_room(deployment_id, actor)
        return
    failed = [row for row in placed if row.state == State.FAILED and row.goal != Goal.STOPPED]
    if not placed:
        _refuse_unplaced(deployment_id)
    if not failed:
        raise DeploymentStopped("the model is stopped; an operator has to start it", deployment=deployment_id)
    if all(row.restart_at is None for row in failed):
        raise CrashLoop(f"the model failed to start: {failed[0].message}", reason=failed[0].reason)


def _refuse_unplaced(deployment_id: int) -> None:
    """Say why there is no replica: it is on its way out, or waits for room, or nobody wants it."""
    deployment = Deployment.objects.filter(pk=deployment_id).first()
    if deployment is None or deployment.deleting:
        raise DeploymentDeleting("the model is being deleted", deployment=deployment_id)
    if deployment.goal == Goal.READY:
        raise NoCapacity(deployment.message or "it is being placed", deployment=deployment_id)


def _placed(*deployment_ids: int) -> list[Replica]:
    found = Replica.objects.filter(deployment__in=deployment_ids, disposable=False).select_related("deployment", "gpu")
    return list(found.order_by("pk"))


def _headed_for_ready(placed: Iterable[Replica]) -> bool:
    return any(_claims(row) or row.restarting for row in placed)


def _claims(row: Replica) -> bool:
    """Whether it serves, or its place is sought already; one without an engine claims nothing until it is asked for."""
    down = row.state == State.FAILED or _put_off(row)
    return row.goal == Goal.READY and (not down or row.reason == placement.CLAIMED)


def _put_off(row: Replica) -> bool:
    """Whether it has no engine for want of room alone."""
    return row.down and row.goal == Goal.READY and row.reason in placement.FOR_WANT_OF_ROOM


def _sleepers(placed: list[Replica]) -> list[Replica]:
    """Those of one deployment that may be woken, or started because their engine is gone; of a move, its source."""
    sources = {row.pk for row in placed}
    return [row for row in placed if row.replaces_id not in sources and _may_serve(row)]


def _may_serve(row: Replica) -> bool:
    if row.state == State.FAILED or _put_off(row):
        return row.goal != Goal.STOPPED and row.restart_at is not None and not _claims(row)
    return row.goal == Goal.SLEEPING


def _seek_room(deployment_id: int, actor: str) -> None:
    """Decide for each sleeper, and do what is best."""
    traffic = _traffic()  # before any lock: Redis may take its time
    with transaction.atomic():
        before = _sleepers(_placed(deployment_id))
        gpus = placement.lock(before)
        placed = _placed(deployment_id)
        if _headed_for_ready(placed):
            return  # another gateway was faster
        scene = _Scene(gpus, traffic)
        found = [(row, scene.snapshot(row)) for row in _sleepers(placed) if row in before]
        choices = [(eviction.decide(seen), row, seen) for row, seen in found]
        if choices:
            decision, row, seen = min(choices, key=lambda choice: _rank(choice[0], choice[1]))
            _carry_out(decision, row, seen, scene.rows, actor)


def _seek_memory(placed: list[Replica], actor: str) -> None:
    """The rows have room, the GPU has not: who holds more than was promised to him goes as one without room would.

    Not before the worker has asked for it in vain: what an idle engine has too much comes back by itself.
    """
    wanted = next((row for row in placed if row.goal == Goal.READY and row.reason == MemoryHeld.code), None)
    if wanted is None or any(row.state == State.READY for row in placed) or _waits_for(wanted) < RECLAIM_SECONDS:
        return
    traffic = _traffic()
    with transaction.atomic():
        scene = _Scene(placement.lock([wanted]), traffic)
        row = next((row for row in scene.rows if row.pk == wanted.pk), None)
        if row is None or row.goal != Goal.READY or row.reason != MemoryHeld.code:
            return
        seen = scene.short_of_memory(row)
        decision = eviction.decide(seen)
        late = seen.now - seen.wanted.waiting.since >= seen.rules.max_wait(seen.wanted.waiting.priority)
        if decision.verdict is Verdict.REFUSE and late:
            stay = eviction.kept(decision.residents)
            raise NoCapacity(f"{row.message}; to stay: {stay}", retry_after_seconds=REFUSED_SECONDS)
        if decision.verdict is Verdict.EVICT:
            _evict(decision, seen, scene.rows, actor)


def _waits_for(row: Replica) -> float:
    """Seconds since its worker found that its GPU lacks memory."""
    began = row.transitions.filter(reason=MemoryHeld.code).values_list("at", flat=True).first()
    return (timezone.now() - began).total_seconds() if began is not None else 0.0


def _traffic() -> Traffic:
    try:
        reports = activity.read_reports()
        return Traffic(reports or None, activity.waiting(reports), activity.all_last_used())
    except (RedisError, OSError) as error:
        logger.warning("nobody is evicted: what gateways have in flight is unknown: error=%s", error)
        return Traffic(None, {}, {})


def _rank(decision: Decision, row: Replica) -> tuple[int, bool, float]:
    until = math.inf if decision.until is None else decision.until
    return list(Verdict).index(decision.verdict), row.down, until


class _Scene:
    """Everything on the locked GPUs, as rows and traffic tell it."""

    def __init__(self, gpus: list[GPU], traffic: Traffic) -> None:
        self.traffic = traffic
        self.now = timezone.now().timestamp()
        self.rules = eviction.Rules(settings.MIN_RESIDENT_SECONDS, settings.EVICT_WAIT_SECONDS)
        free = placement.free_later(gpus)
        self.free = {gpu.uuid: free[gpu.pk] for gpu in gpus}
        here = Q(reservations__gpu__in=gpus) | Q(deployment__in=traffic.waiting)
        rows = Replica.objects.filter(here).select_related("deployment").distinct().order_by("pk")
        self.rows = list(rows.prefetch_related("reservations__gpu", "replacements"))
        by_deployment: dict[int, list[Replica]] = defaultdict(list)
        for row in self.rows:
            if not row.disposable:
                by_deployment[row.deployment_id].append(row)
        asked_for = [placed for pk, placed in by_deployment.items() if pk in traffic.waiting]
        self.asleep = [row for placed in asked_for if not _headed_for_ready(placed) for row in _sleepers(placed)]

    def snapshot(self, row: Replica) -> Snapshot:
        """What a decision for this sleeper is made of."""
        wanted = self._sleeper(row)
        others = [self._sleeper(other) for other in self.asleep if other.deployment_id != row.deployment_id]
        return Snapshot(
            now=self.now,
            rules=self.rules,
            free={uuid: self.free[uuid] for uuid in wanted.needs},
            wanted=wanted,
            residents=tuple(self._residents(row, wanted)),
            rivals=tuple(rival for rival in others if rival.needs.keys() <= wanted.needs.keys()),
        )

    def short_of_memory(self, row: Replica) -> Snapshot:
        """The same where the rows have room: of the bytes that lack, and those who hold more than their promise."""
        held = row.profile.get("waits_for")
        wanted = replace(self._sleeper(row), needs=held["short"] if held else {})
        excess = {int(pk): size for pk, size in held["excess"].items()} if held else {}
        holders = [resident for resident in self._residents(row, wanted) if resident.id in excess]
        frees = [{uuid: size + excess[one.id] for uuid, size in one.frees.items()} for one in holders]
        return Snapshot(
            now=self.now,
            rules=self.rules,
            free=dict.fromkeys(wanted.needs, 0),
            wanted=wanted,
            residents=tuple(replace(one, frees=freed) for one, freed in zip(holders, frees, strict=True)),
        )

    def _sleeper(self, row: Replica) -> Sleeper:
        unheard = Waiting(1, self.now, 0)  # its gateway's first call may come before its first report
        waiting = self.traffic.waiting.get(row.deployment_id, unheard)
        seconds = row.profile.get("load_seconds") if row.down else row.profile.get("wake_seconds")
        return Sleeper(row.pk, row.deployment.name, _difference(row), waiting, seconds, row.down)

    def _residents(self, wanted: Replica, sleeper: Sleeper) -> Iterable[Resident]:
        for row in self.rows:
            awake = _claims(row) or row.restarting
            frees = {uuid: size for uuid, size in _difference(row).items() if uuid in sleeper.needs}
            if awake and frees and row.pk != wanted.pk:
                yield self._resident(row, frees)

    def _resident(self, row: Replica, frees: dict[str, int]) -> Resident:
        moves = row.replaces_id is not None or bool(row.replacements.all())
        serves = row.state == State.READY and not row.restarting and not moves
        reports, waiting = self.traffic.reports, self.traffic.waiting.get(row.deployment_id)
        return Resident(
            id=row.pk,
            name=row.deployment.name,
            frees=frees,
            priority=row.deployment.priority,
            pinned=row.deployment.pinned,
            sleep_enabled=row.sleep_enabled,
            ready_at=row.state_at.timestamp() if serves else None,
            in_flight=None if reports is None else activity.in_flight(row.marker, reports),
            waiting=None if reports is None else waiting.count if waiting else 0,
            used_at=self.traffic.used.get(row.deployment_id),
            sleep_seconds=row.profile.get("sleep_seconds"),
            wake_seconds=row.profile.get("wake_seconds"),
        )


def _difference(row: Replica) -> dict[str, int]:
    """Bytes by GPU uuid between awake and asleep; one without an engine holds nothing asleep."""
    kept = {held.gpu.uuid: 0 if row.down else held.asleep_bytes for held in row.reservations.all()}
    return {held.gpu.uuid: held.awake_bytes - kept[held.gpu.uuid] for held in row.reservations.all()}


def _carry_out(decision: Decision, row: Replica, seen: Snapshot, rows: list[Replica], actor: str) -> None:
    """Change what the decision names, and tell why."""
    message = eviction.words(seen, decision)
    if decision.verdict is Verdict.REFUSE:
        raise _no_capacity(seen, message)
    put_off = _put_off(row)
    if decision.verdict is Verdict.WAKE and row.goal == Goal.READY and not put_off:
        return  # it failed, and its worker starts it again when its back-off is over
    expected = eviction.expected_at(seen, decision)
    told: dict[str, Any] = {
        "message": message,
        "expected_at": datetime.fromtimestamp(expected, UTC) if expected is not None else None,
    }
    if decision.verdict is Verdict.WAIT:
        _wait(row, told, eviction.explain(seen, decision), actor)
        return
    _hold([row])
    fields = eviction.explain(seen, decision)
    _evict(decision, seen, rows, actor)  # a wake concerns nobody else
    if put_off:
        told["restart_at"] = timezone.now()
    verbs.head_for_ready(row, actor=actor, fields=fields, **told)


def _evict(decision: Decision, seen: Snapshot, rows: list[Replica], actor: str) -> None:
    """Send those to sleep whom the decision names."""
    reasons = {one.id: eviction.why_evicted(seen, one) for one in decision.residents}
    evicted = [other for other in rows if other.pk in reasons]
    _hold(evicted)
    fields = eviction.explain(seen, decision)
    for resident in evicted:
        _send_to_sleep(resident, reasons[resident.pk], fields, actor)


def _wait(row: Replica, told: dict[str, Any], fields: dict[str, Any], actor: str) -> None:
    """One entry in the history per wait; afterwards the row alone says how it stands."""
    if row.reason != WAITS:
        _hold([row])
        verbs.set_goal(row, Goal(row.goal), reason=WAITS, actor=actor, fields=fields, **told)
    elif row.message != told["message"]:
        _hold([row])
        verbs.note(row, **told)


def _send_to_sleep(resident: Replica, message: str, fields: dict[str, Any], actor: str) -> None:
    """Drain, then sleep: at level 1 while host memory lasts, else at level 2."""
    try:
        placement.check_host_memory(resident, level=1)
        level = 1
    except HostMemoryShort:
        level = 2
    verbs.set_goal(
        resident,
        Goal.SLEEPING,
        reason=EVICTED,
        actor=actor,
        message=message,
        fields=fields | {"sleep_level": level},
        sleep_level=level,
    )


def _hold(rows: list[Replica]) -> None:
    """Lock the rows that are about to change. Raises ReplicaMoved rather than wait for somebody who may wait for us."""
    held = Replica.objects.select_for_update(skip_locked=True).filter(pk__in=[row.pk for row in rows])
    if len(held.values_list("pk", flat=True)) != len(rows):
        raise ReplicaMoved("somebody else changes these replicas right now; look again", replica=rows[0].pk)


def _no_capacity(seen: Snapshot, message: str) -> NoCapacity:
    uuid, needed = max(seen.wanted.needs.items(), key=lambda need: need[1] - seen.free[need[0]])
    return NoCapacity(message, needed_bytes=needed, free_bytes=max(seen.free[uuid], 0), gpu=uuid)
