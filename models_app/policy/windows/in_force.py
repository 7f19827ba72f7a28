"""What is in force at an instant, now or any other: each setting, its value, and where that comes from."""

from datetime import datetime
from typing import Any, TypedDict

from models_app.in_force import FIELDS, SETTINGS
from models_app.models import Deployment, Override
from models_app.policy.windows import reading, sentences
from models_app.policy.windows.apply import Applier
from models_app.policy.windows.plan import NOTHING, Plan
from models_app.policy.windows.zones import database
from sardeenz.labels import label


class OverrideRow(TypedDict):
    """An operator's word against windows."""

    id: int
    deployment: int
    deployment_name: str
    values: dict[str, Any]
    words: str
    until: str
    actor: str
    created_at: str


class SettingRow(TypedDict):
    """One setting: what acts, what the deployment has of its own, and who decides."""

    field: str
    label: str
    value: Any
    own: Any
    by: str
    name: str
    words: str


class DeploymentInForceRow(TypedDict):
    """One deployment's settings; those that nobody governs are its own and not listed."""

    deployment: int
    name: str
    settings: list[SettingRow]
    changes_at: str | None


class OpenRow(TypedDict):
    """A window that is open, or opens next."""

    id: int
    name: str
    open: bool
    edge: str | None


class InForceRow(TypedDict):
    """Everything in force at one instant."""

    at: str
    windows: list[OpenRow]
    deployments: list[DeploymentInForceRow]
    overrides: list[OverrideRow]
    changes_at: str | None
    next_change: str
    zone_database: str


def at(now: datetime) -> InForceRow:
    """The plan in force at `now`, computed from the clock."""
    applier = Applier()
    schedules = applier.schedules.read()
    plans = applier.plans(now)
    standing = [(one, applier.clock.standing(one, now)) for one in schedules if not one.paused]
    edges = sorted((each.edge, one.name, each.open) for one, each in standing if each.edge is not None)
    words = reading.held(now).select_related("deployment")
    rows = Deployment.objects.filter(deleting=False).order_by("name")
    changes = [(word.until, word.deployment.name) for word in words]
    return {
        "at": now.isoformat(),
        "windows": [
            {"id": one.id, "name": one.name, "open": each.open, "edge": each.edge.isoformat() if each.edge else None}
            for one, each in standing
        ],
        "deployments": [_row(row, plans.get(row.pk, NOTHING)) for row in rows],
        "overrides": [override_row(word) for word in words],
        "changes_at": min([*(edge for edge, _, _ in edges), *(until for until, _ in changes)]).isoformat()
        if edges or changes
        else None,
        "next_change": _next(edges, changes),
        "zone_database": database().words,
    }


def override_row(word: Override) -> OverrideRow:
    """One override as it is shown."""
    return {
        "id": word.pk,
        "deployment": word.deployment_id,
        "deployment_name": word.deployment.name,
        "values": word.values,
        "words": sentences.asked(word.values),
        "until": word.until.isoformat(),
        "actor": word.actor,
        "created_at": word.created_at.isoformat(),
    }


def _row(row: Deployment, plan: Plan) -> DeploymentInForceRow:
    settings: list[SettingRow] = [
        {
            "field": field,
            "label": label(field),
            "value": source["value"],
            "own": getattr(row, field) if field in SETTINGS else None,
            "by": source["by"],
            "name": source["name"],
            "words": f"{label(field)} {sentences.value(field, source['value'])} ({sentences.deciding(source)})",
        }
        for field, source in plan.fields.items()
        if field in FIELDS
    ]
    edge = plan.changes_at.isoformat() if plan.changes_at is not None else None
    return {"deployment": row.pk, "name": row.name, "settings": settings, "changes_at": edge}


def _next(edges: list[tuple[datetime, str, bool]], ends: list[tuple[datetime, str]]) -> str:
    """What changes next, in a sentence."""
    coming = [(edge, f"window {name} {'closes' if is_open else 'opens'}") for edge, name, is_open in edges]
    coming += [(until, f"the override of {name} ends") for until, name in ends]
    if not coming:
        return "nothing changes by the clock"
    first = min(moment for moment, _ in coming)
    return f"{first:%a %Y-%m-%d %H:%M} UTC: " + ", ".join(words for moment, words in coming if moment == first)
