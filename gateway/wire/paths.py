"""What the gateway serves, and under which path the engine knows it. Anything else is a 404: engines have
administrative paths (`/sleep`, `/collective_rpc`) and unguarded ones (`/invocations`) that no caller may reach."""

import re
from dataclasses import dataclass

from gateway.wire.envelopes import Dialect


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path a caller may POST to."""

    path: str
    engine_path: bytes
    dialect: Dialect = "openai"
    multipart: bool = False
    stored: bool = False
    streams: bool = False
    """Whether `stream: true` makes the answer an event stream."""
    usage_option: bool = False
    """Whether a stream tells its usage only when `stream_options` asks for it."""
    takes_priority: bool = False
    several_answers: bool = False
    """Whether `n` answers may be asked for, or a beam search."""


def _same(path: str, dialect: Dialect = "openai", **traits: bool) -> Endpoint:
    return Endpoint(path, path.encode(), dialect, **traits)


def _at_root(name: str) -> Endpoint:
    """vLLM serves these beside /v1, not below it."""
    return Endpoint(f"/v1/{name}", f"/{name}".encode())


ENDPOINTS = {
    endpoint.path: endpoint
    for endpoint in (
        _same("/v1/chat/completions", streams=True, usage_option=True, takes_priority=True, several_answers=True),
        _same("/v1/completions", streams=True, usage_option=True, takes_priority=True, several_answers=True),
        _same("/v1/embeddings", takes_priority=True),
        _same("/v1/responses", streams=True, stored=True, takes_priority=True),
        _same("/v1/messages", "anthropic", streams=True),
        _same("/v1/messages/count_tokens", "anthropic"),
        _same("/v1/rerank"),
        _same("/v1/score"),
        _same("/v1/audio/transcriptions", multipart=True),
        _same("/v1/audio/translations", multipart=True),
        _at_root("pooling"),
        _at_root("classify"),
        _at_root("tokenize"),
        _at_root("detokenize"),
    )
}

ENDPOINTS |= {
    f"/{name}": ENDPOINTS[f"/v1/{name}"]
    for name in ("rerank", "score", "pooling", "classify", "tokenize", "detokenize")
} | {"/v2/rerank": ENDPOINTS["/v1/rerank"]}
"""With the other paths under which vLLM serves the same."""

_STORED = re.compile(r"/v1/responses/([A-Za-z0-9_.-]{1,128})(/cancel)?")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A path that names a response some replica keeps."""

    endpoint: Endpoint
    response_id: str
    methods: tuple[bytes, ...]


def stored_response(path: str) -> StoredResponse | None:
    """`/v1/responses/{id}` and its `/cancel`; the id's characters are safe to repeat to an engine."""
    match = _STORED.fullmatch(path)
    if match is None:
        return None
    methods = (b"POST",) if match[2] else (b"GET", b"DELETE")
    return StoredResponse(Endpoint("/v1/responses/{id}", path.encode(), streams=True), match[1], methods)
