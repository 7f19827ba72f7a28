"""A gateway under a real uvicorn in the test's own loop, between real sockets; its needs are met with plain data."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest_asyncio
import uvicorn

from gateway.access.auth import KnownKey
from gateway.access.rows import AliasMemberRow, AliasRow
from gateway.admission.holds import Limits
from gateway.capture.captured import Capture
from gateway.in_flight import messages
from gateway.in_flight.messages import Answer, Question
from gateway.limits.limiter import UNLIMITED, KnownTeam, Quota, Spent
from gateway.metering.meter import Record
from gateway.server import Gateway, Needs
from gateway.tracing import OpenTracing, off
from gateway.wire.downstream import Client
from models_app.traffic.routes import Route, RouteReplica
from tests.gateway.engines import Engine

KEY = "sk-srdz-a-key-for-inference"
READ_KEY = "sk-srdz-a-key-for-reading"
LIMITS = Limits(body_bytes=4 << 20, wait_count=1000, wait_bytes=1 << 30, wait_seconds=30.0, quiet_seconds=30.0)


def known(
    plain: str,
    key_id: int,
    *,
    inference: bool = True,
    expires_at: float | None = None,
    allowed_models: Iterable[str] = (),
    quota: Quota = UNLIMITED,
    team: KnownTeam | None = None,
    **marks: bool,
) -> KnownKey:
    digest = hashlib.sha256(plain.encode()).hexdigest()
    return KnownKey(digest, key_id, inference, expires_at, frozenset(allowed_models), quota, team, **marks)


@dataclass
class World:
    """Everything around the gateway, as the test wants it."""

    routes: list[Route] = field(default_factory=list)
    aliases: list[AliasRow] = field(default_factory=list)
    keys: list[KnownKey] = field(default_factory=lambda: [known(KEY, 1), known(READ_KEY, 2, inference=False)])
    fault: BaseException | None = None
    refusal: BaseException | None = None
    redis_fault: BaseException | None = None
    wakes: list[int] = field(default_factory=list)
    wake_again_seconds: float | None = None
    reports: list[tuple[frozenset[str], dict[str, int]]] = field(default_factory=list)
    waiting: Mapping[int, Mapping[str, float | None]] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)
    responses: dict[str, str] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    usage: list[Record] = field(default_factory=list)
    refused: list[list[object]] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    listening: list["asyncio.Queue[bytes]"] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    on_wake: Callable[[], Awaitable[None]] | None = None
    limits: Limits = LIMITS
    idle_seconds: float = 600.0
    spent: tuple[dict[int, Spent], dict[int, Spent]] = field(default_factory=lambda: ({}, {}))
    metrics_dir: Path = Path()
    origins: frozenset[bytes] = frozenset()
    open_tracing: OpenTracing = off
    key_of_token: Callable[[bytes], int | None] = lambda _: None

    def serve(self, name: str, *engines: Engine, state: str = "", **facts: object) -> Route:
        """Route a name to these engines; with none it sleeps unless told otherwise."""
        first = 10 * (1 + len(self.routes))
        replicas = tuple(
            RouteReplica(first + place, 1, engine.url, f"engine-key-{first + place}")
            for place, engine in enumerate(engines)
        )
        route = Route(
            deployment_id=len(self.routes) + 1,
            deployment_name=name,
            served_name=name,
            state=state or ("ready" if engines else "sleeping"),  # type: ignore[arg-type]
            replicas=replicas,
            reason="",
            message="",
            eta_seconds=None,
            max_model_len=4096,
            created=1700000000,
        )
        route = replace(route, **facts)  # type: ignore[arg-type]
        self.routes.append(route)
        return route

    def change(self, name: str, *engines: Engine, state: str = "", **facts: object) -> None:
        """Replace the route of a name, and announce it."""
        place = [route.served_name for route in self.routes].index(name)
        old = self.routes[place]
        self.routes[place] = replace(
            old,
            state=state or ("ready" if engines else "sleeping"),  # type: ignore[arg-type]
            replicas=tuple(
                RouteReplica(10 * (place + 1) + at, 1, engine.url, "engine-key") for at, engine in enumerate(engines)
            ),
            **facts,  # type: ignore[arg-type]
        )
        self.changed.set()

    def alias(self, name: str, **targets: int) -> None:
        """Another name, with a weight per served name."""
        ids = {route.served_name: route.deployment_id for route in self.routes}
        self.aliases.append(AliasRow(name, tuple(AliasMemberRow(ids[to], weight) for to, weight in targets.items())))

    async def load_aliases(self) -> list[AliasRow]:
        return list(self.aliases)

    async def load_routes(self) -> list[Route]:
        if self.fault:
            raise self.fault
        return list(self.routes)

    async def load_keys(self) -> list[KnownKey]:
        if self.fault:
            raise self.fault
        return list(self.keys)

    async def announcements(self) -> AsyncIterator[None]:
        while True:
            if self.redis_fault:
                raise self.redis_fault
            yield
            await self.changed.wait()
            self.changed.clear()

    async def request_ready(self, deployment_id: int) -> float | None:
        self.wakes.append(deployment_id)
        if self.refusal:
            raise self.refusal
        if self.on_wake:
            await self.on_wake()
        return self.wake_again_seconds

    async def report(
        self,
        gateway_id: str,
        routes: Iterable[str],
        leases: Mapping[str, int],
        waiting: Mapping[int, Mapping[str, float | None]],
        written_until: float,
    ) -> None:
        if self.redis_fault:
            raise self.redis_fault
        self.reports.append((frozenset(routes), dict(leases)))
        self.waiting = waiting

    async def read_spent(self, now: datetime) -> tuple[dict[int, Spent], dict[int, Spent]]:
        if self.fault:
            raise self.fault
        return self.spent

    async def exchange(self, gateway_id: str, said: bytes) -> Mapping[str, bytes]:
        if self.redis_fault:
            raise self.redis_fault
        self.said[gateway_id] = said
        return dict(self.said)

    async def save_responses(self, made: Mapping[str, str]) -> None:
        if self.redis_fault:
            raise self.redis_fault
        self.responses.update(made)

    async def find_response(self, response_id: str) -> str | None:
        if self.redis_fault:
            raise self.redis_fault
        return self.responses.get(response_id)

    async def forget(self, gateway_id: str) -> None:
        self.forgotten.append(gateway_id)

    async def touch(self, deployment_ids: Iterable[int]) -> None:
        self.touched |= set(deployment_ids)

    async def write_usage(self, records: Sequence[Record]) -> None:
        if self.fault:
            raise self.fault
        self.usage += records

    async def fleet_metrics(self) -> bytes:
        return b""

    async def write_refused(self, gateway_id: str, rows: bytes) -> None:
        if self.redis_fault:
            raise self.redis_fault
        self.refused = msgspec.json.decode(rows)

    async def questions(self) -> AsyncIterator[bytes]:
        asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.listening.append(asked)
        while True:
            if self.redis_fault:
                raise self.redis_fault
            yield await asked.get()

    async def send_answer(self, reply_to: str, answer: bytes) -> None:
        if self.redis_fault:
            raise self.redis_fault
        self.answers.append(messages.read_answer(answer))

    async def ask(self, **question: Any) -> list[Answer]:
        """What each gateway answers to a question about calls in flight."""
        self.answers.clear()
        for asked in self.listening:
            asked.put_nowait(messages.write(Question("here", **{"limit": 100} | question)))
        await until(lambda: len(self.answers) == len(self.listening))
        return list(self.answers)

    async def write_captures(self, captures: Sequence[Capture]) -> None:
        if self.redis_fault:
            raise self.redis_fault
        self.captures += captures

    def gateway(self) -> Gateway:
        needs = Needs(
            load_routes=self.load_routes,
            load_aliases=self.load_aliases,
            announcements=self.announcements,
            load_keys=self.load_keys,
            key_of_token=self.key_of_token,
            request_ready=self.request_ready,
            report=self.report,
            forget=self.forget,
            touch=self.touch,
            write_usage=self.write_usage,
            spent=self.read_spent,
            exchange=self.exchange,
            save_responses=self.save_responses,
            find_response=self.find_response,
            write_captures=self.write_captures,
            fleet_metrics=self.fleet_metrics,
            write_refused=self.write_refused,
            questions=self.questions,
            send_answer=self.send_answer,
        )
        return Gateway(
            needs,
            self.limits,
            route_ttl_seconds=0.2,
            idle_seconds=self.idle_seconds,
            metrics_dir=self.metrics_dir,
            origins=self.origins,
            open_tracing=self.open_tracing,
        )


class Running:
    """A gateway process in miniature, and a client for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = world.gateway()
        config = uvicorn.Config(self.app, http=Client, log_level="error", lifespan="on", access_log=False)
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._task: asyncio.Task[None]
        self._sockets: list[Socket] = []
        self.client: httpx2.AsyncClient

    async def start(self) -> "Running":
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        await until(lambda: self._server.started)
        headers = {"authorization": f"Bearer {KEY}"}
        limits = httpx2.Limits(max_connections=None)
        base_url = f"http://127.0.0.1:{self.port}"
        self.client = httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=30, limits=limits)
        return self

    async def stop(self) -> None:
        await self.client.aclose()
        for client in self._sockets:
            client.writer.close()
        await self.stop_accepting()

    async def stop_accepting(self) -> None:
        """What SIGTERM does: finish what is open, then end."""
        self._server.should_exit = True
        await self._task

    async def chat(self, model: str, **more: object) -> httpx2.Response:
        """A chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
        return await self.client.post("/v1/chat/completions", json=body)

    async def open(
        self, body: bytes, *, path: str = "/v1/chat/completions", key: str = KEY, **headers: str
    ) -> "Socket":
        """A connection of our own with a request sent over it, to see bytes as they come or to hang up."""
        socket_ = Socket(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16))
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        more += f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n"
        socket_.writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode() + body)
        self._sockets.append(socket_)
        await socket_.writer.drain()
        return socket_

    def leases(self) -> int:
        return sum(self.app.router.leases().values())


@dataclass
class Socket:
    """A client without an HTTP library."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)

    async def until(self, text: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(text), 20)

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> World:
    return World(metrics_dir=tmp_path / "metrics")


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = await Engine().start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture
async def other_engine() -> AsyncIterator[Engine]:
    engine = await Engine().start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture
async def run(world: World) -> AsyncIterator[Callable[[], Awaitable[Running]]]:
    """Starts gateways; each is stopped in order at the end."""
    started: list[Running] = []

    async def start() -> Running:
        started.append(await Running(world).start())
        return started[-1]

    yield start
    for running in started:
        await running.stop()
