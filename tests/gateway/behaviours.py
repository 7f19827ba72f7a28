"""What engines do in more than one test: hold requests until they are let go, fail, and say who answered."""

import asyncio
import json

from tests.gateway.engines import Behaviour, Exchange, Seen, echo


class Held:
    """Keeps every request until it is let go, and notes how many were there at once."""

    def __init__(self, answer: Behaviour = echo) -> None:
        self.answer = answer
        self.most = 0
        self._gates: dict[int, tuple[Seen, asyncio.Event]] = {}
        self._arrivals = 0

    async def __call__(self, exchange: Exchange) -> None:
        self._arrivals += 1
        number, gate = self._arrivals, asyncio.Event()
        self._gates[number] = exchange.seen, gate
        self.most = max(self.most, len(self._gates))
        leaving = asyncio.ensure_future(exchange.until_hung_up())
        opening = asyncio.ensure_future(gate.wait())
        try:
            await asyncio.wait((leaving, opening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._gates[number]
            opening.cancel()
            leaving.cancel()
            await asyncio.gather(leaving, opening, return_exceptions=True)
        if gate.is_set():
            await self.answer(exchange)

    def __len__(self) -> int:
        return len(self._gates)

    @property
    def requests(self) -> list[Seen]:
        """Those that are held, in the order in which they came."""
        return [seen for seen, _ in self._gates.values()]

    def let_go(self) -> Seen:
        """Answer the one that is held longest."""
        seen, gate = next((seen, gate) for seen, gate in self._gates.values() if not gate.is_set())
        gate.set()
        return seen

    def open(self) -> None:
        """Answer all that are held now."""
        for _, gate in self._gates.values():
            gate.set()


async def hang_up(exchange: Exchange) -> None:
    """The connection ends before the first byte of an answer."""
    exchange.writer.close()


def status(number: int, body: bytes = b'{"error":{"message":"no"}}') -> Behaviour:
    """Answers with this status."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(body, number)

    return answer


def named(name: str) -> Behaviour:
    """Answers with this id."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(json.dumps({"id": name}).encode())

    return answer


def events(*contents: str) -> Behaviour:
    """A stream that says this, and its usage where that was asked for."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for content in contents:
            event = {"choices": [{"delta": {"content": content}}]}
            await exchange.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        if b"include_usage" in exchange.seen.body:
            await exchange.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n')
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    return answer
