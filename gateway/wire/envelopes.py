"""How an error looks to an OpenAI client and to an Anthropic client: as a body, and inside a stream."""

import json
from typing import Any, Literal

from gateway.errors import CancelledByOperator, ModelFailed
from models_app.errors import DeploymentStopped
from sardeenz.errors import LimitExceeded, Refused, SardeenzError, Unavailable

Dialect = Literal["openai", "anthropic"]
Headers = list[tuple[bytes, bytes]]

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def body(error: SardeenzError, dialect: Dialect, request_id: str) -> bytes:
    """The error's body in the caller's dialect."""
    return json.dumps(_anthropic(error, request_id) if dialect == "anthropic" else as_openai(error)).encode()


def event(error: SardeenzError, dialect: Dialect, request_id: str) -> bytes:
    """The same, as a server-sent event: SDKs raise on it."""
    data = b"data: " + body(error, dialect, request_id) + b"\n\n"
    return b"event: error\n" + data if dialect == "anthropic" else data


def as_openai(error: SardeenzError) -> dict[str, Any]:
    """The body has the shape of OpenAI's errors: `type` follows from the status, and `code` is Sardeenz's own."""
    status = error.status
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    param = error.fields.get("param", error.fields.get("field"))
    return {"error": {"message": error.message, "type": kind, "param": param, "code": error.code}}


def _anthropic(error: SardeenzError, request_id: str) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


def headers(error: SardeenzError) -> Headers:
    """When to come back, or that it is no use. SDKs retry every 5xx within a second unless told."""
    lines: Headers = [(b"content-type", b"application/json")]
    if _permanent(error):
        lines.append((b"x-should-retry", b"false"))
    if (wait := error.retry_after_seconds) is not None:
        lines.append((b"retry-after", b"%d" % max(1, round(wait + 0.499))))
    if "allow" in error.fields:
        lines.append((b"allow", str(error.fields["allow"]).encode()))
    if error.status == 401:
        lines.append((b"www-authenticate", b"Bearer"))
    lines += error.fields.get("headers", ())
    if "state" in error.fields:
        lines.append((b"x-sardeenz-state", str(error.fields["state"]).encode("ascii", "replace")))
    if isinstance(error, Unavailable) and (eta := error.fields.get("eta_seconds")) is not None:
        lines.append((b"x-sardeenz-eta-seconds", b"%d" % max(0, round(eta))))
    return lines


def _permanent(error: SardeenzError) -> bool:
    if isinstance(error, DeploymentStopped | ModelFailed | CancelledByOperator):
        return True
    return isinstance(error, Refused) and not isinstance(error, LimitExceeded)
