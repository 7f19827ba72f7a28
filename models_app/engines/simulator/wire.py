"""Requests and answers over plain ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from models_app.engines.simulator.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


class ClientGone(Exception):
    """The client left before its request was read."""


class Request:
    """One HTTP request; the body is read once, on demand."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.client: tuple[str, int] = scope.get("client") or ("", 0)
        self.target: str = self.path + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        self.parameters: dict[str, str] = {}
        self.read = asyncio.Event()
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive

    def header(self, name: bytes) -> str:
        """The header, or an empty string."""
        return next((str(value, "latin-1") for key, value in self._headers if key == name), "")

    def first(self, name: str, default: str) -> str:
        """The first value of a query parameter."""
        return str(self.query.get(name, [default])[0])

    async def body(self) -> bytes:
        """The body is read to its end; ClientGone is raised when the client leaves before."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                self.read.set()
                return b"".join(parts)

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object, or vLLM's refusal."""
        kind = self.header(b"content-type").partition(";")[0].strip().lower()
        if kind and kind != "application/json":
            message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
            raise ApiError(message, 400, kind="Bad Request")
        try:
            value = _DECODER.decode(await self.body())
        except msgspec.DecodeError as error:
            raise ApiError.invalid("json_invalid", "body.1", "JSON decode error", str(error)) from error
        if not isinstance(value, dict):
            raise ApiError.invalid(
                "model_attributes_type", "body", "Input should be a valid dictionary", repr(value)[:200]
            )
        return value

    async def gone(self) -> None:
        """Return when the client has left; to be awaited once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Reply:
    """The answer to one request."""

    def __init__(self, send: Send, on_start: Callable[[int], None]) -> None:
        self._send = send
        self._on_start = on_start
        self.status: int | None = None
        self.extra_headers: list[tuple[bytes, bytes]] = []

    async def json(self, value: Any, status: int = 200) -> None:
        await self.data(_ENCODER.encode(value), status, _JSON)

    async def empty(self, status: int = 200) -> None:
        """An answer without a body."""
        await self.data(b"", status)

    async def data(self, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        """Head and body are sent at once, with a content-length."""
        await self.start(status, (b"content-length", str(len(body)).encode()), *headers)
        await self._send({"type": "http.response.body", "body": body})

    async def events(self) -> None:
        """Begin a stream of server-sent events."""
        await self.start(200, (b"content-type", b"text/event-stream; charset=utf-8"))

    async def start(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """The head is sent with `extra_headers` after the given headers, and `on_start` is told the status."""
        self.status = status
        self._on_start(status)
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.extra_headers]})

    async def chunk(self, body: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        """The last part is sent after which no other may follow; the last part may be empty."""
        await self._send({"type": "http.response.body", "body": body})


def event(value: Any, name: str | None = None) -> bytes:
    """The bytes are one server-sent event; `name` becomes the event's `event:` line."""
    data = b"data: " + _ENCODER.encode(value) + b"\n\n"
    return data if name is None else b"event: " + name.encode() + b"\n" + data
