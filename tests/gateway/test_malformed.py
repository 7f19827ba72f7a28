"""Whatever arrives at the socket gets the right answer, or a clear one in OpenAI's envelope, and leaves nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.conftest import KEY, Running, Socket, World, until
from tests.gateway.engines import Engine, Exchange

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


# --- what the body says -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"m"', None),
        (b'\xef\xbb\xbf{"model":"m"}', None),
        (b'{"model":"m\xff"}', None),
        (b'{"model":"m"} x', None),
        (b"\x00" * 100, None),
        (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b"{}", "model"),
        (b'{"model":""}', "model"),
        (b'{"model":null}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"model":"m","stream":"yes"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","priority":"high"}', "priority"),
        (b'{"model":"m","priority":1.5}', "priority"),
        (b'{"model":"m","stream_options":7}', "stream_options"),
        (b'{"model":"m","n":"two"}', "n"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else None,
)
async def test_a_body_that_is_no_request_is_a_400_that_names_the_field(
    place: Place, engine: Engine, body: bytes, param: str | None
) -> None:
    status, told, last = await place.say(post(body))
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, "invalid_body", param)
    assert not last
    await place.is_empty()
    assert not engine.seen


@pytest.mark.parametrize("name", [b"nobody", b"\\ud800", b"x" * 100_000, b"m\\u0000", "größer".encode()])
async def test_an_unknown_model_is_a_404(place: Place, name: bytes) -> None:
    status, code = await place.refused(post(b'{"model":"%b"}' % name))
    assert (status, code) in ((404, "model_not_found"), (400, "invalid_body"))


@pytest.mark.parametrize("boundary", [b"", b"; boundary=", b'; boundary="', b"; boundary=b"])
async def test_a_form_that_is_none_is_a_400(place: Place, boundary: bytes) -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="model"'
    kind = b"content-type: multipart/form-data" + boundary
    request = head(kind, b"content-length: %d" % len(body), start=b"POST /v1/audio/transcriptions HTTP/1.1") + body
    assert await place.refused(request) == (400, "invalid_body")


# --- how large it is ----------------------------------------------------------------------------------------------
async def test_a_body_declared_too_large_is_refused_before_it_is_sent(place: Place, engine: Engine) -> None:
    assert await place.refused(head(b"content-length: %d" % (65 * MIB))) == (413, "body_too_large")
    assert not engine.seen


async def test_a_client_that_sends_it_all_the_same_reads_why_it_was_refused(place: Place) -> None:
    client = await place.dial()
    client.writer.write(head(b"content-length: %d" % (65 * MIB)))
    for _ in range(65):
        client.writer.write(bytes(MIB))
    status, told, last = await read(client)
    assert (status, told["error"]["code"], last) == (413, "body_too_large", True)
    await place.is_empty()


async def test_a_body_in_chunks_is_refused_once_it_is_too_large(place: Place, engine: Engine) -> None:
    chunks = [b"%x\r\n%b\r\n" % (MIB, bytes(MIB))] * 65
    assert await place.refused(head(b"transfer-encoding: chunked"), *chunks) == (413, "body_too_large")
    assert not engine.seen


async def test_a_body_in_chunks_is_put_together(place: Place, engine: Engine) -> None:
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BODY[:5], BODY[5:6], BODY[6:])]
    status, _, last = await place.say(head(b"transfer-encoding: chunked"), *chunks, b"0\r\n\r\n")
    assert (status, last) == (200, False)
    assert engine.seen[0].body == BODY


async def test_fields_after_the_chunks_change_nothing(place: Place, engine: Engine) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(BODY), BODY)
    status, _, _ = await place.say(
        head(b"transfer-encoding: chunked", b"traceparent: mine"), chunk, b"0\r\ntraceparent: other\r\n\r\n"
    )
    assert status == 200
    assert engine.seen[0].headers["traceparent"] == "mine"


@pytest.mark.parametrize("size", [b"x", b"-1", b"+5", b"1.5", b"", b"5 5", b"9" * 40])
async def test_a_length_that_is_none_is_a_400(place: Place, size: bytes) -> None:
    assert await place.refused(head(b"content-length: " + size) + BODY) == (400, "bad_request")


@pytest.mark.parametrize(
    "lines",
    [
        (b"content-length: 13", b"content-length: 14"),
        (b"content-length: 13", b"transfer-encoding: chunked"),
        (b"transfer-encoding: chunked, gzip",),
    ],
    ids=["two lengths", "a length and chunks", "chunks within"],
)
async def test_a_body_of_two_lengths_is_a_400(place: Place, engine: Engine, lines: tuple[bytes, ...]) -> None:
    """Otherwise what we take for a body another server takes for a request."""
    status, code = await place.refused(head(*lines) + b"d\r\n" + BODY + b"\r\n0\r\n\r\n")
    assert (status, code) == (400, "bad_request")
    assert not engine.seen


# --- how it is said -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "start",
    [
        b"POST",
        b"POST /v1/chat/completions HTTP/9.9",
        b"POST /v1/chat/completions XYZ/1.1",
        b"post /v1/chat/completions HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0",
    ],
)
async def test_what_is_no_http_is_a_400(place: Place, start: bytes) -> None:
    assert await place.refused(head(start=start)) == (400, "bad_request")


@pytest.mark.parametrize("line", [b"no colon here", b": no name", b"a b: c", b"a: b\x00c", b"a: b\r\n\r c"])
async def test_a_line_that_is_no_header_is_a_400(place: Place, line: bytes) -> None:
    assert await place.refused(head(line, b"content-length: 0")) == (400, "bad_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_wrong_method_is_a_405_that_names_the_right_one(place: Place, method: str) -> None:
    answer = await place.client.request(method, PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    await place.is_empty()


@pytest.mark.parametrize(
    "target", [b"*", b"/", b"/v1", b"//v1/models", b"/v1/%00", b"/v1/../metrics", b"http://a/b", b"/\xff"]
)
async def test_a_path_that_is_none_is_a_404(place: Place, target: bytes) -> None:
    status, code = await place.refused(head(b"content-length: 0", start=b"POST %b HTTP/1.1" % target))
    assert (status, code) in ((404, "unknown_path"), (400, "bad_request"))


async def test_headers_without_end_are_refused(place: Place) -> None:
    flood = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(100))
    assert await place.refused(head()[:-2] + flood) == (431, "headers_too_large")


async def test_one_header_without_end_is_refused(place: Place) -> None:
    assert await place.refused(head()[:-2] + b"x: " + b"y" * MIB) == (431, "headers_too_large")


@pytest.mark.parametrize("flood", [b"x: " + b"y" * MIB, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n" * 40_000])
async def test_what_comes_while_another_is_served_is_not_hoarded(
    place: Place, world: World, engine: Engine, flood: bytes
) -> None:
    """Neither headers without end nor a pipeline without end: they stay in the socket, and the sender blocks."""
    answered = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await answered.wait()
        await exchange.answer(b"{}")

    engine.behaviour = wait
    client = await place.dial()
    client.writer.write(post())
    await engine.arrived.wait()
    client.writer.write((b"POST / HTTP/1.1\r\n" if flood.startswith(b"x") else b"") + flood * (64 * MIB // len(flood)))
    await asyncio.sleep(1)
    assert client.writer.transport.get_write_buffer_size() > 32 * MIB
    answered.set()
    assert (await read(client))[0] == 200
    client.writer.transport.abort()
    await place.is_empty()


async def test_fields_after_the_chunks_without_end_are_refused(place: Place) -> None:
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    flood = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(1000))
    status, _ = await place.refused(head(b"transfer-encoding: chunked"), chunk, flood)
    assert 400 <= status < 500


# --- how slowly ---------------------------------------------------------------------------------------------------
async def trickle(client: Socket, data: bytes) -> None:
    """Send a byte at a time, as long as anybody listens."""
    for at in range(len(data)):
        client.writer.write(data[at : at + 1])
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("whole", [True, False])
async def test_headers_that_trickle_are_a_408(place: Place, *, whole: bool) -> None:
    """Those of the first request, and those of one on a connection that was used before."""
    client = await place.dial()
    if not whole:
        client.writer.write(post())
        assert (await read(client))[0] == 200
    sending = asyncio.create_task(trickle(client, head() * 4))
    status, told, last = await read(client)
    sending.cancel()
    assert (status, told["error"]["code"], last) == (408, "request_timeout", True)
    await place.is_empty()
    client.writer.close()
    await until(lambda: not place.app.clients)


@pytest.mark.parametrize("size", [b"content-length: 1000", b"content-length: 1000000", b"transfer-encoding: chunked"])
async def test_a_body_that_trickles_is_a_408(place: Place, engine: Engine, size: bytes) -> None:
    client = await place.dial()
    client.writer.write(head(size))
    sending = asyncio.create_task(trickle(client, b"1\r\na\r\n" * 200))
    status, told, last = await read(client)
    sending.cancel()
    assert (status, told["error"]["code"], last) == (408, "request_timeout", True)
    await place.is_empty()
    assert not engine.seen


async def test_a_thousand_that_say_nothing_cost_nobody_his_answer(place: Place) -> None:
    silent = [await place.dial() for _ in range(1000)]
    for client in silent[:500]:
        client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nx: ")
    assert (await place.chat("m")).status_code == 200
    answers = await asyncio.gather(*(read(client) for client in silent[:500]))
    assert {(status, told["error"]["code"]) for status, told, _ in answers} == {(408, "request_timeout")}
    for client in silent:
        client.writer.close()
    await place.client.aclose()
    await until(lambda: not place.app.clients)
    await place.is_empty()


async def test_a_client_that_does_not_read_loses_its_place(place: Place, engine: Engine) -> None:
    async def flood(exchange: Exchange) -> None:
        await exchange.begin_stream()
        while True:
            await exchange.chunk(b"x" * 65536)

    engine.behaviour = flood
    client = await place.dial()
    client.writer.write(post(b'{"model":"m","stream":true}'))
    await engine.arrived.wait()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(engine.seen[0].hung_up.is_set)
    await place.is_empty()


# --- in what order, and in what dress -----------------------------------------------------------------------------
async def test_requests_sent_without_waiting_are_answered_in_order(place: Place, engine: Engine) -> None:
    async def say_which(exchange: Exchange) -> None:
        await exchange.answer(json.dumps({"said": json.loads(exchange.seen.body)["user"]}).encode())

    engine.behaviour = say_which
    client = await place.dial()
    numbers = range(50)
    client.writer.write(b"".join(post(b'{"model":"m","user":"%d"}' % number) for number in numbers))
    answers = [await read(client) for _ in numbers]
    assert [(status, told["said"]) for status, told, _ in answers] == [(200, str(number)) for number in numbers]
    await place.is_empty()


async def test_a_bad_one_among_them_ends_the_row(place: Place, engine: Engine) -> None:
    client = await place.dial()
    client.writer.write(post() + post(b"{") + b"nonsense\r\n\r\n" + post())
    answers = [await read(client) for _ in range(3)]
    assert [(status, last) for status, _, last in answers] == [(200, False), (400, False), (400, True)]
    assert answers[2][1]["error"]["code"] == "bad_request"
    assert await asyncio.wait_for(client.reader.read(), 10) == b""
    assert len(engine.seen) == 1
    await place.is_empty()


async def test_one_connection_serves_many_requests(place: Place, engine: Engine) -> None:
    client = await place.dial()
    for number in range(300):
        client.writer.write(post() if number % 3 else post(b"{"))
        status, _, last = await read(client)
        assert (status, last) == (200 if number % 3 else 400, False)
    assert len(place.app.clients) == 1
    assert engine.connections == 1
    await place.is_empty()


async def test_who_expects_100_gets_it_before_the_answer(place: Place, engine: Engine) -> None:
    client = await place.dial()
    client.writer.write(head(b"content-length: %d" % len(BODY), b"expect: 100-continue"))
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(BODY)
    assert (await read(client))[0] == 200
    await place.is_empty()


async def test_who_expects_100_for_too_much_gets_the_refusal_instead(place: Place) -> None:
    status, told, last = await place.say(head(b"content-length: %d" % (65 * MIB), b"expect: 100-continue"))
    assert (status, told["error"]["code"], last) == (413, "body_too_large", True)


@pytest.mark.parametrize("keep", [(), (b"connection: keep-alive",)], ids=["plain", "keep-alive"])
async def test_http_1_0_is_answered_without_chunks(place: Place, engine: Engine, keep: tuple[bytes, ...]) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for data in (b'data: {"n":1}\n\n', b"data: [DONE]\n\n", b""):
            await exchange.chunk(data)

    engine.behaviour = talk
    client = await place.dial()
    body = b'{"model":"m","stream":true}'
    start = b"POST /v1/chat/completions HTTP/1.0"
    client.writer.write(head(b"content-length: %d" % len(body), *keep, start=start) + body)
    assert b"chunked" not in (await client.head()).lower()
    told = await asyncio.wait_for(
        client.reader.read(), 10
    )  # until the connection ends: nothing else says where it does
    assert told == b'data: {"n":1}\n\ndata: [DONE]\n\n'
    await place.is_empty()


async def test_who_asks_to_close_is_answered_and_closed(place: Place) -> None:
    client = await place.dial()
    client.writer.write(post(BODY, b"connection: close"))
    status, _, last = await read(client)
    assert (status, last) == (200, True)
    assert await asyncio.wait_for(client.reader.read(), 10) == b""
    await until(lambda: not place.app.clients)


async def test_who_offers_another_protocol_is_answered_in_this_one(place: Place, engine: Engine) -> None:
    """As Java's client does with each first request."""
    offer = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQBAAAAAAIAAAAA")
    status, _, _ = await place.say(post(BODY, *offer))
    assert status == 200
    assert engine.seen[0].body == BODY
    await place.is_empty()
