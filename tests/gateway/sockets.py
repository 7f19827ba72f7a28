"""Requests as bytes, and a gateway to which they are sent as they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest_asyncio

from tests.gateway.conftest import KEY, Running, Socket, World, until
from tests.gateway.engines import Engine

AUTH = f"authorization: Bearer {KEY}".encode()
BODY = b'{"model":"m"}'
MIB = 1 << 20
PATH = "/v1/chat/completions"


def head(*lines: bytes, start: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    """The head of a request with a good key."""
    return b"\r\n".join([start, b"host: x", AUTH, *lines, b"", b""])


def post(body: bytes = BODY, *lines: bytes) -> bytes:
    """A whole request."""
    return head(b"content-length: %d" % len(body), *lines) + body


class Place(Running):
    """A gateway to which bytes are sent as they are, and which must be empty again afterwards."""

    async def dial(self) -> Socket:
        """A connection."""
        made = Socket(*await asyncio.open_connection("127.0.0.1", self.port))
        self._sockets.append(made)
        return made

    async def say(self, *pieces: bytes) -> tuple[int, Any, bool]:
        """Send bytes on a connection of their own: the answer's status, its body, and whether it is the last here."""
        client = await self.dial()
        for piece in pieces:
            client.writer.write(piece)
        return await read(client)

    async def refused(self, *pieces: bytes) -> tuple[int, str]:
        """Send bytes that must be refused: the status and the code. All there was is given back."""
        status, body, _ = await self.say(*pieces)
        await self.is_empty()
        assert set(body["error"]) >= {"message", "type", "param", "code"}, body
        assert body["error"]["message"]
        return status, body["error"]["code"]

    async def is_empty(self) -> None:
        """Nobody waits, nothing is leased, no body is held, and nobody is being served."""

        def empty() -> bool:
            waiting = (self.app.admission.waiting, self.app.admission.waiting_bytes, self.app.bounds.held_bytes)
            return waiting == (0, 0, 0) and self.leases() == 0 and not self._server.server_state.tasks

        await until(empty)


async def read(client: Socket) -> tuple[int, Any, bool]:
    """One answer: its status, its body as JSON, and whether the connection ends with it."""
    lines = (await client.head()).split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:] if line)}
    assert fields[b"content-type"] == b"application/json"
    body = await asyncio.wait_for(client.reader.readexactly(int(fields[b"content-length"])), 10)
    return int(lines[0].split()[1]), json.loads(body), fields.get(b"connection") == b"close"


@pytest_asyncio.fixture
async def place(world: World, engine: Engine) -> AsyncIterator[Place]:
    """A gateway with the limits of an installation, but for its patience, which is a second."""
    world.limits = replace(world.limits, body_bytes=64 * MIB, slow_seconds=1.0)
    world.serve("m", engine)
    made = Place(world)
    await made.start()
    yield made
    await made.stop()
