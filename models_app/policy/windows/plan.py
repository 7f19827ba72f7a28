"""What windows and overrides make of deployments at one instant. Pure: rows and the clock are arguments."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models_app.in_force import FIELDS, Level, Source
from models_app.policy.windows import calendar
from models_app.policy.windows.calendar import Recurrence, Standing

LONGEST_LEAD = timedelta(hours=1)
"""No model begins to load earlier than this before a window that wants it ready."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a window asks of one deployment, or of all with a label, by field."""

    deployment: int | None
    label: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A window: when it is open, and what it asks then."""

    id: int
    name: str
    precedence: int
    recurrence: Recurrence
    asked: tuple[Asked, ...]
    ready_by: bool = False
    paused: bool = False

    def asks_of(self, deployment: int, labels: Mapping[str, str]) -> dict[str, Any]:
        """What it asks of one deployment, by field; what it says by name counts before what it says by a label."""
        own, values = named(labels), dict[str, Any]()
        for asked in sorted(self.asked, key=lambda one: one.deployment is not None):
            if asked.deployment == deployment or asked.label in own:
                values |= asked.values
        return values


def named(labels: Mapping[str, str]) -> set[str]:
    """Labels of a deployment as windows name them: `key=value`."""
    return {f"{key}={value}" for key, value in labels.items()}


@dataclass(frozen=True, slots=True)
class Word:
    """An operator's override of one deployment."""

    id: int
    deployment: int
    actor: str
    values: Mapping[str, Any]
    until: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """A deployment, as windows find it; `lead` is how long it takes to be ready from where it is."""

    id: int
    labels: Mapping[str, str]
    lead: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of one deployment, by field, and when that changes next."""

    fields: Mapping[str, Source]
    changes_at: datetime | None = None
    level_since: datetime | None = None
    """Since when the window that says its level is open."""


NOTHING = Plan({})


class Clock:
    """How every window stands, worked out once and kept until its next edge: most instants change nothing."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Recurrence], tuple[datetime, Standing]] = {}

    def standing(self, schedule: Schedule, now: datetime) -> Standing:
        """As it is at `now`, whichever way the clock was moved since."""
        key = schedule.id, schedule.recurrence
        known = self._known.get(key)
        if known is not None and known[0] <= now and (known[1].edge is None or now < known[1].edge):
            return known[1]
        found = calendar.standing(schedule.recurrence, now)
        self._known[key] = now, found
        return found

    def forget_all_but(self, schedules: Iterable[Schedule]) -> None:
        """Windows that are no more, or are others now."""
        keep = {(one.id, one.recurrence) for one in schedules}
        self._known = {key: known for key, known in self._known.items() if key in keep}


def decide(
    subjects: Iterable[Subject], schedules: Iterable[Schedule], words: Iterable[Word], now: datetime, clock: Clock
) -> dict[int, Plan]:
    """The plan of every deployment of which anything is asked now or at some time; others are not in it."""
    found = list(subjects)
    by_id = {subject.id: subject for subject in found}
    by_label: dict[str, list[Subject]] = defaultdict(list)
    for subject in found:
        for label in named(subject.labels):
            by_label[label].append(subject)
    asked: dict[int, list[_Claim]] = defaultdict(list)
    for schedule in schedules:
        if schedule.paused:
            continue
        standing = clock.standing(schedule, now)
        for each in schedule.asked:
            meant = by_id.get(each.deployment) if each.deployment is not None else None
            for subject in [meant] if meant is not None else by_label.get(each.label, []):
                asked[subject.id].append(_claim(schedule, each, standing, subject, now))
    said: dict[int, list[Word]] = defaultdict(list)
    for word in words:
        if word.until > now and word.deployment in by_id:
            said[word.deployment].append(word)
    return {number: _plan(asked.get(number, []), said.get(number, [])) for number in asked.keys() | said.keys()}


@dataclass(frozen=True, slots=True)
class _Claim:
    rank: tuple[int, bool, float, str]
    values: Mapping[str, Any]
    source: tuple[str, int]
    since: datetime | None
    changes_at: datetime | None


def _claim(schedule: Schedule, each: Asked, standing: Standing, subject: Subject, now: datetime) -> _Claim:
    """What the window says now: nothing while it is closed, its level alone while models get ready for it."""
    since, values, edge = standing.since, each.values, standing.edge
    if not standing.open:
        values = {}
        lead = min(subject.lead, LONGEST_LEAD) if schedule.ready_by else timedelta(0)
        if standing.next is not None and lead and each.values.get("level") == Level.AWAKE:
            begins = standing.next.opens_at - lead
            if begins <= now:
                since, values = begins, {"level": Level.AWAKE.value}
            else:
                edge = begins
    moment = since.timestamp() if since is not None else 0.0
    rank = schedule.precedence, each.deployment is not None, moment, schedule.name
    return _Claim(rank, values, (schedule.name, schedule.id), since, edge)


def _plan(claims: list[_Claim], words: list[Word]) -> Plan:
    fields: dict[str, Source] = {}
    level_since = None
    for claim in sorted(claims, key=lambda one: one.rank):
        name, number = claim.source
        for field, value in claim.values.items():
            fields[field] = {"value": value, "by": "window", "name": name, "id": number}
            level_since = claim.since if field == "level" else level_since
    for word in sorted(words, key=lambda one: one.id):
        for field, value in word.values.items():
            fields[field] = {"value": value, "by": "override", "name": word.actor, "id": word.id}
    edges = [claim.changes_at for claim in claims] + [word.until for word in words]
    ordered = {field: fields[field] for field in FIELDS if field in fields}
    return Plan(ordered, min((edge for edge in edges if edge is not None), default=None), level_since)
