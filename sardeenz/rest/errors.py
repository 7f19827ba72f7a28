"""The error body of every REST view. Apart from `sardeenz.rest.base`, which DRF imports before its own views exist."""

import re
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from psycopg.errors import DeadlockDetected, UniqueViolation
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from sardeenz import sizes
from sardeenz.errors import (
    AlreadyExists,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidSpec,
    NotFound,
    SardeenzError,
    Unauthorized,
)
from sardeenz.labels import label

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_EMPTY = "it may not be empty"
_WORDS = {
    "blank": _EMPTY,
    "empty": _EMPTY,
    "null": _EMPTY,
    "required": "it is missing",
    "unique": "it is taken already; choose another",
    "does_not_exist": "there is no number {}",
    "min_value": "it must be at least {}",
    "max_value": "it may be {} at most",
    "max_length": "it may have {} characters at most",
}
"""By the frameworks' codes; {} stands for the number in their sentence."""
_KINDS = {
    "A valid integer is required.": "it must be a whole number",
    "A valid number is required.": "it must be a number",
    "Must be a valid boolean.": "it must be true or false",
    "Not a valid string.": "it must be text",
    "Datetime has wrong format.": "write a date and time in ISO 8601, such as 2026-11-30T22:00:00Z",
    "Time has wrong format.": "write a time such as 22:00",
}
"""By how the frameworks' sentences begin where a value is of the wrong kind: their code for that is everybody's."""


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
    if isinstance(error.__cause__, UniqueViolation):
        return AlreadyExists("there is one of this name already; another request made it at the same moment")
    if isinstance(error, IntegrityError) or isinstance(error.__cause__, DeadlockDetected):
        return Conflict("something that this belongs to was changed or deleted at the same moment; look again")
    if isinstance(error, DataError):
        return InvalidSpec("a number is too large or a text cannot be stored")
    if isinstance(error, OperationalError | InterfaceError):
        return DatabaseUnavailable("the database does not answer; try again in a few seconds")
    return None


def _body(error: exceptions.APIException, request_id: str | None) -> dict[str, Any]:
    """The same shape for DRF's own errors; a validation error lists its fields."""
    if isinstance(error, exceptions.ValidationError):
        detail = _in_our_words(error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail})
        message = "; ".join(_sentence(field, texts) for field, texts in detail.items())
        return {"code": code_of(error), "message": message, "fields": detail, "request_id": request_id}
    return {"code": code_of(error), "message": str(error.detail), "fields": {}, "request_id": request_id}


def told(error: exceptions.ValidationError) -> list[tuple[str, str]]:
    """Each field that is wrong, as the request calls it, and why, in our words; no name where it is no field."""
    detail = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
    ours = _in_our_words(detail)
    return [
        ("" if name == "non_field_errors" else name, " ".join(map(str, _flat(texts)))) for name, texts in ours.items()
    ]


def code_of(error: exceptions.APIException | type[exceptions.APIException]) -> str:
    """Our code for what the framework refuses; its own where we have none."""
    own = {"invalid": InvalidSpec.code, 401: Unauthorized.code, 403: Forbidden.code, 404: NotFound.code}
    return own.get(error.default_code) or own.get(error.status_code) or str(error.default_code)


def _missing(context: dict[str, Any]) -> str:
    """What there is not, as people name it."""
    model = getattr(getattr(context.get("view"), "queryset", None), "model", None)
    number = (context.get("kwargs") or {}).get("pk")
    if model is None or number is None:
        return "there is nothing at this address"
    return f"there is no {model._meta.verbose_name} {number}"


def _sentence(field: str, texts: Any) -> str:
    return _under(field, " ".join(map(str, _flat(texts))))


def _under(field: str, said: Any) -> str:
    named = label(field)  # empty of what is no field, and of an entry whose name was left empty
    return f"{named}: {said}" if named else str(said)


def _in_our_words(said: Any, field: str = "") -> Any:
    """The frameworks' sentences about one value, said as the rest of the product says it."""
    if isinstance(said, dict):
        return {name: _in_our_words(inner, str(name)) for name, inner in said.items()}
    if isinstance(said, list):
        return [_in_our_words(each, field) for each in said]
    words = _WORDS.get(getattr(said, "code", ""), "") or _of_kind(str(said))
    if "{}" not in words:
        return words or said
    number = _NUMBER.search(said)
    if number is None:
        return said
    if not field.endswith("_bytes"):
        return words.format(number[0])
    return "it must be more than 0" if number[0] == "1" else words.format(sizes.shown(int(number[0])))


def _of_kind(said: str) -> str:
    return next((ours for theirs, ours in _KINDS.items() if said.startswith(theirs)), "")


def _flat(texts: Any) -> list[Any]:
    if isinstance(texts, dict):
        return [_under(name, text) for name, inner in texts.items() for text in _flat(inner)]
    return list(texts) if isinstance(texts, list) else [texts]
