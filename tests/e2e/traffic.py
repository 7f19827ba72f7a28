"""Clients of the gateway for the end-to-end tests: many streams at once, each checked to its last byte."""

import asyncio
import json
import threading
from dataclasses import dataclass, field

import httpx2

TOKENS_AT_ONCE = httpx2.Limits(max_connections=400, max_keepalive_connections=0)


@dataclass(slots=True)
class Outcome:
    """How one call ended."""

    status: int = 0
    chunks: int = 0
    done: bool = False
    error: str = ""

    @property
    def whole(self) -> bool:
        """Answered with 200, streamed to [DONE], no error event on the way."""
        return self.status == 200 and self.done and not self.error


@dataclass(slots=True)
class Clients:
    """Callers of one endpoint with one key."""

    url: str
    key: str
    outcomes: list[Outcome] = field(default_factory=list)

    def session(self) -> httpx2.AsyncClient:
        """A pool wide enough for every test; reads wait as long as a wake may take."""
        timeout = httpx2.Timeout(10, read=120, pool=120)
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx2.AsyncClient(limits=TOKENS_AT_ONCE, timeout=timeout, headers=headers, trust_env=False)

    async def stream(
        self, session: httpx2.AsyncClient, model: str, tokens: int, started: asyncio.Event | None = None
    ) -> Outcome:
        """One streamed chat of exactly `tokens` tokens."""
        outcome = Outcome()
        self.outcomes.append(outcome)
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"Tell me about number {len(self.outcomes)}."}],
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
        }
        try:
            async with session.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                outcome.status = response.status_code
                if response.status_code != 200:
                    outcome.error = (await response.aread()).decode()
                async for line in response.aiter_lines():
                    self._line(line, outcome)
                    if started is not None and outcome.chunks:
                        started.set()
        except httpx2.HTTPError as error:
            outcome.error = repr(error)
        return outcome

    @staticmethod
    def _line(line: str, outcome: Outcome) -> None:
        if line == "data: [DONE]":
            outcome.done = True
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            if "error" in event:
                outcome.error = str(event["error"])
            elif event.get("choices") and event["choices"][0]["delta"].get("content"):
                outcome.chunks += 1

    async def ask(self, session: httpx2.AsyncClient, model: str) -> Outcome:
        """One short chat, not streamed."""
        outcome = Outcome()
        self.outcomes.append(outcome)
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        try:
            response = await session.post(f"{self.url}/chat/completions", json=body)
        except httpx2.HTTPError as error:
            outcome.error = repr(error)
            return outcome
        outcome.status, outcome.done = response.status_code, True
        outcome.error = "" if response.status_code == 200 else response.text
        return outcome

    @property
    def failed(self) -> list[Outcome]:
        """Every call that did not end whole."""
        return [outcome for outcome in self.outcomes if not outcome.whole]


class Background(threading.Thread):
    """Callers in a thread and a loop of their own, until told to end."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self.clients = clients
        self.ended = threading.Event()

    def end(self) -> None:
        """Let the open calls end by themselves."""
        self.ended.set()
        self.join()

    def run(self) -> None:
        """The thread's own."""
        asyncio.run(self.call())

    async def call(self) -> None:
        """Call until `ended` is set."""
        raise NotImplementedError


class Stampede:
    """Streams that keep coming from `width` clients until `stop` is set; each is checked."""

    def __init__(self, clients: Clients, model: str, *, width: int, tokens: int) -> None:
        self.clients, self.model, self.width, self.tokens = clients, model, width, tokens
        self.stop = asyncio.Event()
        self.flowing = [asyncio.Event() for _ in range(width)]

    async def run(self) -> None:
        """Until `stop`, then until every open stream has ended by itself."""
        async with self.clients.session() as session:
            await asyncio.gather(*(self._client(session, flowing) for flowing in self.flowing))

    async def _client(self, session: httpx2.AsyncClient, flowing: asyncio.Event) -> None:
        while not self.stop.is_set():
            await self.clients.stream(session, self.model, self.tokens, flowing)

    async def all_flowing(self) -> None:
        """Wait until every client has received content."""
        await asyncio.gather(*(flowing.wait() for flowing in self.flowing))
