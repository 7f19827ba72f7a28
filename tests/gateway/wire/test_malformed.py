"""Whatever arrives at the socket gets the right answer, or a clear one in OpenAI's envelope, and leaves nothing."""

import asyncio

import pytest

from tests.gateway.conftest import World
from tests.gateway.engines import Engine, Exchange
from tests.gateway.sockets import BODY, MIB, PATH, Place, head, place, post, read

__all__ = ["place"]


# --- what the body says -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"m"', None),
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
