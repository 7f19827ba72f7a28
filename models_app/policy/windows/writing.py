"""What is in force, written down: many deployments at once, each with its entry in the history and its event.

At the opening of a window that governs hundreds, a transaction of its own for each took a minute. Those that somebody
else holds right now, and all where one of them cannot be written, are written one by one.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import DatabaseError, transaction
from django.db.models import Case, F, JSONField, Value, When
from django.db.models.functions import Cast

from models_app import snapshot
from models_app.errors import DeploymentDeleting
from models_app.in_force import Governed, Source
from models_app.lifecycle import queues, verbs
from models_app.memory import placement
from models_app.models import Deployment, Transition
from models_app.policy.windows import levels
from models_app.policy.windows.plan import Plan
from models_app.policy.windows.sentences import changed
from sardeenz.errors import InvalidSpec

REASON = "policy"
AT_ONCE = 100
"""So many are locked together: a verb on one of them waits for no more than these."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written of one deployment; `name` is for the log."""

    name: str
    plan: Plan
    ceiling: int | None


def write(changes: Mapping[int, Change]) -> dict[int, Governed]:
    """Write down what is in force from now on; what came of it, by deployment, without those on their way out."""
    ids, written = sorted(changes), dict[int, Governed]()
    for some in (ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)):
        if len(some) > 1:
            written |= _together({number: changes[number] for number in some})
        for number in some:
            if number not in written:
                written |= _alone(number, changes[number])
    return written


def _together(changes: Mapping[int, Change]) -> dict[int, Governed]:
    """Of those that nobody holds; of none where the database refuses one."""
    try:
        with transaction.atomic():
            return _write(_lock_unheld(changes), changes)
    except DatabaseError as error:
        logger.info("policies are written one by one: error=%s", error)
        return {}


def _lock_unheld(ids: Iterable[int]) -> list[Deployment]:
    """Those of these rows that nobody else holds, ours until the transaction ends: to wait would hold up all."""
    deployments = Deployment.objects.select_for_update(of=("self",), skip_locked=True)
    return list(deployments.select_related("model", "runtime").filter(pk__in=ids).order_by("pk"))


def _alone(number: int, change: Change) -> dict[int, Governed]:
    try:
        with transaction.atomic():
            return _write([verbs.lock_deployment(number)], {number: change})
    except (DeploymentDeleting, DatabaseError) as error:
        logger.info("policy not written: deployment=%s error=%s", change.name, error)
        return {}


def _write(locked: list[Deployment], changes: Mapping[int, Change]) -> dict[int, Governed]:
    """The rows, their history and their events, of deployments that are ours until the transaction ends."""
    if not locked:
        return {}
    seqs = {one.pk: one.seq + 1 for one in locked}
    told = [entry for one in locked if (entry := _entry(one, changes[one.pk].plan)) is not None]
    governed = {one.pk: _governed(one, changes[one.pk].plan, changes[one.pk].ceiling) for one in locked}
    cases = (When(pk=number, then=Value(json.dumps(each))) for number, each in governed.items())
    rows = Deployment.objects.filter(pk__in=seqs)
    rows.update(governed=Cast(Case(*cases), JSONField()), seq=F("seq") + 1)
    Transition.objects.bulk_create(told)
    snapshot.publish_deployments(seqs)
    transaction.on_commit(queues.poke_control)
    return governed


def _entry(deployment: Deployment, plan: Plan) -> Transition | None:
    """What changes for one, for the history, by whoever decides it; None where nothing does but when it ends."""
    before, now = deployment.governed.get("fields", {}), plan.fields
    differing = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    if not differing:
        return None
    deciding: Iterable[Source | None] = (now.get(name) or before.get(name) for name in sorted(differing))
    first = next((source for source in deciding if source is not None), None)
    return Transition(
        deployment_name=deployment.name,
        generation=0,
        reason=REASON,
        message=changed(deployment, before, now),
        fields={"before": {**before}, "now": {**now}},
        actor=levels.actor(first) if first is not None else "policy",
    )


def _governed(deployment: Deployment, plan: Plan, ceiling: int | None) -> Governed:
    old = deployment.governed
    governed: Governed = {"fields": {**plan.fields}}
    if "level" in plan.fields or ("goal_before" in old and "level" in old.get("fields", {})):
        governed["goal_before"] = old.get("goal_before", deployment.goal)
    if deployment.kv_floor_bytes is None and ("kv_floor_bytes" in plan.fields or "own_floor_bytes" in old):
        own = old.get("own_floor_bytes") or _own_floor(deployment)
        if own is not None:
            governed["own_floor_bytes"] = own
    if ceiling is not None:
        governed["ceiling_bytes"] = ceiling
    if plan.changes_at is not None:
        governed["changes_at"] = plan.changes_at.isoformat()
    return governed


def _own_floor(deployment: Deployment) -> int | None:
    """What is estimated where no window says a KV floor; None where the model's files tell nothing."""
    deployment.governed = {}
    try:
        return placement.need(deployment).kv_floor_bytes
    except InvalidSpec:
        return None
