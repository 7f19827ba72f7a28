"""Windows as pages show them: how they stand, when they open next, and what a change of the clocks does then."""

from datetime import datetime
from itertools import islice
from typing import TypedDict

from models_app.models import Window, WindowState
from models_app.policy.windows import calendar, fitting, reading
from models_app.policy.windows.calendar import Opening, Recurrence
from models_app.policy.windows.plan import Schedule
from models_app.policy.windows.zones import database, zone

SHOWN = 5


class OpeningRow(TypedDict):
    """One opening: as instants, as its zone's clock shows it, and what a change of the clocks does to it."""

    opens_at: str
    closes_at: str
    opens_local: str
    closes_local: str
    note: str


class WindowStateRow(TypedDict):
    """What a window asks of one deployment, or of all with a label; null is left as it is."""

    deployment: int | None
    deployment_name: str
    label: str
    level: str
    kv_floor_bytes: int | None
    kv_cap_bytes: int | None
    kv_weight: int | None
    priority: int | None
    replicas: int | None
    pinned: bool | None
    max_concurrency: int | None
    queue_limit: int | None
    queue_seconds: float | None


class WindowRow(TypedDict):
    """A window, how it stands, and its next openings."""

    id: int
    seq: int
    name: str
    cron: str
    weekdays: list[str]
    time: str | None
    zone: str
    duration_seconds: float
    precedence: int
    ready_by: bool
    valid_from: str | None
    valid_until: str | None
    paused: bool
    author: str
    states: list[WindowStateRow]
    open_since: str | None
    open_until: str | None
    next: list[OpeningRow]
    notes: list[str]
    warnings: list[str]
    zone_database: str


class PreviewRow(TypedDict):
    """What a window would do that is not saved yet."""

    next: list[OpeningRow]
    notes: list[str]
    warnings: list[str]
    zone_database: str


def of_schedule(schedule: Schedule, now: datetime) -> PreviewRow:
    """The next openings of it, and what there is to say of it before anybody saves it."""
    return {
        "next": next_openings(schedule.recurrence, now),
        "notes": notes(schedule.recurrence, now),
        "warnings": fitting.warnings(schedule),
        "zone_database": database().words,
    }


def next_openings(recurrence: Recurrence, now: datetime) -> list[OpeningRow]:
    """The next five openings, with what clock changes do to them."""
    return [_opening_row(one, recurrence.zone) for one in islice(calendar.openings(recurrence, now), SHOWN)]


def notes(recurrence: Recurrence, now: datetime) -> list[str]:
    """What people read differently into a cron expression, and whether it ever closes."""
    said = _of_cron(recurrence.cron.split()) if recurrence.cron else []
    first = calendar.standing(recurrence, now)
    opened = calendar.standing(recurrence, first.next.opens_at) if not first.open and first.next is not None else first
    if opened.open and opened.until is None:
        said.append("it opens again before it has closed, all year: once open it never closes")
    return said


def _of_cron(fields: list[str]) -> list[str]:
    said = []
    if not fields[2].startswith("*") and not fields[4].startswith("*"):
        said.append("it names days of the month and days of the week: it opens on days that match either")
    if fields[2] in ("29", "30", "31"):
        said.append(f"months without a day {fields[2]} have no opening; L is the last day of every month")
    return said


def _opening_row(one: Opening, name: str) -> OpeningRow:
    here = zone(name)
    return {
        "opens_at": one.opens_at.isoformat(),
        "closes_at": one.closes_at.isoformat(),
        "opens_local": f"{one.opens_at.astimezone(here):%a %Y-%m-%d %H:%M %Z}",
        "closes_local": f"{one.closes_at.astimezone(here):%a %Y-%m-%d %H:%M %Z}",
        "note": calendar.words(one, name),
    }


def row(window: Window, now: datetime, *, warn: bool = True) -> WindowRow:
    """One saved window; its states are fetched unless they were."""
    schedule = reading.schedule(window)
    standing = calendar.standing(schedule.recurrence, now)
    said = of_schedule(schedule, now) if warn else None
    open_now = standing.open and not window.paused
    return {
        "id": window.pk,
        "seq": window.seq,
        "name": window.name,
        "cron": window.cron,
        "weekdays": list(window.weekdays),
        "time": f"{window.time:%H:%M}" if window.time is not None else None,
        "zone": window.zone,
        "duration_seconds": window.duration_seconds,
        "precedence": window.precedence,
        "ready_by": window.ready_by,
        "valid_from": _instant(window.valid_from),
        "valid_until": _instant(window.valid_until),
        "paused": window.paused,
        "author": window.author,
        "states": [_state_row(state) for state in window.states.all()],
        "open_since": _instant(standing.since) if open_now else None,
        "open_until": _instant(standing.until) if open_now else None,
        "next": next_openings(schedule.recurrence, now) if said is None else said["next"],
        "notes": notes(schedule.recurrence, now),
        "warnings": [] if said is None else said["warnings"],
        "zone_database": database().words,
    }


def _state_row(state: WindowState) -> WindowStateRow:
    return {
        "deployment": state.deployment_id,
        "deployment_name": state.deployment.name if state.deployment is not None else "",
        "label": state.label,
        "level": state.level,
        "kv_floor_bytes": state.kv_floor_bytes,
        "kv_cap_bytes": state.kv_cap_bytes,
        "kv_weight": state.kv_weight,
        "priority": state.priority,
        "replicas": state.replicas,
        "pinned": state.pinned,
        "max_concurrency": state.max_concurrency,
        "queue_limit": state.queue_limit,
        "queue_seconds": state.queue_seconds,
    }


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
