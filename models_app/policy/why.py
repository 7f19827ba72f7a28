"""Why a deployment or a replica is where it is: its history and its decisions as one timeline, the newest first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from models_app.models import Decision, Deployment, Replica, Transition
from models_app.policy import why_words

KIND = "history"
"""The kind of an entry that changed a replica; the others are kinds of decisions."""

Row = TypeVar("Row", Transition, Decision)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened or was decided."""

    at: datetime
    kind: str
    code: str
    sentence: str
    actor: str
    deployment_name: str
    replica_id: int | None
    times: int
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """A deployment, or one replica of it, which may be gone: history outlives rows."""

    deployment_name: str
    replica_id: int | None = None

    @property
    def name(self) -> str:
        return self.deployment_name if self.replica_id is None else f"{self.deployment_name}/{self.replica_id}"


def deployment(name: str) -> Subject | None:
    """The deployment of this name, now or as long as its history is kept."""
    known = (
        Deployment.objects.filter(name=name).exists()
        or Transition.objects.filter(deployment_name=name).exists()
        or Decision.objects.filter(deployment_name=name).exists()
    )
    return Subject(name) if known else None


def replica(number: int) -> Subject | None:
    """The replica of this id, likewise."""
    row = Replica.objects.filter(pk=number).select_related("deployment").first()
    if row is not None:
        return Subject(row.deployment.name, number)
    entry = Transition.objects.filter(replica=number).first()
    return Subject(entry.deployment_name, number) if entry is not None else None


def now(subject: Subject) -> str:
    """How it stands, in a sentence, with what it says of itself."""
    if subject.replica_id is not None:
        row = Replica.objects.filter(pk=subject.replica_id).first()
        return f"{subject.name} is gone" if row is None else f"{subject.name} {_stands(row)}"
    of = Deployment.objects.filter(name=subject.deployment_name).first()
    if of is None:
        return f"{subject.name} is gone"
    placed = [f"{subject.name}/{row.pk} {_stands(row)}" for row in of.placed.order_by("pk")]
    said = [of.message.removesuffix(".")] if of.message else []
    wanted = "is to be served" if of.goal == "ready" else "is stopped"
    return why_words.all_of([f"{subject.name} {wanted}", *said, *placed])


def _stands(row: Replica) -> str:
    heads = f", headed for {row.goal}" if row.goal != row.state else ""
    level = f" at level {row.sleep_level}" if row.state == "sleeping" else ""
    message = f" ({row.message.removesuffix('.')})" if row.message else ""
    return f"is {row.state}{level} since {why_words.clock(row.state_at)}{heads}{message}"


def timeline(subject: Subject, limit: int, since: datetime | None = None, until: datetime | None = None) -> list[Entry]:
    """Its latest entries within a span."""
    transitions = _within(Transition.objects.all(), subject, since, until)[:limit]
    decided = _within(Decision.objects.all(), subject, since, until)[:limit]
    both = merge(of_transitions(transitions), of_decisions(decided), key=lambda entry: entry.at, reverse=True)
    return list(islice(both, limit))


def _within(rows: QuerySet[Row], subject: Subject, since: datetime | None, until: datetime | None) -> QuerySet[Row]:
    whose = Q(deployment_name=subject.deployment_name)
    if subject.replica_id is not None:
        whose = Q(replica=subject.replica_id)
    if since is not None:
        whose &= Q(at__gte=since)
    if until is not None:
        whose &= Q(at__lte=until)
    return rows.filter(whose).order_by("-id")


def of_transitions(rows: Iterable[Transition]) -> list[Entry]:
    """Each change of state as an entry of an answer to "why"."""
    return [
        Entry(
            at=row.at,
            kind=KIND,
            code=row.reason,
            sentence=why_words.sentence(named(row.deployment_name, row.replica_id), row),
            actor=row.actor,
            deployment_name=row.deployment_name,
            replica_id=row.replica_id,
            times=1,
            inputs=row.fields,
        )
        for row in rows
    ]


def of_decisions(rows: Iterable[Decision]) -> list[Entry]:
    """Decisions that changed no replica."""
    return [
        Entry(
            at=row.at,
            kind=row.kind,
            code=row.code,
            sentence=row.sentence,
            actor=row.actor,
            deployment_name=row.deployment_name,
            replica_id=row.replica_id,
            times=row.times,
            inputs=row.inputs,
        )
        for row in rows
    ]


def named(deployment_name: str, replica_id: int | None) -> str:
    """The name by which people ask for it: chat, or chat/7."""
    return deployment_name if replica_id is None else f"{deployment_name}/{replica_id}"
