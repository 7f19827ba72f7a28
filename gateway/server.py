"""The gateway: which path is served by what. How a request arrives is `downstream`'s, where it goes is `proxy`'s."""

import asyncio
import itertools
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import exposition
from gateway.access import auth
from gateway.access.auth import Keys, KnownKey
from gateway.admission.admit import Admission
from gateway.admission.holds import Holds, Limits, RequestReady, WaitingRoom
from gateway.admission.peers import Peers
from gateway.admission.reporting import Report, Reporter
from gateway.admission.seats import SeatDemand
from gateway.call import Call
from gateway.capture.recorder import Recorder, WriteCaptures
from gateway.errors import MethodNotAllowed, ResponseNotFound, UnknownPath
from gateway.in_flight.board import Board, Questions, SendAnswer
from gateway.limits.limiter import Limiter, Spent
from gateway.loops import Loops
from gateway.metering.meter import Meter, Record
from gateway.metering.refused import Refused
from gateway.metering.tally import Sums
from gateway.outage import Outage
from gateway.proxy import Proxy
from gateway.routing.table import Announcements, LoadAliases, LoadRoutes, Router
from gateway.scrape import Scrape
from gateway.stored import StoredResponses
from gateway.tracing import OpenTracing, Tracing, off
from gateway.wire import cors, openai
from gateway.wire.downstream import Bounds, Client
from gateway.wire.http import Reply, Request, ResponseBroken
from gateway.wire.openai import Fields
from gateway.wire.paths import ENDPOINTS, Endpoint, StoredResponse, stored_response
from sardeenz.env import host_name
from sardeenz.errors import SardeenzError, Unauthorized

TICK_SECONDS = 1.0
SUM_SECONDS = 5.0
FLEET_SECONDS = 2.0
"""Rows and frames are waited for so long; a scrape does not hang with the database."""

_JSON = (b"content-type", b"application/json")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Needs:
    """What the gateway asks of the rest of Sardeenz; none of it is waited for on the path of a request."""

    load_routes: LoadRoutes
    load_aliases: LoadAliases
    announcements: Announcements
    load_keys: Callable[[], Awaitable[Iterable[KnownKey]]]
    key_of_token: Callable[[bytes], int | None]
    request_ready: RequestReady
    report: Report
    forget: Callable[[str], Awaitable[None]]
    touch: Callable[[Iterable[int]], Awaitable[None]]
    write_usage: Callable[[Sequence[Record]], Awaitable[None]]
    spent: Callable[[datetime], Awaitable[tuple[Mapping[int, Spent], Mapping[int, Spent]]]]
    exchange: Callable[[str, bytes], Awaitable[Mapping[str, bytes]]]
    save_responses: Callable[[Mapping[str, str]], Awaitable[None]]
    find_response: Callable[[str], Awaitable[str | None]]
    write_captures: WriteCaptures
    fleet_metrics: Callable[[], Awaitable[bytes]]
    write_refused: Callable[[str, bytes], Awaitable[None]]
    questions: Questions
    send_answer: SendAnswer


class Gateway:
    """One gateway process; an ASGI application only for its beginning and its end."""

    def __init__(
        self,
        needs: Needs,
        limits: Limits,
        *,
        route_ttl_seconds: float,
        idle_seconds: float,
        metrics_dir: Path,
        origins: frozenset[bytes] = frozenset(),
        open_tracing: OpenTracing = off,
    ) -> None:
        self.gateway_id = f"{host_name()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._needs = needs
        self._open_tracing = open_tracing
        self._origins = origins
        self.tracing: Tracing | None = None
        self.bounds = Bounds(limits.body_bytes, limits.wait_bytes, limits.slow_seconds)
        self.clients: set[Client] = set()
        self.keys = Keys(needs.load_keys, needs.key_of_token)
        self.router = Router(
            needs.load_routes,
            needs.load_aliases,
            needs.announcements,
            ttl_seconds=route_ttl_seconds,
            idle_seconds=idle_seconds,
        )
        self.meter = Meter(needs.write_usage, known=lambda name: name in self.router.table.splits)
        self.limiter = Limiter()
        self.refused = Refused()
        self.waiting_room = WaitingRoom(limits)
        self.holds = Holds(self.router, self.waiting_room, limits, needs.request_ready)
        self.reporter = Reporter(self.gateway_id, self.router, self.holds, self.meter, needs.report, needs.touch)
        self.peers = Peers(self.gateway_id, needs.exchange, self.limiter, self._seat_demands)
        self.admission = Admission(
            self.router, self.reporter, self.holds, self.waiting_room, limits, self.peers.allowed
        )
        self.scrape = Scrape(metrics_dir, self.gateway_id, self._sums)
        self.stored = StoredResponses(needs.save_responses, needs.find_response)
        self.recorder = Recorder(needs.write_captures)
        self._fleet_metrics = needs.fleet_metrics
        self._reading_fleet = Outage("reading GPUs and replicas for the metrics")
        self.proxy = Proxy(
            self.router, self.admission, self.limiter, self.meter, self.stored, self.recorder, self.keys.newest
        )
        self.board = Board(self.gateway_id, self.proxy.running, self.admission, needs.questions, needs.send_answer)
        self._loops = Loops()
        self._flushing = asyncio.Lock()
        self._telling = Outage("telling who was refused")
        self._summing = Outage("reading what was spent")
        self._id_prefix = secrets.token_hex(8).encode()
        self._count = itertools.count()
        self._connect()

    def _connect(self) -> None:
        """Who hears of what: no part reaches into another by itself."""
        self.router.announce = self.reporter.tell
        self.router.on_swap += (self.holds.look, self.reporter.hurry, self.admission.pump)
        self.holds.on_begin = self.reporter.hurry
        self.reporter.queued = self.admission.queued
        self.peers.on_exchange.append(self.admission.pump)
        self.peers.in_flight, self.peers.hear_in_flight = self.router.leases, self.router.hear
        self.proxy.on_begin = self.peers.stir
        self.proxy.refused = self.refused.note

    def new_request_id(self) -> bytes:
        """Unlike any other, here or in another process."""
        return b"%b%08x" % (self._id_prefix, next(self._count))

    # --- one request --------------------------------------------------------------------------------------------
    async def serve(self, request: Request, reply: Reply) -> None:
        """Answer one request. A reply that is left without an end tells the client that something is missing."""
        path = request.path
        try:
            if self._origins and (origin := request.headers.get(b"origin")) is not None:
                if cors.preflight(self._origins, origin, request, reply):
                    return
                reply.extra = cors.lines(self._origins, origin)
            endpoint = ENDPOINTS.get(path) or ENDPOINTS.get(path.rstrip("/"))
            if endpoint is None:
                await self._elsewhere(request, reply)
            else:
                reply.dialect = endpoint.dialect
                await self._post(endpoint, request, reply)
        except SardeenzError as error:
            about = auth.shown(request.headers) if isinstance(error, Unauthorized) else path[:200]
            self.refused.note(error.code, about)
            reply.refuse(error)
        except ResponseBroken as broken:
            logger.info("answer cut short: reason=%s request_id=%s", broken, reply.request_id.decode())

    async def _post(self, endpoint: Endpoint, request: Request, reply: Reply) -> None:
        if request.method != b"POST":
            _check_method(request, b"POST")
        key = self.keys.known(request.headers) or await self.keys.check(request.headers)
        body = request.pieces[0] if request.whole and len(request.pieces) == 1 else await request.body()
        if body[:3] == openai.BOM:
            body = body[3:]
        if endpoint.multipart or len(body) > openai.LARGE_BYTES:
            content_type = request.headers.get(b"content-type", b"")
            fields = await openai.read(body, content_type, multipart=endpoint.multipart)
        else:
            fields = openai.read_json(body)
        call = Call(endpoint, fields, body, request, reply, key, self.tracing)
        if fields.previous_response_id is not None:
            call.destination.marker = await self.stored.marker(fields.previous_response_id, key)
        await self.proxy.carry(call)

    async def _elsewhere(self, request: Request, reply: Reply) -> None:
        """What is not a POST to a model."""
        path = request.path.rstrip("/")  # as vLLM takes it; most callers send none
        if path == "/health":
            reply.whole(200, [_JSON], b'{"status":"ok"}')
        elif path == "/metrics":
            reply.whole(200, [(b"content-type", exposition.CONTENT_TYPE)], await self._page())
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            _check_method(request, b"GET", b"HEAD")
            key = await self.keys.check(request.headers)
            reply.whole(200, [_JSON], await self._models(path.removeprefix("/v1/models").removeprefix("/"), key))
        elif (stored := stored_response(path)) is not None:
            _check_method(request, *stored.methods)
            await self._stored(stored, request, reply)
        else:
            raise UnknownPath(f"there is nothing at {request.path[:200]}")

    async def _page(self) -> bytes:
        """The metrics: the gateway's own, then what rows and devices say, as long as they can be read."""
        own = await self.scrape.page()
        with self._reading_fleet.watch():
            async with asyncio.timeout(FLEET_SECONDS):
                return own + await self._fleet_metrics()
        return own

    async def _models(self, name: str, key: KnownKey) -> bytes:
        """The list, or one card; from the table, so asking wakes nothing."""
        if name:
            return await self.router.card(name, key.allowed_models)
        self.router.check_loaded()
        return self.router.table.listing(key.allowed_models)

    async def _stored(self, stored: StoredResponse, request: Request, reply: Reply) -> None:
        """A stored response lives in one engine's memory: ask the one that made it."""
        key = await self.keys.check(request.headers)
        body = await request.body()
        marker = await self.stored.marker(stored.response_id, key)
        replica = self.router.table.replicas.get(marker)
        if replica is None:
            raise ResponseNotFound("the replica that made this response is gone")
        route = self.router.route(replica.deployment_id)
        fields = Fields(route.served_name, b"stream=true" in request.query)
        call = Call(stored.endpoint, fields, body, request, reply, key, self.tracing, marker)
        await self.proxy.carry(call)

    def _seat_demands(self) -> Mapping[int, SeatDemand]:
        return self.admission.seat_demands()

    def _sums(self) -> Sums:
        router, waiting = self.router, self.reporter.waiting()
        sums = exposition.sums(router, self.admission, self.meter, self.outages, self.recorder.counts, waiting)
        sums.refused = dict(self.refused.counts)
        return sums

    @property
    def outages(self) -> tuple[Outage, ...]:
        """Of everything the gateway needs."""
        return (
            self.router.loading,
            self.router.listening,
            self.reporter.outage,
            self.keys.outage,
            self.holds.waking,
            self.meter.outage,
            self.stored.outage,
            self.recorder.outage,
            self.peers.outage,
            self.scrape.outage,
            self.board.outage,
            self._telling,
            self._summing,
            self._reading_fleet,
            *(() if self.tracing is None else (self.tracing.outage,)),
        )

    # --- a life -------------------------------------------------------------------------------------------------
    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError(
                "requests come in through gateway.wire.downstream.Client: see sardeenz.run.serve_gateway"
            )
        scope["state"]["service"] = self
        await receive()
        await self.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # the server has finished the open streams before it says shutdown
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})

    async def begin(self) -> None:
        """Read keys and routes once, so that the first request finds them, then keep them current."""
        self.tracing = self._open_tracing(self.gateway_id)
        await asyncio.gather(self.keys.refresh(), self.router.refresh())
        await self.peers.exchange_once()
        for loop in (
            self.keys.keep_current,
            self.router.listen,
            self.router.keep_current,
            self.reporter.keep_telling,
            self.peers.keep_in_touch,
            self.scrape.keep_publishing,
            self.recorder.keep_writing,
            self.stored.keep_saving,
            self.board.keep_answering,
            self._tick,
            self._write,
            self._sum_up,
        ):
            self._loops.keep(loop)

    async def end(self) -> None:
        """Stop the loops, write what is left, and take back our report."""
        await self._loops.end()
        await self.admission.reach.end()
        await self._flush()
        await self.stored.flush()
        await self.recorder.flush()
        await self.scrape.publish()
        self.router.close()
        await self.reporter.withdraw(self._needs.forget)
        if self.tracing is not None:
            await self.tracing.end()

    async def _tick(self) -> None:
        """Nothing here waits for anything else."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for client in tuple(self.clients):
                client.tick(now)
            self.router.tick()
            self.admission.pump()
            await asyncio.sleep(TICK_SECONDS)

    async def _write(self) -> None:
        """What others are to know, once a second."""
        while True:
            await self._flush()
            await self._tell_refused()
            await asyncio.sleep(TICK_SECONDS)

    async def _tell_refused(self) -> None:
        rows = self.refused.news()
        if rows is None:
            return
        with self._telling.watch() as attempt:
            await self._needs.write_refused(self.gateway_id, rows)
        if attempt.failed:
            self.refused.unsaid()

    async def _flush(self) -> None:
        """Write usage, once at a time. Shielded: a batch that a thread is writing would be written again."""
        await asyncio.shield(self._flush_once())

    async def _flush_once(self) -> None:
        async with self._flushing:
            await self.meter.flush()

    async def _sum_up(self) -> None:
        """What was spent of budgets, as the database has it; between readings the limiter counts on by itself."""
        while True:
            self.limiter.mark()
            await self._flush()
            now = datetime.now(UTC)
            with self._summing.watch():
                keys, teams = await self._needs.spent(now)
                self.limiter.set_spent(keys, teams, now.timestamp())
            await asyncio.sleep(SUM_SECONDS)


def _check_method(request: Request, *allowed: bytes) -> None:
    if request.method not in allowed:
        allow = b", ".join(allowed).decode()
        raise MethodNotAllowed(f"{request.method.decode()} is not possible here, only {allow}", allow=allow)
