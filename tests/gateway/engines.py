"""A small engine on a real socket: it notes what reached it and answers as the test tells it to."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Headers = dict[str, str]


@dataclass
class Seen:
    """One request as it arrived, byte for byte."""

    method: str
    path: str
    headers: Headers
    body: bytes
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


class Exchange:
    """The engine's side of one request."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self.reader = reader
        self.writer = writer

    async def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """A whole answer with a length."""
        lines = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await self.writer.drain()

    async def begin_stream(self, kind: str = "text/event-stream") -> None:
        """The head of a chunked answer."""
        self.writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the stream."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def until_hung_up(self) -> None:
        """Wait for the gateway to go away."""
        while await self.reader.read(65536):
            pass
        self.seen.hung_up.set()


Behaviour = Callable[[Exchange], Awaitable[None]]


async def echo(exchange: Exchange) -> None:
    """The default: a chat completion with usage."""
    usage = {
        "prompt_tokens": 7,
        "total_tokens": 12,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    await exchange.answer(json.dumps({"id": "chatcmpl-1", "choices": [], "usage": usage}).encode())


class Engine:
    """Listens on a port of its own. `behaviours` are used up one per request, then `behaviour` is."""

    def __init__(self, behaviour: Behaviour = echo) -> None:
        self.behaviour = behaviour
        self.behaviours: list[Behaviour] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> "Engine":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (seen := await _read(reader)) is not None:
                self.seen.append(seen)
                self.arrived.set()
                behaviour = self.behaviours.pop(0) if self.behaviours else self.behaviour
                await behaviour(Exchange(seen, reader, writer))
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            for seen in self.seen[-1:]:
                seen.hung_up.set()  # while we wrote
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Seen(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
