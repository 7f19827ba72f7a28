"""Talking to one engine: the only place that knows vLLM's control endpoints and httpx2's errors.

Sleep level and mode, and wake tags, are query parameters: vLLM ignores them in a body.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from models_app.errors import EngineProtocolError, EngineRefused, EngineTimeout, EngineUnreachable

CANARY = "The quick brown fox jumps over"
# Engines speak plain HTTP on private addresses, never through a proxy; vLLM closes idle connections after 5 s.
_http = httpx2.Client(trust_env=False, verify=False, limits=httpx2.Limits(keepalive_expiry=2.0))


@dataclass(frozen=True, slots=True)
class Gauges:
    """Sums over the engine's cores; None where the engine does not say."""

    running: int | None
    waiting: int | None


class EngineClient:
    """One engine at `url`, authenticated by its own key."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}

    def health(self, *, timeout_seconds: float = 2.0) -> bool:
        """Whether it says it is healthy. An engine that is still loading is unreachable; a slow one times out."""
        try:
            self._call("GET", "/health", timeout_seconds)
        except EngineRefused:
            return False
        return True

    def is_sleeping(self, *, timeout_seconds: float = 2.0) -> bool:
        """Whether it is asleep, at any level, or paused."""
        answer = self._json(self._call("GET", "/is_sleeping", timeout_seconds)).get("is_sleeping")
        if not isinstance(answer, bool):
            raise EngineProtocolError("/is_sleeping did not say true or false", url=self.url)
        return answer

    def sleep(self, level: int, *, mode: str = "wait", timeout_seconds: float = 60.0) -> None:
        """Sleep at `level`; mode wait lets running requests finish, abort ends them."""
        self._call("POST", "/sleep", timeout_seconds, params={"level": str(level), "mode": mode})

    def wake(self, level: int = 1, *, timeout_seconds: float = 60.0) -> None:
        """Wake from `level`. After level 2 the weights are gone: allocate, read them again, then the KV cache."""
        if level < 2:
            self._call("POST", "/wake_up", timeout_seconds)
            return
        self._call("POST", "/wake_up", timeout_seconds, params={"tags": "weights"})
        self._call("POST", "/collective_rpc", timeout_seconds, body={"method": "reload_weights"})
        self._call("POST", "/wake_up", timeout_seconds, params={"tags": "kv_cache"})
        self.reset_prefix_cache(timeout_seconds=timeout_seconds)

    def reset_prefix_cache(self, *, timeout_seconds: float = 10.0) -> None:
        """Give back every KV block that only the prefix cache holds."""
        self._call("POST", "/reset_prefix_cache", timeout_seconds)

    def gauges(self, *, timeout_seconds: float = 2.0) -> Gauges:
        """Requests running and waiting inside the engine."""
        text = self._call("GET", "/metrics", timeout_seconds).text
        return Gauges(_sum(text, "vllm:num_requests_running"), _sum(text, "vllm:num_requests_waiting"))

    def canary(self, model: str, *, timeout_seconds: float = 10.0) -> str:
        """One greedy token for a fixed prompt. Raises EngineRefused where the engine has no completions."""
        body = {"model": model, "prompt": CANARY, "max_tokens": 1, "temperature": 0, "seed": 0}
        answer = self._json(self._call("POST", "/v1/completions", timeout_seconds, body=body))
        try:
            return str(answer["choices"][0]["text"])
        except (KeyError, IndexError, TypeError) as error:
            raise EngineProtocolError("the completion holds no choice", url=self.url) from error

    def version(self, *, timeout_seconds: float = 2.0) -> str:
        """The engine's own version."""
        return str(self._json(self._call("GET", "/version", timeout_seconds)).get("version", ""))

    def _call(
        self,
        method: str,
        path: str,
        timeout_seconds: float,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> httpx2.Response:
        try:
            response = _http.request(
                method, self.url + path, params=params, json=body, headers=self._headers, timeout=timeout_seconds
            )
        except httpx2.TimeoutException as error:
            raise EngineTimeout(f"{path} was not answered within {timeout_seconds} s", url=self.url) from error
        except httpx2.TransportError as error:
            raise EngineUnreachable(f"{path} cannot be reached: {error}", url=self.url) from error
        if response.status_code >= 400:
            said = response.text[:200]
            raise EngineRefused(f"{path} answered {response.status_code}: {said}", status=response.status_code)
        return response

    def _json(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            found = response.json()
        except ValueError as error:
            raise EngineProtocolError("the answer is not JSON", url=self.url) from error
        if not isinstance(found, dict):
            raise EngineProtocolError("the answer is not a JSON object", url=self.url)
        return found


def _sum(text: str, name: str) -> int | None:
    """The sum of a gauge over its label sets, by exact name."""
    values = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " ")
    ]
    return int(sum(values)) if values else None
