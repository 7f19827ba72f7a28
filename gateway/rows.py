"""What every gateway reads of the database once a second: who may call, and which names stand for others."""

from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone

from gateway.auth import KnownKey
from gateway.limits import KnownTeam, Quota
from gateway.models import AliasTarget, ApiKey, Scope

_KEY = ("digest", "id", "scopes", "expires_at", "allowed_models")
_TEAM = ("team__id", "team__name", "team__weight", "team__priority")
_COLUMNS = (*_KEY, *Quota._fields, *_TEAM, *(f"team__{field}" for field in Quota._fields))
_QUOTA_AT = len(_KEY)
_TEAM_AT = _QUOTA_AT + len(Quota._fields)
_TEAM_QUOTA_AT = _TEAM_AT + len(_TEAM)


class AliasTargetRow(NamedTuple):
    """A deployment behind an alias. Weight 0: only when the others cannot answer."""

    deployment_id: int
    weight: int


class AliasRow(NamedTuple):
    """Another name callers may ask for; `targets` in fallback order, at least one."""

    name: str
    targets: tuple[AliasTargetRow, ...]


def load_keys() -> list[KnownKey]:
    """Every key that is good now, with its team's limits beside its own. One query."""
    good = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)
    return [
        KnownKey(
            digest=row[0],
            id=row[1],
            inference=Scope.INFERENCE in row[2],
            expires_at=row[3].timestamp() if row[3] else None,
            allowed_models=frozenset(row[4]),
            quota=Quota(*row[_QUOTA_AT:_TEAM_AT]),
            team=_team(row),
        )
        for row in good.values_list(*_COLUMNS)
    ]


def _team(row: tuple[Any, ...]) -> KnownTeam | None:
    team_id, name, weight, priority = row[_TEAM_AT:_TEAM_QUOTA_AT]
    return None if team_id is None else KnownTeam(team_id, name, weight, priority, Quota(*row[_TEAM_QUOTA_AT:]))


def load_aliases() -> list[AliasRow]:
    """Every alias that still has a target. One query."""
    found = AliasTarget.objects.order_by("alias__name", "place", "id")
    rows = found.values_list("alias__name", "deployment_id", "weight")
    return [
        AliasRow(name, tuple(AliasTargetRow(deployment_id, weight) for _, deployment_id, weight in targets))
        for name, targets in groupby(rows, key=itemgetter(0))
    ]
