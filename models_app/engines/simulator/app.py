"""The ASGI application: routes, the key, errors, and the end of a request whose client has left."""

import asyncio
import hmac
import json
from contextlib import suppress
from http import HTTPStatus

from models_app.engines.simulator import logs
from models_app.engines.simulator.context import Context, Handler
from models_app.engines.simulator.errors import ApiError, EngineStopped
from models_app.engines.simulator.routes import Routes
from models_app.engines.simulator.wire import ClientGone, Receive, Reply, Request, Scope, Send

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
_JSON = (b"content-type", b"application/json")


class Application:
    """Answers requests from one engine."""

    def __init__(self, context: Context, routes: Routes) -> None:
        self._context = context
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        reply = Reply(send, lambda status: self._log(request, status))
        if self._context.options.request_id_headers and (given := request.header(b"x-request-id")):
            reply.extra_headers.append((b"x-request-id", given.encode()))
        if self._context.options.api_keys and request.path.startswith(_GUARDED) and not self._knows(request):
            await reply.json({"error": "Unauthorized"}, 401)
            return
        handler, watched, allowed = self._routes.find(request)
        if handler is None:
            status = 405 if allowed else 404
            await reply.json({"detail": HTTPStatus(status).phrase}, status)
            return
        with suppress(ClientGone):
            await (self._serve_watched(handler, request, reply) if watched else self._serve(handler, request, reply))

    async def _serve(self, handler: Handler, request: Request, reply: Reply) -> None:
        try:
            await handler(self._context, request, reply)
        except ApiError as error:
            await self._fail(error, request, reply)
        except EngineStopped:
            await self._fail(ApiError("cannot schedule new futures after shutdown", 500), request, reply)

    async def _serve_watched(self, handler: Handler, request: Request, reply: Reply) -> None:
        """Serve, and stop at once when the client leaves: its generation is then aborted."""
        self._context.load += 1
        job = asyncio.ensure_future(self._serve(handler, request, reply))
        leaving = asyncio.ensure_future(self._leave(request, job))
        try:
            await job
        except asyncio.CancelledError:
            if not leaving.done():
                raise
        finally:
            self._context.load -= 1
            leaving.cancel()

    @staticmethod
    async def _leave(request: Request, job: asyncio.Future[None]) -> None:
        await request.read.wait()
        await request.gone()
        job.cancel()

    async def _fail(self, error: ApiError, request: Request, reply: Reply) -> None:
        body = error.anthropic_body() if request.path.startswith("/v1/messages") else error.body()
        data = json.dumps(body).encode()
        if reply.status is not None:
            await reply.end(b"data: " + data + b"\n\ndata: [DONE]\n\n")
            return
        await reply.data(data, error.status, _JSON)
        if error.status == 500:
            raise error  # as vLLM does: uvicorn logs it and closes the connection

    def _knows(self, request: Request) -> bool:
        scheme, _, key = request.header(b"authorization").partition(" ")
        known = self._context.options.api_keys
        return scheme.lower() == "bearer" and any(hmac.compare_digest(key.encode(), each.encode()) for each in known)

    def _log(self, request: Request, status: int) -> None:
        if self._context.options.access_log:
            logs.access(request.client, request.method, request.target, status)
