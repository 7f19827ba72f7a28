"""The error body of every REST view. Apart from `sardeenz.api`, which DRF imports before its own views exist."""

from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from psycopg.errors import UniqueViolation
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from sardeenz.errors import AlreadyExists, Conflict, DatabaseUnavailable, InvalidSpec, SardeenzError
from sardeenz.labels import label


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Render every expected error as `{code, message, fields, request_id}`; bugs stay bugs."""
    request_id = getattr(context["request"], "request_id", None)
    if isinstance(error, DatabaseError | InterfaceError):
        error = _refusal_of_the_database(error) or error
    if isinstance(error, SardeenzError):
        body = {"code": error.code, "message": error.message, "fields": error.fields, "request_id": request_id}
        wait = error.retry_after_seconds
        return Response(body, status=error.status, headers={"Retry-After": str(int(wait + 0.999))} if wait else {})
    if isinstance(error, Http404):
        error = exceptions.NotFound(_missing(context))
    response = drf_handler(error, context)
    if response is not None and isinstance(error, exceptions.APIException):
        response.data = _body(error, request_id)
    return response


def _refusal_of_the_database(error: Exception) -> SardeenzError | None:
    """What the database alone could see: two at once, a value out of its range, itself away. None for a bug."""
    if isinstance(error, IntegrityError):
        if isinstance(error.__cause__, UniqueViolation):
            return AlreadyExists("there is one of this name already; another request made it at the same moment")
        return Conflict("something that this belongs to was changed or deleted at the same moment; look again")
    if isinstance(error, DataError):
        return InvalidSpec("a number is too large or a text cannot be stored")
    if isinstance(error, OperationalError | InterfaceError):
        return DatabaseUnavailable("the database does not answer; try again in a few seconds")
    return None


def _body(error: exceptions.APIException, request_id: str | None) -> dict[str, Any]:
    """The same shape for DRF's own errors; a validation error lists its fields."""
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        message = "; ".join(_sentence(field, texts) for field, texts in detail.items())
        return {"code": "invalid_spec", "message": message, "fields": detail, "request_id": request_id}
    code = {401: "unauthorized", 403: "forbidden", 404: "not_found"}.get(error.status_code, error.default_code)
    return {"code": code, "message": str(error.detail), "fields": {}, "request_id": request_id}


def _missing(context: dict[str, Any]) -> str:
    """What there is not, as people name it."""
    model = getattr(getattr(context.get("view"), "queryset", None), "model", None)
    number = (context.get("kwargs") or {}).get("pk")
    if model is None or number is None:
        return "there is nothing at this address"
    return f"there is no {model._meta.verbose_name} {number}"


def _sentence(field: str, texts: Any) -> str:
    named, said = label(field), " ".join(map(str, _flat(texts)))
    return f"{named}: {said}" if named else said


def _flat(texts: Any) -> list[Any]:
    if isinstance(texts, dict):
        return [f"{label(name)}: {text}" for name, inner in texts.items() for text in _flat(inner)]
    return list(texts) if isinstance(texts, list) else [texts]
