"""The ASGI application in front of the engines: path table, limits, and a watch on the client while it is served."""

import asyncio
import itertools
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import exposition, openai
from gateway.admission import Admission, Limits
from gateway.auth import Keys, KnownKey
from gateway.errors import BodyTooLarge, MethodNotAllowed, ModelNotFound, UnknownPath
from gateway.metering import Meter, Record
from gateway.openai import Fields
from gateway.paths import ENDPOINTS, Endpoint, StoredResponse, stored_response
from gateway.proxy import Call, Message, Proxy, Receive, Reply, ResponseBroken, Send
from gateway.reporting import Report, Reporter
from gateway.routing import Router, RouteRow
from sardeenz.env import host_name
from sardeenz.errors import SardeenzError

WATCH_AFTER_SECONDS = 0.01
FLUSH_SECONDS = 1.0
FORWARDED = frozenset(
    {b"accept", b"content-type", b"traceparent", b"tracestate", b"anthropic-version", b"anthropic-beta"}
)
"""Request headers an engine gets to see. Not the caller's key, cookies, nor anything that says who calls."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_JSON = (b"content-type", b"application/json")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Needs:
    """What the gateway asks of the rest of Sardeenz; none of it is waited for on the path of a request."""

    load_routes: Callable[[], Awaitable[Iterable[RouteRow]]]
    announcements: Callable[[], AsyncIterator[None]]
    load_keys: Callable[[], Awaitable[Iterable[KnownKey]]]
    request_ready: Callable[[int], Awaitable[None]]
    report: Report
    forget: Callable[[str], Awaitable[None]]
    touch: Callable[[Iterable[int]], Awaitable[None]]
    write_usage: Callable[[Sequence[Record]], Awaitable[None]]


class Gateway:
    """One gateway process."""

    def __init__(self, needs: Needs, limits: Limits, *, route_ttl_seconds: float, idle_seconds: float) -> None:
        self.gateway_id = f"{host_name()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._needs = needs
        self._limits = limits
        self.router = Router(
            needs.load_routes, needs.announcements, ttl_seconds=route_ttl_seconds, idle_seconds=idle_seconds
        )
        self.reporter = Reporter(self.gateway_id, self.router, needs.report, needs.touch)
        self.keys = Keys(needs.load_keys)
        self.admission = Admission(self.router, self.reporter, needs.request_ready, limits)
        self.meter = Meter(needs.write_usage)
        self.proxy = Proxy(self.router, self.admission, self.meter)
        self._loops: set[asyncio.Task[None]] = set()
        self._ids = (f"{secrets.token_hex(8)}{count:08x}".encode() for count in itertools.count())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    # --- one request --------------------------------------------------------------------------------------------
    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        reply = Reply(send, given if given is not None and _REQUEST_ID(given) else next(self._ids))
        try:
            endpoint = ENDPOINTS.get(scope["path"])
            if endpoint is None:
                await self._elsewhere(scope, headers, receive, reply)
            else:
                reply.dialect = endpoint.dialect
                await self._post(endpoint, scope, headers, receive, reply)
        except SardeenzError as error:
            await reply.refuse(error)
        except ResponseBroken as broken:
            # Returning without the last piece makes the server end the connection: a truncated body, seen as such.
            logger.info("answer cut short: reason=%s request_id=%s", broken, reply.request_id.decode())

    async def _post(
        self, endpoint: Endpoint, scope: Message, headers: dict[bytes, bytes], receive: Receive, reply: Reply
    ) -> None:
        _check_method(scope, ("POST",))
        key = await self.keys.check(headers)
        body = await self._body(headers, receive)
        if body is None:
            return
        content_type = headers.get(b"content-type", b"")
        fields = await openai.read(body, content_type, multipart=endpoint.multipart)
        call = Call(endpoint, fields, body, _forwarded(headers, reply.request_id, len(body)), reply, key.id)
        if scope["query_string"]:
            call.path = endpoint.engine_path + b"?" + scope["query_string"]
        if fields.previous_response_id is not None:
            call.marker = self.proxy.replica_of(fields.previous_response_id)
        await _unless_client_leaves(self.proxy.carry(call), receive)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """The whole body, or None when the client left; refused as early as its size is known."""
        limit = self._limits.body_bytes
        declared = headers.get(b"content-length", b"0")
        size = 0
        pieces: list[bytes] = []
        while size <= limit and int(declared if declared.isdigit() else b"0") <= limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            pieces.append(piece)
            if size <= limit and not message.get("more_body"):
                return piece if len(pieces) == 1 else b"".join(pieces)
        raise BodyTooLarge(f"the body is larger than {limit} bytes", limit_bytes=limit)

    async def _elsewhere(self, scope: Message, headers: dict[bytes, bytes], receive: Receive, reply: Reply) -> None:
        """What is not a POST to a model."""
        path: str = scope["path"]
        if path == "/health":
            await reply.whole(200, [_JSON], b'{"status":"ok"}')
        elif path == "/metrics":
            await reply.whole(200, [(b"content-type", exposition.CONTENT_TYPE)], self._metrics())
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            _check_method(scope, ("GET",))
            await self.keys.check(headers)
            await reply.whole(200, [_JSON], self._models(path.removeprefix("/v1/models").removeprefix("/")))
        elif (stored := stored_response(path)) is not None:
            _check_method(scope, stored.methods)
            await self._stored(stored, scope, headers, receive, reply)
        else:
            raise UnknownPath(f"there is nothing at {path[:200]}")

    def _models(self, name: str) -> bytes:
        """The list, or one card; from the table, so asking wakes nothing."""
        self.router.check_loaded()
        table = self.router.table
        if not name:
            return table.listing
        card = table.cards.get(name)
        if card is None:
            raise ModelNotFound(f"the model `{name[:200]}` does not exist", param="model")
        return card

    async def _stored(
        self, stored: StoredResponse, scope: Message, headers: dict[bytes, bytes], receive: Receive, reply: Reply
    ) -> None:
        """A stored response lives in one engine's memory: ask the one that made it."""
        key = await self.keys.check(headers)
        body = await self._body(headers, receive)
        if body is None:
            return
        marker = self.proxy.replica_of(stored.response_id)
        target = self.router.table.targets.get(marker or "")
        route = self.router.table.by_deployment.get(target.deployment_id) if target else None
        fields = Fields(route.served_name if route else "", b"stream=true" in scope["query_string"])
        call = Call(stored.endpoint, fields, body, _forwarded(headers, reply.request_id, len(body)), reply, key.id)
        query = scope["query_string"]
        call.path = stored.endpoint.engine_path + (b"?" + query if query else b"")
        call.method = scope["method"].encode()
        call.marker = marker
        call.pinned = True
        await _unless_client_leaves(self.proxy.carry(call), receive)

    def _metrics(self) -> bytes:
        outages = (
            self.router.loading,
            self.router.listening,
            self.reporter.outage,
            self.keys.outage,
            self.admission.waking,
            self.meter.outage,
        )
        return exposition.render(self.router, self.admission, self.meter, outages)

    # --- a life -------------------------------------------------------------------------------------------------
    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # the server has finished the open streams before it says shutdown
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})

    async def begin(self) -> None:
        """Read keys and routes once, so that the first request finds them, then keep them current."""
        await asyncio.gather(self.keys.refresh(), self.router.refresh())
        for loop in (
            self.keys.keep_current,
            self.router.listen,
            self.router.keep_current,
            self.reporter.keep_telling,
            self._tick,
        ):
            self._keep(loop)

    async def end(self) -> None:
        """Stop the loops, write what is left, and take back our report."""
        loops, self._loops = self._loops, set()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self.meter.flush()
        self.router.close()
        await self.reporter.withdraw(self._needs.forget)

    def _keep(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop for good. One that ends of a bug says so and begins again: the last good table keeps serving."""
        task = asyncio.create_task(loop(), name=loop.__qualname__)
        self._loops.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            if task in self._loops:
                self._loops.discard(task)
                if not task.cancelled():
                    logger.critical("%s ended", task.get_name(), exc_info=task.exception())
                    asyncio.get_running_loop().call_later(1.0, self._keep, loop)

        task.add_done_callback(ended)

    async def _tick(self) -> None:
        while True:
            self.router.tick()
            await self.meter.flush()
            await asyncio.sleep(FLUSH_SECONDS)


async def _unless_client_leaves(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do `work` in this task, and cancel it when the client is gone.

    The watch is a task only from the tenth millisecond on: most small answers are done by then, and a timer costs a
    tenth of a task. The server hands `http.disconnect` to whoever asks, however late.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a request is served in a task")
    watch = _Watch(task, receive)
    try:
        await work
    except asyncio.CancelledError:
        if not watch.client_left:
            raise
        task.uncancel()
    finally:
        watch.stop()


class _Watch:
    """Waits for the client to leave, and cancels the task that serves it."""

    __slots__ = ("_loop", "_receive", "_serving", "_timer", "_watching", "client_left")

    def __init__(self, serving: asyncio.Task[Any], receive: Receive) -> None:
        self._serving = serving
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._begin)
        self.client_left = False

    def _begin(self) -> None:
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._watching = None
        self.client_left = True
        self._serving.cancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()


def _check_method(scope: Message, allowed: tuple[str, ...]) -> None:
    if scope["method"] not in allowed:
        allow = ", ".join(allowed)
        raise MethodNotAllowed(f"{scope['method']} is not possible here, only {allow}", allow=allow)


def _forwarded(headers: dict[bytes, bytes], request_id: bytes, size: int) -> bytes:
    lines = [b"%s: %s\r\n" % (name, headers[name]) for name in FORWARDED & headers.keys()]
    lines.append(b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n" % (request_id, size))
    return b"".join(lines)
