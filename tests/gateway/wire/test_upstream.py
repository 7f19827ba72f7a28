"""A connection to an engine, without the engine: what a kept or a lost one does with the next request."""

import pytest

from gateway.wire.upstream import Connection, NothingAnswered, Pool
from models_app.errors import EngineTimeout

IDLE_SECONDS = 3.0


class Wire:
    """A transport that, like uvloop's, refuses to write once it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, _: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")

    def abort(self) -> None:
        self.closed = True


@pytest.fixture
async def connection() -> Connection:
    """One that was just made."""
    made = Connection(Pool("http://127.0.0.1:1", idle_seconds=IDLE_SECONDS))
    made.connection_made(Wire())  # type: ignore[arg-type]
    return made


async def test_seconds_before_a_request_are_not_the_engines_silence(connection: Connection) -> None:
    for _ in range(3):
        connection.tick(IDLE_SECONDS)
    answer = connection.request(b"POST / HTTP/1.1\r\n\r\n", b"", b"")
    for _ in range(3):
        connection.tick(IDLE_SECONDS)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    await answer
    assert connection.status == 200


async def test_silence_after_a_request_ends_it(connection: Connection) -> None:
    answer = connection.request(b"POST / HTTP/1.1\r\n\r\n", b"", b"")
    for _ in range(4):
        connection.tick(IDLE_SECONDS)
    with pytest.raises(EngineTimeout):
        await answer


async def test_a_request_on_a_connection_that_was_lost_may_be_sent_again(connection: Connection) -> None:
    connection.transport.abort()
    connection.connection_lost(None)
    with pytest.raises(NothingAnswered):
        connection.request(b"POST / HTTP/1.1\r\n\r\n", b"", b"")
