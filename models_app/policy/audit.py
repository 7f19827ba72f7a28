"""Everything that happened and was decided, of all deployments, as one list: the newest first, narrowed as asked."""

from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from models_app.models import Decision, Transition
from models_app.policy import why
from models_app.policy.verdicts import EVICTED
from models_app.policy.why import Entry

KINDS = (why.KIND, *Decision.Kind.values)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for; what is empty narrows nothing."""

    kinds: tuple[str, ...] = KINDS
    actor: str = ""
    deployment: str = ""
    gpu: str = ""
    since: datetime | None = None
    until: datetime | None = None


def entries(asked: Asked, offset: int, limit: int) -> tuple[int, list[Entry]]:
    """How many there are, and those of one page."""
    happened, decided = _happened(asked), _decided(asked)
    last = offset + limit
    both = merge(_when(happened, last), _when(decided, last), key=lambda row: row[0], reverse=True)
    page = list(islice(both, offset, last))
    entries = [
        *why.of_transitions(Transition.objects.filter(pk__in=_ids(page, Transition))),
        *why.of_decisions(Decision.objects.filter(pk__in=_ids(page, Decision))),
    ]
    return happened.count() + decided.count(), sorted(entries, key=lambda entry: entry.at, reverse=True)


def _when(rows: QuerySet[Any], most: int) -> list[tuple[datetime, int, type[Any]]]:
    """When each of the newest was, and which it is: rows before a page are not read."""
    return [(at, number, rows.model) for at, number in rows.values_list("at", "pk")[:most]]


def _ids(page: list[tuple[datetime, int, type[Any]]], of: type[Any]) -> list[int]:
    return [number for _, number, model in page if model is of]


def _happened(asked: Asked) -> QuerySet[Transition]:
    """The history; of evictions those entries that are one."""
    rows = Transition.objects.filter(_narrowed(asked)).order_by("-at", "-id")
    if asked.gpu:
        rows = rows.filter(gpus__contains=[asked.gpu])
    if why.KIND in asked.kinds:
        return rows
    return rows.filter(reason=EVICTED) if Decision.Kind.EVICTION in asked.kinds else rows.none()


def _decided(asked: Asked) -> QuerySet[Decision]:
    """Decisions about the GPU itself, and those of replicas that were on it."""
    rows = Decision.objects.filter(_narrowed(asked), kind__in=asked.kinds).order_by("-at", "-id")
    if asked.gpu:
        there = Transition.objects.filter(gpus__contains=[asked.gpu], replica__isnull=False).values("replica")
        rows = rows.filter(Q(replica__in=there) | Q(kind=Decision.Kind.CORDON, inputs__gpu=asked.gpu))
    return rows


def _narrowed(asked: Asked) -> Q:
    given: dict[str, Any] = {
        "actor__icontains": asked.actor,
        "deployment_name": asked.deployment,
        "at__gte": asked.since,
        "at__lt": asked.until,
    }
    return Q(**{name: value for name, value in given.items() if value})
