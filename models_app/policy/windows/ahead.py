"""What windows would have the fleet do at another instant, or after a change of theirs: done, looked at, and undone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from models_app.models import Deployment, Transition
from models_app.policy.plans import what_if
from models_app.policy.plans.book import Foreseen
from models_app.policy.plans.outcome import Outcome
from models_app.policy.windows import calendar, in_force, sentences
from models_app.policy.windows.apply import Applier
from models_app.policy.windows.in_force import InForceRow
from models_app.policy.windows.levels import NOT_DONE
from models_app.policy.windows.plan import Schedule

Change = Callable[[], object]


class AheadRow(TypedDict):
    """What would act at `at` and what would move then, if the fleet stood as it does now."""

    at: str
    settings: list[str]
    not_done: list[str]
    outcome: Outcome
    in_force: InForceRow
    lines: list[str]
    plan: int | None


@dataclass(frozen=True, slots=True)
class Ahead(Foreseen):
    """What would happen then, as it is shown."""

    row: AheadRow


def at(moment: datetime, change: Change | None = None) -> AheadRow:
    """The answer; nothing is changed and no clock but that of the question is moved. Raises as `change` does."""
    return foresee(moment, change).row


def foresee(moment: datetime, change: Change | None = None) -> Ahead:
    """The same, with what it was worked out from."""
    found: list[tuple[list[str], list[str], InForceRow]] = []

    def act() -> None:
        if change is not None:
            change()
        found.append(_brought_about(moment))

    known = what_if.gather()
    seen = what_if.imagine(act)
    if seen.error is not None:
        raise seen.error
    outcome = what_if.conclude(seen, known)
    settings, not_done, acting = found[0]
    lines = [*(settings or ["No setting would be another one."]), *not_done, *outcome["lines"]]
    row: AheadRow = {
        "at": moment.isoformat(),
        "settings": settings,
        "not_done": not_done,
        "outcome": outcome,
        "in_force": acting,
        "lines": lines,
        "plan": None,
    }
    return Ahead(seen, outcome | {"settings": settings, "lines": lines}, row)


def when(schedule: Schedule, now: datetime) -> datetime:
    """When a change of this window is first felt: now while it is open, else at its next opening."""
    standing = calendar.standing(schedule.recurrence, now)
    return now if standing.open or standing.next is None else standing.next.opens_at


def _brought_about(moment: datetime) -> tuple[list[str], list[str], InForceRow]:
    before = {row.pk: row.governed.get("fields", {}) for row in Deployment.objects.filter(deleting=False)}
    last = Transition.objects.order_by("-id").values_list("id", flat=True).first() or 0
    Applier().run(moment)
    settings = [
        f"{row.name}: {words}."
        for row in Deployment.objects.filter(deleting=False).order_by("name")
        if (words := sentences.changed(row, before.get(row.pk, {}), row.governed.get("fields", {})))
    ]
    refused = Transition.objects.filter(id__gt=last, message__startswith=NOT_DONE).order_by("id")
    return settings, [f"{row.deployment_name}: {row.message}." for row in refused], in_force.at(moment)
