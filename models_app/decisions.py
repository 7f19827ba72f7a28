"""What is decided beside the history: refusals, waits and limits, each with its inputs and its sentence.

What changes where a replica stands or is headed is told by its Transition, and not here as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from models_app.models import Decision

AGAIN_TIME = timedelta(minutes=1)
"""What is decided again within this time is counted with the time before."""
LIMITS_KEPT_TIME = timedelta(days=1)
"""Limits change by the second; the history of other decisions is kept for SARDEENZ_HISTORY_DAYS."""

Kind = Decision.Kind


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision that is to be kept."""

    kind: Decision.Kind
    code: str
    sentence: str
    deployment_name: str
    actor: str
    replica_id: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)


def keep(decided: Decided) -> None:
    """Write it down, or count it once more where the same was decided a moment ago."""
    now = timezone.now()
    same = Decision.objects.filter(
        kind=decided.kind,
        code=decided.code,
        deployment_name=decided.deployment_name,
        replica=decided.replica_id,
        sentence=decided.sentence,
        last_at__gte=now - AGAIN_TIME,
    )
    if not same.update(times=F("times") + 1, last_at=now):
        keep_all([decided])


def keep_all(decided: Iterable[Decided]) -> None:
    """Write each of them down, in one statement."""
    now = timezone.now()
    Decision.objects.bulk_create(
        Decision(
            kind=one.kind,
            code=one.code,
            sentence=one.sentence,
            deployment_name=one.deployment_name,
            actor=one.actor,
            replica_id=one.replica_id,
            inputs=dict(one.inputs),
            at=now,
            last_at=now,
        )
        for one in decided
    )


def forget_old() -> None:
    """Prune what is older than it is kept."""
    now = timezone.now()
    Decision.objects.filter(at__lt=now - timedelta(days=settings.HISTORY_DAYS)).delete()
    Decision.objects.filter(kind=Kind.LIMIT, at__lt=now - LIMITS_KEPT_TIME).delete()
