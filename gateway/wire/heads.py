"""Heads of engines' answers: what goes on to the client, and what they say of the body."""

from gateway.wire.envelopes import Headers
from gateway.wire.http import EVENT_STREAM

_KEPT_BACK = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
        b"x-request-id",
    }
)
"""Response headers that belong to one hop, or that we say ourselves."""


def passed_on(given: Headers, state: bytes) -> Headers:
    """What the client is told of an engine's head, and in which state its model was met."""
    kept = [pair for pair in given if pair[0] not in _KEPT_BACK]
    kept.append((b"x-sardeenz-state", state))
    return kept


def has_events(given: Headers) -> bool:
    """Whether the answer is a stream of events."""
    return any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in given)


def size(given: Headers) -> int | None:
    """The bytes of the body, where the head says how many."""
    return next((int(value) for name, value in given if name == b"content-length"), None)
