"""HTTP to one engine with nothing but the standard library, for machines that have nothing else of ours."""

import http.client
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PRINTABLE = list(range(10, 250))
"""A made model says any id, and most of its vocabulary has no text: without text there is no first token to see."""

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class CallFailed(Exception):
    """The engine did not answer, or not as hoped."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What one streamed answer was like."""

    text: str
    tokens: int
    first_token_seconds: float | None
    total_seconds: float
    finished: bool
    gaps: tuple[float, ...] = ()
    """Seconds between one piece of content and the next."""

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token."""
        if self.first_token_seconds is None or self.total_seconds <= self.first_token_seconds:
            return None
        return (self.tokens - 1) / (self.total_seconds - self.first_token_seconds)


@dataclass(frozen=True, slots=True)
class Client:
    """One OpenAI-like server."""

    url: str
    key: str
    model: str

    def healthy(self) -> bool:
        """Whether /health says so."""
        try:
            self.call("GET", "/health", timeout_seconds=5)
        except CallFailed:
            return False
        return True

    def call(self, method: str, path: str, body: object = None, timeout_seconds: float = 120) -> bytes:
        """The body of the answer."""
        with self._response(method, path, body, timeout_seconds) as response:
            return bytes(response.read())

    def json(self, method: str, path: str, body: object = None, timeout_seconds: float = 120) -> Any:
        """The answer, decoded."""
        return json.loads(self.call(method, path, body, timeout_seconds))

    def sleep(self, level: int) -> None:
        """As Sardeenz sends an engine to sleep: level and mode are in the query."""
        self.call("POST", f"/sleep?level={level}&mode=wait")

    def wake(self, level: int) -> None:
        """As Sardeenz wakes it."""
        if level == 1:
            self.call("POST", "/wake_up")
            return
        self.call("POST", "/wake_up?tags=weights")
        self.call("POST", "/collective_rpc", {"method": "reload_weights"})
        self.call("POST", "/wake_up?tags=kv_cache")
        self.reset_prefix_cache()

    def is_sleeping(self) -> bool:
        """As the engine says."""
        return self.json("GET", "/is_sleeping")["is_sleeping"] is True

    def reset_prefix_cache(self) -> None:
        """Give back what only the prefix cache holds."""
        self.call("POST", "/reset_prefix_cache")

    def complete(self, prompt: str, tokens: int, timeout_seconds: float = 300) -> dict[str, Any]:
        """A greedy completion of exactly so many tokens."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        answer: dict[str, Any] = self.json("POST", "/v1/completions", body, timeout_seconds)
        return answer

    def chat(self, prompt: str, tokens: int, timeout_seconds: float = 300, *, quietly: bool = False) -> Stream:
        """A streamed chat, measured. `quietly` reads past the first token without looking, to keep up with many."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": self.model, "messages": messages, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        body |= {"stream": True, "stream_options": {"include_usage": True}, "allowed_token_ids": PRINTABLE}
        started, first, said, counted, finished = time.monotonic(), None, [], 0, False
        at: list[float] = []
        try:
            with self._response("POST", "/v1/chat/completions", body, timeout_seconds) as response:
                for event in _events(response):
                    finished = finished or event is None
                    for choice in (event or {}).get("choices", []):
                        if piece := (choice.get("delta") or {}).get("content"):
                            at.append(time.monotonic())
                            first = first or at[0] - started
                            said.append(piece)
                    if quietly and first is not None:
                        finished = response.read().rstrip().endswith(b"[DONE]")
                        break
                    counted = ((event or {}).get("usage") or {}).get("completion_tokens", counted)
        except (OSError, http.client.HTTPException):
            finished = False  # the engine died: what came until then is the answer
        gaps = tuple(later - earlier for earlier, later in itertools.pairwise(at))
        return Stream("".join(said), counted or len(said), first, time.monotonic() - started, finished, gaps)

    @contextmanager
    def _response(
        self, method: str, path: str, body: object, timeout_seconds: float
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            response = _open(request, timeout=timeout_seconds)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(300).decode(errors="replace")
            raise CallFailed(f"{path} answered {error.code}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(f"{path}: {error}") from error
        with response:
            yield response


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any] | None]:
    """The events of a stream; None for [DONE]."""
    for raw in response:
        if raw.startswith(b"data: "):
            data = raw[6:].strip()
            yield None if data == b"[DONE]" else json.loads(data)
