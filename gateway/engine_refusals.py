"""What an engine's refusal means: that its context is too short for the prompt, or that it lacks the endpoint."""

import re

from gateway.call import Call
from gateway.errors import ContextExceeded, EndpointNotSupported
from gateway.routing.table import Route
from gateway.wire.upstream import Connection

READ = frozenset({400, 404, 405})
"""Statuses whose bodies are looked at."""
READ_BYTES = 64 * 1024

_TOO_LONG = re.compile(rb"maximum (?:context|model) length|context_length_exceeded").search
_NO_SUCH_PATH = re.compile(rb'\s*\{\s*"detail"\s*:\s*"(?:Not Found|Method Not Allowed)"\s*\}\s*').fullmatch


async def read(answer: Connection) -> bytes:
    """The body of a refusal; of one that is longer than anybody writes, its beginning."""
    data = b""
    while not answer.drained and len(data) < READ_BYTES:
        data += await answer.read()
    return data


def check(call: Call, status: int, data: bytes, *, last: bool) -> None:
    """Raise what is to be made of it; an engine's other refusals are passed on as they came."""
    route = call.destination.route
    if route is None:
        return
    if status == 400 and not last and _TOO_LONG(data):
        wanted = route.row.max_model_len
        raise ContextExceeded(f"the prompt is too long for `{route.served_name}`", body=data, max_model_len=wanted)
    if status != 400 and _NO_SUCH_PATH(data):
        able = ", ".join(route.row.capabilities)
        offers = f"; it is there for {able}" if able else ""
        message = f"the model `{route.served_name}` does not offer {call.request.endpoint.path}{offers}"
        raise EndpointNotSupported(message, param="model")


def may_be_longer(route: Route, refusal: ContextExceeded) -> bool:
    """Whether this deployment may take a prompt that was too long for another."""
    mine, other = route.row.max_model_len, refusal.fields["max_model_len"]
    return mine is None or other is None or mine > other
