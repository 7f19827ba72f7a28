"""One request to a model: what its caller asks, and the bytes that an engine is sent for it."""

from typing import Any

from gateway.wire import openai
from gateway.wire.http import Request
from gateway.wire.openai import Fields
from gateway.wire.paths import Endpoint

BYTES_PER_TOKEN = 4
MOST_ESTIMATED_TOKENS = 4096  # a picture is many bytes and few tokens
AFFINITY_BYTES = 512

FORWARDED = frozenset(
    {b"accept", b"content-type", b"traceparent", b"tracestate", b"anthropic-version", b"anthropic-beta"}
)
"""Request headers an engine gets to see. Not the caller's key, cookies, nor anything that says who calls."""


class ModelRequest:
    """It stays what it is however many engines are asked. `most_urgent` is the least priority number it may have."""

    __slots__ = (
        "_forwarded",
        "body",
        "endpoint",
        "fields",
        "force_usage",
        "headers",
        "method",
        "names_response",
        "path",
        "priority",
        "session",
        "size_bytes",
        "stream",
        "streams_events",
        "streams_parts",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        fields: Fields,
        body: bytes,
        request: Request,
        request_id: bytes,
        most_urgent: int,
        names_response: bool,
    ) -> None:
        self.endpoint = endpoint
        self.fields = fields
        self.body = body
        self.size_bytes = len(body)
        self.method = request.method
        self.names_response = names_response
        """Whether it is about a response that an engine stores: the body is not read."""
        self.headers = headers = request.headers
        self.stream = stream = fields.stream
        self.streams_events = stream and endpoint.streams
        """Whether the answer is to be an event stream."""
        self.streams_parts = self.streams_events or (stream and endpoint.multipart)
        """Whether the answer comes in parts, whatever their form."""
        self.force_usage = stream and endpoint.usage_option and not _asks_for_usage(fields)
        self.session = headers.get(b"x-session-id")
        """What says that requests belong together: the caller's header, or OpenAI's `prompt_cache_key`."""
        if self.session is None and fields.session is not None:
            self.session = fields.session.encode()
        wanted = fields.priority
        self.priority = most_urgent if wanted is None or wanted < most_urgent else wanted
        """The lower number goes first. Nobody may ask for more urgency than the caller's team has."""
        self.path: bytes | None = None
        """The engine's path with its query; None where it is the endpoint's own."""
        if request.query:
            self.path = endpoint.engine_path + b"?" + request.query
        elif names_response:  # each has a path of its own
            self.path = endpoint.engine_path
        self._forwarded = _forwarded(headers, request_id)

    @property
    def estimated_tokens(self) -> int:
        """What it may use, before anybody has counted."""
        return min(self.size_bytes // BYTES_PER_TOKEN, MOST_ESTIMATED_TOKENS) + 1

    @property
    def affinity(self) -> bytes:
        """How its conversation begins: what a replica's prefix cache may already hold."""
        start = max(self.body.find(b'"messages"'), self.body.find(b'"prompt"'), 0)
        return self.body[start : start + AFFINITY_BYTES]

    def engine_body(self, served_name: str, by_priority: bool) -> tuple[bytes | memoryview, bytes]:
        """The body for a deployment's engines, in two pieces: as it came, and what had to be set at its end."""
        fields = self.fields
        if self.names_response:
            return self.body, b""
        if self.endpoint.multipart:
            if served_name == fields.model:
                return self.body, b""
            return openai.renamed_form(self.body, self.headers.get(b"content-type", b""), served_name), b""
        changes: dict[str, Any] = {}
        if served_name != fields.model:
            changes["model"] = served_name
        if self.force_usage:
            # Usage on every piece too would reach the caller, who gets none by asking for that alone.
            options = {**(fields.stream_options or {}), "include_usage": True, "continuous_usage_stats": False}
            changes["stream_options"] = options if fields.stream_options else {"include_usage": True}
        if self.endpoint.takes_priority:
            priority = self.priority if by_priority else 0
            if priority != (fields.priority or 0):
                changes["priority"] = priority
        return openai.amended(self.body, changes) if changes else (self.body, b"")

    def engine_head(self, first: bytes, size: int, more: bytes) -> bytes:
        """The head for an engine: its `first` lines, what is forwarded of the caller's, and `more` lines."""
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (first, self._forwarded, more, size)


def _forwarded(headers: dict[bytes, bytes], request_id: bytes) -> bytes:
    lines = b"x-request-id: %b\r\n" % request_id
    for name in FORWARDED.intersection(headers):
        lines += b"%b: %b\r\n" % (name, headers[name])
    return lines


def _asks_for_usage(fields: Fields) -> bool:
    return bool(fields.stream_options and fields.stream_options.get("include_usage"))
