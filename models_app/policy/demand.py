"""A request waits for a model: see to it that one of its replicas heads for ready, and who makes room for it."""

import logging
import math
from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from gpus.models import GPU
from models_app.errors import (
    CrashLoop,
    DeploymentDeleting,
    DeploymentStopped,
    MemoryHeld,
    NoCapacity,
)
from models_app.memory import cordoned, placement
from models_app.memory.standing import Standing
from models_app.models import Deployment, Replica
from models_app.policy import arrivals, eviction
from models_app.policy.eviction import Decision, Verdict
from models_app.policy.scene import LockedGPUs, Traffic, headed_for_ready, read_traffic, sleepers
from models_app.policy.verdicts import carry_out, evict, no_capacity, refuse
from models_app.states import Goal, State

RECLAIM_SECONDS = 5.0
REFUSED_SECONDS = 30.0

logger = logging.getLogger(__name__)


def request_ready(deployment_id: int, *, actor: str = "gateway") -> float | None:
    """See to it that one replica heads for ready; any number of calls cause one wake, and repeating it is the rule.

    One whose engine is gone is started as one that sleeps is woken: by the same rules, after the same evictions.
    Returns while waiting is right, also where others have to be evicted first: the seconds after which they may be,
    where that is known. Raises DeploymentStopped, CrashLoop or NoCapacity when waiting would not help, ReplicaMoved
    when somebody else changes a replica right now.
    """
    placed = _placed(deployment_id)
    if headed_for_ready(placed):
        _seek_memory(placed, actor)
        return None
    if sleepers(placed):
        return _seek_room(placed, actor)
    failed = [row for row in placed if row.state == State.FAILED and row.goal != Goal.STOPPED]
    if not placed:
        _seek_place(deployment_id, actor)
        return None
    if not failed:
        raise _stopped(deployment_id)
    if all(row.restart_at is None for row in failed):
        raise CrashLoop(f"the model failed to start: {failed[0].message}", reason=failed[0].reason)
    return None


def _seek_place(deployment_id: int, actor: str) -> None:
    """Where there is no replica: it is on its way out, or nobody wants it, or it comes to be where others make room."""
    deployment = Deployment.objects.filter(pk=deployment_id).first()
    if deployment is None or deployment.deleting:
        raise DeploymentDeleting("the model is being deleted", deployment=deployment_id)
    if deployment.goal != Goal.READY:
        raise _stopped(deployment_id)
    arrivals.first(deployment_id, read_traffic(), actor)


def _stopped(deployment_id: int) -> DeploymentStopped:
    return DeploymentStopped("the model is stopped; an operator has to start it", deployment=deployment_id)


def _placed(*deployment_ids: int) -> list[Replica]:
    return list(Replica.objects.filter(deployment__in=deployment_ids, disposable=False).order_by("pk"))


def _seek_room(placed: list[Replica], actor: str) -> float | None:
    """Decide for each sleeper, and do what is best; seconds until somebody may go, where that is known."""
    traffic = read_traffic()  # before any lock: Redis may take its time
    closed = {row.pk: gpu for row in sleepers(placed) if (gpu := cordoned.kept_off(row)) is not None}
    before = {row.pk for row in sleepers(placed) if row.pk not in closed}
    if not before:
        _leave_cordoned(sleepers(placed), closed, traffic, actor)
        return None
    with transaction.atomic():
        gpus = placement.lock([row for row in placed if row.pk in before])
        here = LockedGPUs(gpus, traffic, placed)
        now = here.of_deployment(placed[0].deployment_id)
        if headed_for_ready(now):
            return None  # another gateway was faster
        scenes = [(row, here.scene(row)) for row in sleepers(now) if row.pk in before]
        choices = [(eviction.decide(seen), row, seen) for row, seen in scenes]
        if not choices:
            return None
        decision, row, seen = min(choices, key=lambda choice: _rank(choice[0], choice[1]))
        if decision.verdict is not Verdict.REFUSE:
            carry_out(decision, row, seen, here.rows, actor)
        tried = [row for row, _ in scenes]
    if decision.verdict in (Verdict.WAKE, Verdict.EVICT) or _elsewhere(tried, row.pk, traffic, actor):
        return None
    if decision.verdict is Verdict.REFUSE:
        # Out of the transaction: an error would undo what is kept.
        refuse(no_capacity(seen, eviction.words(seen, decision)), row.name, seen, decision, actor)
    return decision.until - seen.now if decision.until is not None else None


def _leave_cordoned(asleep: list[Replica], closed: Mapping[int, GPU], traffic: Traffic, actor: str) -> None:
    """Each stands on a cordoned GPU without an engine: one comes to be on other GPUs. Raises NoCapacity."""
    if not any(arrivals.elsewhere(row, traffic, actor, accepted=arrivals.AT_ALL) for row in asleep):
        raise cordoned.refusal(closed[asleep[0].pk])


def _elsewhere(tried: list[Standing], best: int, traffic: Traffic, actor: str) -> bool:
    """Whether the best one comes to be on other GPUs instead; not where one of its deployment only has to wake."""
    if any(row.state != State.STOPPED for row in tried):
        return False
    rows = {row.pk: row for row in Replica.objects.filter(pk__in=[row.pk for row in tried])}
    return best in rows and all(map(arrivals.rests, rows.values())) and arrivals.elsewhere(rows[best], traffic, actor)


def _seek_memory(placed: list[Replica], actor: str) -> None:
    """The rows have room, the GPU has not: who holds more than is reserved for him goes as one without room would.

    Not before the worker has asked for it in vain: what an idle engine has too much comes back by itself.
    """
    wanted = next((row for row in placed if row.goal == Goal.READY and row.reason == MemoryHeld.code), None)
    if wanted is None or any(row.state == State.READY for row in placed) or _waits_for(wanted) < RECLAIM_SECONDS:
        return
    traffic = read_traffic()
    with transaction.atomic():
        here = LockedGPUs(placement.lock([wanted]), traffic, [wanted])
        row = next((row for row in here.rows if row.pk == wanted.pk), None)
        if row is None or row.goal != Goal.READY or row.reason != MemoryHeld.code:
            return
        seen = here.short_of_memory(row)
        decision = eviction.decide(seen)
        late = seen.now - seen.wanted.waiting.since >= seen.rules.max_wait(seen.wanted.waiting.priority)
        if decision.verdict is Verdict.EVICT:
            evict(decision, seen, here.rows, actor)
    if decision.verdict is Verdict.REFUSE and late:
        words = f"{row.message}; to stay: {eviction.kept(decision.residents)}"
        error = NoCapacity(words, retry_after_seconds=REFUSED_SECONDS)
        refuse(error, row.name, seen, decision, actor)


def _waits_for(row: Replica) -> float:
    """Seconds since its worker found that its GPU lacks memory."""
    began = row.transitions.filter(reason=MemoryHeld.code).values_list("at", flat=True).first()
    return (timezone.now() - began).total_seconds() if began is not None else 0.0


def _rank(decision: Decision, row: Standing) -> tuple[int, bool, float]:
    until = math.inf if decision.until is None else decision.until
    return list(Verdict).index(decision.verdict), row.down, until
