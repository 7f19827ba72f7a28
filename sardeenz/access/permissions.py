"""The rights of callers of the REST API: who may look, and who may act."""

from typing import TYPE_CHECKING

from rest_framework import permissions
from rest_framework.request import Request

if TYPE_CHECKING:  # DRF's views read the settings, and so import us, before they exist
    from rest_framework.views import APIView


class ReadOrOperate(permissions.BasePermission):
    """Signed-in people and `read` keys may look; staff and `manage` keys may act."""

    message = "this needs a staff account or a key with the manage scope"

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if request.method in permissions.SAFE_METHODS:
            scopes = getattr(request.auth, "scopes", None)
            return bool(request.user.is_authenticated) or bool(scopes and {"read", "manage"} & set(scopes))
        return _may_act(request)


class Operate(ReadOrOperate):
    """For what is not everybody's to see: looking needs the same right as acting."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return _may_act(request)


def _may_act(request: Request) -> bool:
    scopes = getattr(request.auth, "scopes", None)
    return bool(getattr(request.user, "is_staff", False)) or bool(scopes and "manage" in scopes)
