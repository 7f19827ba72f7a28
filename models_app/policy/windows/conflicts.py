"""Windows that contradict each other: of equal precedence, open at the same time, of two minds about one setting."""

from collections.abc import Iterable
from datetime import datetime

from models_app.errors import WindowsOverlap
from models_app.models import Deployment
from models_app.policy.windows import calendar
from models_app.policy.windows.plan import Schedule
from models_app.policy.windows.zones import zone
from sardeenz.labels import label


def refuse(new: Schedule, others: Iterable[Schedule], now: datetime) -> None:
    """Raise WindowsOverlap where another window of the same precedence says something else at the same time."""
    if new.paused:
        return
    subjects = list(Deployment.objects.filter(deleting=False).values_list("pk", "name", "labels"))
    ours = _said(new, subjects)
    for other in others:
        if other.id == new.id or other.paused or other.precedence != new.precedence:
            continue
        theirs = _said(other, subjects)
        at_odds = [key for key, value in ours.items() if key in theirs and theirs[key] != value]
        both = calendar.overlap(new.recurrence, other.recurrence, now) if at_odds else None
        if both is not None:
            _, name, field = min(at_odds)
            since = max(one.opens_at for one in both).astimezone(zone(new.recurrence.zone))
            raise WindowsOverlap(
                f"the windows {new.name} and {other.name} are both open on {since:%a %Y-%m-%d %H:%M %Z} and of two "
                f"minds about the {label(field)} of {name}: give one of them another precedence or another time",
                field="precedence",
                window=other.name,
                deployment=name,
            )


def _said(schedule: Schedule, subjects: list[tuple[int, str, dict[str, str]]]) -> dict[tuple[int, str, str], object]:
    """What it asks, by deployment and field; of a deployment before its labels."""
    return {
        (number, name, field): value
        for number, name, labels in subjects
        for field, value in schedule.asks_of(number, labels).items()
    }
