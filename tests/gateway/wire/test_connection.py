"""Clients that are slow, silent or old, and connections that serve many requests."""

import asyncio
import json

import pytest

from tests.gateway.conftest import Socket, until
from tests.gateway.engines import Engine, Exchange
from tests.gateway.sockets import BODY, MIB, Place, head, place, post, read

__all__ = ["place"]


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
