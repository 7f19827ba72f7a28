"""The whole fleet as rows tell it at one moment, and the forecast that begins there."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.utils import timezone

from gpus.models import GPU
from models_app.memory import host_rows, placement
from models_app.memory.placement import Choice, Need
from models_app.models import Deployment, Replica, Transition
from models_app.policy.plans.costs import Costs, Learnt
from models_app.policy.plans.forecast import Course, Forecast
from models_app.policy.plans.imagined import Imagined, Wish
from models_app.policy.scene import consented
from models_app.states import Goal, State
from sardeenz.errors import InvalidSpec

Row = TypeVar("Row", Replica, Deployment)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Rows by id. What the eviction rules said last to those that wait on an operator's word is in `told`."""

    now: datetime
    gpus: list[GPU]
    replicas: dict[int, Replica]
    deployments: dict[int, Deployment]
    told: dict[int, dict[str, object]]


def read(before: Fleet | None = None) -> Fleet:
    """The rows as they are; of those that `before` has, only what has changed since is read anew."""
    replicas = Replica.objects.select_related("gpu__node").prefetch_related("reservations__gpu")
    deployments = Deployment.objects.select_related("model", "runtime")
    rows: dict[int, Replica] = {}
    wishes: dict[int, Deployment] = {}
    if before is not None:
        rows = _same(before.replicas, dict(Replica.objects.values_list("pk", "seq")))
        wishes = _same(before.deployments, dict(Deployment.objects.values_list("pk", "seq")))
    rows |= {row.pk: row for row in replicas.exclude(pk__in=rows)}
    wishes |= {row.pk: row for row in deployments.exclude(pk__in=wishes)}
    return Fleet(
        now=timezone.now(),
        gpus=list(GPU.objects.select_related("node").order_by("uuid")),
        replicas=rows,
        deployments=wishes,
        told=_told([row for row in rows.values() if consented(row)]),
    )


def _same(before: dict[int, Row], seqs: dict[int, int]) -> dict[int, Row]:
    return {pk: row for pk, row in before.items() if seqs.get(pk) == row.seq}


def _told(waiting: list[Replica]) -> dict[int, dict[str, object]]:
    if not waiting:
        return {}
    entries = Transition.objects.filter(replica__in=waiting, reason=placement.CONSENTED).order_by("id")
    return {pk: fields for pk, fields in entries.values_list("replica", "fields") if fields.get("verdict")}


def forecast(fleet: Fleet, learnt: Learnt, foreign: dict[str, int]) -> Course:
    """What becomes of it when everything goes as it should; `foreign` bytes are nobody's of ours, by GPU uuid."""
    by_deployment: dict[int, list[Replica]] = defaultdict(list)
    for row in fleet.replicas.values():
        by_deployment[row.deployment_id].append(row)
    wishes = [_wish(one, by_deployment[one.pk], learnt) for one in fleet.deployments.values()]
    needs = {wish.id: wish for wish in wishes}
    imagined = [_imagined(row, fleet, needs[row.deployment_id], learnt) for row in fleet.replicas.values()]
    free = {gpu.pk: gpu.memory_bytes - gpu.headroom_bytes - foreign.get(gpu.uuid, 0) for gpu in fleet.gpus}
    return Forecast(imagined, wishes, Choice(fleet.gpus, free, {})).run()


def _wish(deployment: Deployment, rows: list[Replica], learnt: Learnt) -> Wish:
    amiss = any(row.state != row.goal or row.restarting or row.disposable for row in rows)
    wanted = deployment.goal == Goal.READY and not deployment.deleting
    lacks = len([row for row in rows if not row.disposable]) < deployment.replicas
    return Wish(
        id=deployment.pk,
        name=deployment.name,
        priority=deployment.priority,
        wanted=wanted,
        replicas=deployment.replicas,
        width=deployment.tensor_parallel,
        need=_need(deployment) if amiss or (wanted and lacks) else None,
        costs=_of_any(deployment.name, rows, learnt),
    )


def _of_any(name: str, rows: list[Replica], learnt: Learnt) -> Costs:
    """What its replicas took, where the history tells nothing the one that was measured last."""
    known = learnt.of(name)
    for row in sorted(rows, key=lambda row: row.state_at, reverse=True):
        known = known.filled(learnt.of(name, row))
    return known


def _need(deployment: Deployment) -> Need | None:
    try:
        return placement.need(deployment)
    except InvalidSpec:
        return None


def _imagined(row: Replica, fleet: Fleet, wish: Wish, learnt: Learnt) -> Imagined:
    reservations = list(row.reservations.all())
    told = fleet.told.get(row.pk, {})
    waits_until, concerned = told.get("until"), told.get("concerns")
    now = fleet.now.timestamp()
    one = Imagined(
        id=row.pk,
        deployment=row.deployment_id,
        name=wish.name,
        uuids=tuple(row.gpu_uuids),
        state=State(row.state),
        goal=Goal(row.goal),
        awake={each.gpu.uuid: each.awake_bytes for each in reservations},
        asleep={each.gpu.uuid: each.asleep_bytes for each in reservations},
        held={each.gpu.uuid: each.held_bytes for each in reservations},
        weights_bytes=row.weights_bytes,
        costs=learnt.of(wish.name, row, level=row.sleep_level).filled(wish.costs),
        level=row.sleep_level,
        replaces=row.replaces_id,
        disposable=row.disposable,
        restarting=row.restarting,
        reason=row.reason,
        message=row.message,
        served=row.ready_at is not None,
        restarts=row.state != State.FAILED or row.restart_at is not None,
        concerns=tuple(concerned) if isinstance(concerned, list) else (),
        gives_way_at=max(waits_until - now, 0.0) if isinstance(waits_until, int | float) else None,
        deepens=row.reason == host_rows.DEEPENS,
        gives_way=row.gives_way,
        sleeps=row.sleep_enabled,
        uses={**row.profile.get("held_bytes", {})},
    )
    if row.state == State.FAILED and row.restart_at is not None:
        one.until = max(row.restart_at.timestamp() - now, 0.0)
    elif row.state in (State.STARTING, State.WAKING, State.STOPPING, State.DRAINING):
        one.until = _left(one, now - row.state_at.timestamp())
    if wish.need is not None and len(one.uuids) == wish.width and row.replaces_id is None:
        one.fresh = dict.fromkeys(one.uuids, wish.need.awake_bytes)
    return one


def _left(one: Imagined, spent: float) -> float:
    """Seconds until what it does now should be over."""
    costs = {
        State.STARTING: one.costs.load,
        State.WAKING: one.costs.wake,
        State.STOPPING: one.costs.stop,
        State.DRAINING: one.costs.sleep if one.goal == Goal.SLEEPING else one.costs.drain,
    }
    seconds = costs.get(one.state)
    one.sure = seconds is not None
    one.told = one.state == State.DRAINING and one.goal == Goal.SLEEPING and not one.rests
    return max((seconds or 0.0) - spent, 0.0)
