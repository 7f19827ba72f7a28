"""Keys are made, found and revoked here. The plain key is seen once, by whoever made it."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway.access.auth import PREFIX, SHOWN_CHARACTERS
from gateway.models import Alias, ApiKey, Scope
from models_app.models import Deployment
from sardeenz.errors import InvalidSpec


def digest(plain: str | bytes) -> str:
    """What is stored of a key. It is 256 random bits, so a fast hash gives nothing away."""
    return hashlib.sha256(plain.encode() if isinstance(plain, str) else plain).hexdigest()


def create(
    name: str, scopes: Iterable[str], owner: Any = None, expires_at: datetime | None = None, **limits: Any
) -> tuple[ApiKey, str]:
    """Make a key; the second value is the key itself and cannot be had again.

    `limits` are fields of the row: team, allowed_models, and those of a Quota.
    """
    wanted = check_scopes(scopes)
    plain = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        name=name,
        prefix=plain[:SHOWN_CHARACTERS],
        digest=digest(plain),
        owner=owner,
        scopes=wanted,
        expires_at=expires_at,
        **limits,
    )
    return key, plain


def check_scopes(scopes: Iterable[str]) -> list[str]:
    """The scopes in a fixed order, or InvalidSpec. A key that applications carry must not also manage."""
    wanted = set(scopes)
    unknown = wanted - set(Scope.values)
    if unknown or not wanted:
        raise InvalidSpec(f"scopes must be some of {', '.join(Scope.values)}", field="scopes")
    if {Scope.INFERENCE, Scope.MANAGE} <= wanted:
        raise InvalidSpec("an inference key can never manage: make two keys", field="scopes")
    return [str(scope) for scope in Scope.values if scope in wanted]


def check_models(names: Iterable[str], before: Iterable[str] = ()) -> list[str]:
    """The names a key may ask for, sorted, or ValidationError for one that neither a deployment nor an alias has.

    Names of `before` stay: a key outlives the models it was made for.
    """
    wanted = set(names)
    served = Deployment.objects.filter(deleting=False).values_list("served_name", flat=True)
    there = {*served, *Alias.objects.values_list("name", flat=True)}
    if unknown := sorted(wanted - there - set(before)):
        raise ValidationError(
            f"there is no {', '.join(unknown)}; there is: {', '.join(sorted(there)) or 'nothing yet'}"
        )
    return sorted(wanted)


def revoke(key: ApiKey) -> None:
    """End a key for good; gateways forget it within a second."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())


def find(plain: str) -> ApiKey | None:
    """The usable key with this text."""
    key = ApiKey.objects.filter(digest=digest(plain)).first()
    return key if key is not None and key.usable else None
