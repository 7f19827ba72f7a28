"""Plans as rows: what an action would do, kept so that it can be done if nothing has moved since."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app.errors import PlanApplied, PlanExpired, PlanOutdated
from models_app.models import Plan
from models_app.policy.plans import what_if
from models_app.policy.plans.fleet import Fleet
from models_app.policy.plans.outcome import Outcome
from models_app.policy.plans.what_if import Action, Seen
from sardeenz import sizes
from sardeenz.errors import NotFound

LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would happen, and what it was worked out from."""

    seen: Seen
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Later:
    """An action that is felt at another time than that at which it is done, so it is foreseen by another clock."""

    foresee: Callable[[], Foreseen]
    do: Action
    depends_on: Mapping[str, str]
    """What has to be as it was besides replicas."""


def make(action: dict[str, Any], run: Action | Later, *, actor: str) -> Plan:
    """Answer what the action would do, and keep the answer."""
    if isinstance(run, Later):
        return keep(action, run.foresee(), actor=actor, depends_on=run.depends_on)
    known = what_if.gather()
    seen = what_if.imagine(run)
    return keep(action, Foreseen(seen, what_if.conclude(seen, known)), actor=actor)


def keep(
    action: dict[str, Any], found: Foreseen, *, actor: str, depends_on: Mapping[str, str] = MappingProxyType({})
) -> Plan:
    """Keep an answer, so that it can be done."""
    return Plan.objects.create(
        action=action,
        outcome=found.outcome,
        depends_on={**_depends_on(found.seen.before, found.outcome), **depends_on},
        actor=actor,
        expires_at=timezone.now() + LIFE,
    )


def apply(number: int, prepare: Callable[[dict[str, Any]], Action | Later], *, actor: str) -> Plan:
    """Do what the plan says, if that is still what would happen; else nothing.

    The outcome is worked out again under the action's own locks, in the transaction that does it. Raises PlanOutdated
    with what moved, PlanApplied, PlanExpired, or what the action itself is refused with.
    """
    known = what_if.gather()
    with transaction.atomic():
        with what_if.bounded():
            plan = Plan.objects.select_for_update().filter(pk=number).first()
        if plan is None:
            raise NotFound(f"there is no plan {number}")
        _refuse_unusable(plan)
        run = prepare(plan.action)
        if isinstance(run, Later):
            found, own = run.foresee(), run.depends_on
        else:
            seen = what_if.watch(run)
            found, own = Foreseen(seen, what_if.conclude(seen, known)), {}
        outdated = any(plan.depends_on.get(name) != now for name, now in own.items())
        if outdated or essence(found.outcome) != essence(plan.outcome):
            moved = _moved(plan, found, own)
            words = "; ".join(moved) or "it would do nothing"
            raise PlanOutdated(f"what this plan would do is something else by now: {words}", moved=moved)
        if found.seen.error is not None:
            raise found.seen.error
        if isinstance(run, Later):
            with what_if.bounded():
                run.do()
        plan.applied_at, plan.applied_by = timezone.now(), actor
        plan.save(update_fields=["applied_at", "applied_by"])
    return plan


def _refuse_unusable(plan: Plan) -> None:
    if plan.applied_at is not None:
        by, at = plan.applied_by, plan.applied_at.isoformat()
        raise PlanApplied(f"{by} applied this plan already, at {plan.applied_at:%H:%M:%S} UTC", by=by, at=at)
    if plan.expires_at <= timezone.now():
        raise PlanExpired("this plan is more than an hour old; ask again what would happen")


def essence(outcome: Outcome | dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for a plan to be applied: who does what and where, and memory. Seconds may differ."""
    refused = outcome["refused"]
    return {
        "refused": refused["code"] if refused else None,
        "steps": sorted(
            [one["deployment"], one["replica"] or 0, one["does"], one["gpus"], one["level"] or 0, one["gone"]]
            for one in outcome["steps"]
        ),
        "gpus": {
            one["name"]: [sizes.shown(one["reserved_before_bytes"]), sizes.shown(one["reserved_after_bytes"])]
            for one in outcome["gpus"]
            if one["reserved_before_bytes"] != one["reserved_after_bytes"]
        },
        "deployments": {one["name"]: one["then"] for one in outcome["deployments"]},
        "settings": sorted(outcome.get("settings", ())),
    }


def _depends_on(fleet: Fleet, outcome: Outcome) -> dict[str, str]:
    """How everybody stands who has a part in it, or shares a GPU with those who have."""
    names = {one["name"] for one in outcome["deployments"]}
    gpus = {name for step in outcome["steps"] for name in step["gpus"]}
    by_uuid = {gpu.uuid: f"GPU {gpu.index} of {gpu.node.name}" for gpu in fleet.gpus}
    found: dict[str, str] = {}
    for row in fleet.replicas.values():
        name = fleet.deployments[row.deployment_id].name
        if name in names or gpus & {by_uuid.get(uuid, "") for uuid in row.gpu_uuids}:
            found[f"{name}/{row.pk}"] = (
                f"{row.state}" if row.state == row.goal else f"{row.state}, on its way to {row.goal}"
            )
    return found


def _moved(plan: Plan, found: Foreseen, own: Mapping[str, str]) -> list[str]:
    """What is not as it was, in words."""
    now = {**_depends_on(found.seen.before, found.outcome), **own}
    moved = [
        f"{name} was {then} and is {now[name]}" if name in now else f"{name} was {then} and has no part in it now"
        for name, then in plan.depends_on.items()
        if now.get(name) != then
    ]
    moved += [f"{name} is new there" for name in now if name not in plan.depends_on]
    return moved or [line.rstrip(".") for line in found.outcome["lines"] if line not in plan.outcome["lines"]]
