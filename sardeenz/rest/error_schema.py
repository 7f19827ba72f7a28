"""The error body in the API's schema, with every code that it may carry, so that clients can be checked against it."""

from collections.abc import Iterator
from typing import Any

from django.utils.module_loading import autodiscover_modules
from rest_framework.exceptions import APIException

from sardeenz.errors import SardeenzError
from sardeenz.rest.errors import code_of

ERROR = {"$ref": "#/components/schemas/Error"}


def codes() -> list[str]:
    """Those of the product's own errors, whichever app defines them, and of what the framework refuses."""
    autodiscover_modules("errors")
    own = {error.code for error in _family(SardeenzError)}
    return sorted(own | {code_of(error) for error in APIException.__subclasses__()})


def _family(error: type[SardeenzError]) -> Iterator[type[SardeenzError]]:
    yield error
    for derived in error.__subclasses__():
        yield from _family(derived)


def add_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Name the body and its codes, and say of every operation that it may answer so."""
    result["components"]["schemas"] |= {
        "ErrorCode": {"type": "string", "enum": codes()},
        "Error": {
            "type": "object",
            "required": ["code", "message", "fields", "request_id"],
            "properties": {
                "code": {"$ref": "#/components/schemas/ErrorCode"},
                "message": {"type": "string"},
                "fields": {"type": "object", "additionalProperties": {}},
                "request_id": {"type": "string", "nullable": True},
            },
        },
    }
    answer = {"description": "it was refused or failed", "content": {"application/json": {"schema": ERROR}}}
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("default", answer)
    return result
