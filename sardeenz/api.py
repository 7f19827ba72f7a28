"""What every REST view shares: the error body, permissions and pagination."""

from typing import Any

from django.http import Http404
from rest_framework import exceptions, permissions
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler as drf_handler

from sardeenz.errors import SardeenzError


class Pagination(LimitOffsetPagination):
    """`?limit=&offset=`; 100 rows unless told, 1000 at most."""

    default_limit = 100
    max_limit = 1000


class ReadOrOperate(permissions.BasePermission):
    """Signed-in people and `read` keys may look; staff and `manage` keys may act."""

    message = "this needs a staff account or a key with the manage scope"

    def has_permission(self, request: Request, view: APIView) -> bool:
        scopes = getattr(request.auth, "scopes", None)
        if request.method in permissions.SAFE_METHODS:
            return bool(request.user.is_authenticated) or bool(scopes and {"read", "manage"} & set(scopes))
        return bool(getattr(request.user, "is_staff", False)) or bool(scopes and "manage" in scopes)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Render every expected error as `{code, message, fields, request_id}`; bugs stay bugs."""
    request_id = getattr(context["request"], "request_id", None)
    if isinstance(error, SardeenzError):
        body = {"code": error.code, "message": error.message, "fields": error.fields, "request_id": request_id}
        wait = error.retry_after_seconds
        return Response(body, status=error.status, headers={"Retry-After": str(int(wait + 0.999))} if wait else {})
    if isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or None)
    response = drf_handler(error, context)
    if response is not None and isinstance(error, exceptions.APIException):
        response.data = _body(error, request_id)
    return response


def _body(error: exceptions.APIException, request_id: str | None) -> dict[str, Any]:
    """The same shape for DRF's own errors; a validation error lists its fields."""
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        message = "; ".join(f"{field}: {' '.join(map(str, _flat(texts)))}" for field, texts in detail.items())
        return {"code": "invalid_spec", "message": message, "fields": detail, "request_id": request_id}
    code = {401: "unauthorized", 403: "forbidden", 404: "not_found"}.get(error.status_code, error.default_code)
    return {"code": code, "message": str(error.detail), "fields": {}, "request_id": request_id}


def _flat(texts: Any) -> list[Any]:
    if isinstance(texts, dict):
        return [f"{name}: {text}" for name, inner in texts.items() for text in _flat(inner)]
    return list(texts) if isinstance(texts, list) else [texts]
