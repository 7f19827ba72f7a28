"""Bearer keys for the REST API. A key acts for itself, never with the rights of the person who owns it."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from gateway.access import keys
from gateway.models import ApiKey, Scope

if TYPE_CHECKING:  # DRF reads its settings, and so imports us, before it can be imported itself
    from drf_spectacular.openapi import AutoSchema


class KeyUser(AnonymousUser):
    """Who acts when a key acts: signed in only where the key may read, staff only where it may manage."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.username = f"key:{key.prefix}"  # type: ignore[assignment]
        self.is_staff = Scope.MANAGE in key.scopes  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.username

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyUser) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        """An inference key is nobody here."""
        return bool({Scope.READ, Scope.MANAGE} & set(self.key.scopes))

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        return not self.is_authenticated


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk-srdz-…`; requests without it are left to the session."""

    def authenticate(self, request: Request) -> tuple[KeyUser, ApiKey] | None:
        """The key and who it stands for."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        key = keys.find(words[1].decode("latin-1")) if len(words) == 2 else None
        if key is None:
            raise AuthenticationFailed("this API key is unknown, expired or revoked")
        return KeyUser(key), key

    def authenticate_header(self, request: Request) -> str:
        """Makes a missing key a 401 rather than a 403."""
        return 'Bearer realm="sardeenz"'


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the generated schema describes a key."""

    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
