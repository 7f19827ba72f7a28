"""Policies and what they govern, read from rows: few queries, however many rows."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from models_app.in_force import FIELDS, Governed
from models_app.models import Deployment, Override, Replica, Window, WindowState, counted
from models_app.policy.windows.calendar import Recurrence
from models_app.policy.windows.plan import Asked, Schedule, Word

A_MOMENT = timedelta(minutes=1)
"""Whoever asks for now may have read the clock so long ago. Where the clock is set back all that hold act on."""


@dataclass(slots=True)
class Row:
    """What policies need to know of a deployment."""

    id: int
    name: str
    labels: dict[str, str]
    goal: str
    governed: Governed
    replicas: int
    kv_floor_bytes: int | None
    min_resident_seconds: float | None


class ReplicaRow(NamedTuple):
    """What policies need to know of one placed copy."""

    id: int
    deployment_id: int
    state: str
    goal: str
    reason: str
    sleep_level: int
    generation: int
    state_at: datetime
    ready_at: datetime | None
    floor: str | None

    @property
    def marker(self) -> str:
        """Its name in gateways' reports."""
        return f"{self.id}:{self.generation}"


class Schedules:
    """All windows as the plan takes them; read again only where one was changed."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []
        self._known: list[Schedule] = []

    def read(self) -> list[Schedule]:
        """As the rows say now."""
        seen = list(Window.objects.order_by("pk").values_list("pk", "seq"))
        if seen != self._seen:
            windows = Window.objects.prefetch_related("states").order_by("pk")
            self._known, self._seen = [schedule(window) for window in windows], seen
        return self._known


def schedule(window: Window) -> Schedule:
    """One window; its states are fetched unless they were."""
    asked = tuple(asks(state) for state in window.states.all())
    return Schedule(
        window.pk, window.name, window.precedence, recurrence(window), asked, window.ready_by, window.paused
    )


def recurrence(window: Window) -> Recurrence:
    """When the window opens and for how long, read from its row."""
    return Recurrence(
        zone=window.zone,
        duration_seconds=window.duration_seconds,
        cron=window.cron,
        weekdays=tuple(window.weekdays),
        at=window.time,
        valid_from=window.valid_from,
        valid_until=window.valid_until,
    )


def asks(state: WindowState) -> Asked:
    """What it asks, by field; what it leaves alone is not among them."""
    values = {name: getattr(state, name) for name in FIELDS}
    said = {name: value for name, value in values.items() if value is not None and value != ""}
    return Asked(state.deployment_id, state.label, said)


def held(now: datetime) -> QuerySet[Override]:
    """The overrides that hold at this time, the oldest first; at one that is past, those that were made by then."""
    rows = Override.objects.filter(until__gt=now).order_by("pk")
    return rows.filter(created_at__lte=now) if now < timezone.now() - A_MOMENT else rows


def words(now: datetime) -> list[Word]:
    """The same, as the plan takes them."""
    rows = held(now)
    return [Word(row.pk, row.deployment_id, row.actor, row.values, row.until) for row in rows]


class Deployments:
    """Every deployment that stays; what JSON says is parsed once for as long as it stays the same."""

    def __init__(self) -> None:
        self._parsed: dict[str, Any] = {}

    def read(self) -> list[Row]:
        """As the rows say now. What is parsed is shared and never changed in place."""
        known, self._parsed = self._parsed, {}
        rows = Deployment.objects.filter(deleting=False).order_by("pk").values_list(
            "pk", "name", Cast("labels", TextField()), "goal", Cast("governed", TextField()),
            "replicas", "kv_floor_bytes", "min_resident_seconds",
        )  # fmt: skip
        found = []
        for pk, name, said, goal, governed, *rest in rows:
            for text in (said, governed):
                if text not in self._parsed:
                    self._parsed[text] = known[text] if text in known else json.loads(text)
            found.append(Row(pk, name, self._parsed[said], goal, self._parsed[governed], *rest))
        return found


def replicas() -> dict[int, list[ReplicaRow]]:
    """The replicas that count, by deployment."""
    rows: Any = Replica.objects.filter(counted()).order_by("pk")
    names = ("pk", "deployment_id", "state", "goal", "reason", "sleep_level", "generation", "state_at", "ready_at")
    found: dict[int, list[ReplicaRow]] = {}
    for values in rows.values_list(*names, KT("spec__kv_floor_bytes")):
        row = ReplicaRow(*values)
        found.setdefault(row.deployment_id, []).append(row)
    return found
