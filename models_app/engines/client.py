"""Talking to one engine: the only place that knows vLLM's control endpoints and httpx2's errors.

Sleep level and mode, and wake tags, are query parameters: vLLM ignores them in a body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2

from models_app.engines import metrics
from models_app.engines.canary import PICTURE, PROMPT, QUESTION, Canary
from models_app.errors import ConnectionRefused, EngineProtocolError, EngineRefused, EngineTimeout, EngineUnreachable

PEAKS: Final = 4
_NO_SUCH_ENDPOINT: Final = (404, 405, 501)
_ONE_TOKEN: Final = {"max_tokens": 1, "temperature": 0, "seed": 0, "return_tokens_as_token_ids": True}
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
        self.url = url.rstrip("/")
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
        """Wake from `level`; `timeout_seconds` is for each of the steps.

        After level 2 the weights are gone: 1. allocate them, 2. read them again, 3. allocate the KV cache, 4. drop
        what the prefix cache remembers. Repeating the whole of it after a timeout is safe: vLLM skips what is awake.
        """
        if level < 2:
            self.wake_up(timeout_seconds=timeout_seconds)
            return
        self.wake_up("weights", timeout_seconds=timeout_seconds)
        self.reload_weights(timeout_seconds=timeout_seconds)
        self.wake_up("kv_cache", timeout_seconds=timeout_seconds)
        self.reset_prefix_cache(timeout_seconds=timeout_seconds)

    def wake_up(self, tag: str | None = None, *, timeout_seconds: float = 60.0) -> None:
        """Map the memory of one tag (`weights`, `kv_cache`) again, or all of it."""
        self._call("POST", "/wake_up", timeout_seconds, params={"tags": tag} if tag else None)

    def reload_weights(self, *, timeout_seconds: float = 60.0) -> None:
        """Read the weights from their files into memory already mapped."""
        # Of all methods only this one: a method whose result cannot be packed hangs every later request.
        self._call("POST", "/collective_rpc", timeout_seconds, body={"method": "reload_weights"})

    def reset_prefix_cache(self, *, timeout_seconds: float = 10.0) -> None:
        """Give back every KV block that only the prefix cache holds."""
        self._call("POST", "/reset_prefix_cache", timeout_seconds)

    def gauges(self, *, timeout_seconds: float = 2.0) -> Gauges:
        """Requests running and waiting inside the engine."""
        found = metrics.parse(self._call("GET", "/metrics", timeout_seconds).text)
        return Gauges(found["running"], found["waiting"])

    def canary(self, model: str, *, seeing: bool = False, timeout_seconds: float = 10.0) -> Canary:
        """What it makes of a fixed prompt: one greedy token, or a digest of an embedding; `seeing`, of a picture too.

        Raises EngineRefused where the engine has neither completions nor embeddings. One that refuses the picture has
        no answer to it.
        """
        said = self._text_canary(model, timeout_seconds)
        if not seeing:
            return said
        try:
            shown = self._image_canary(model, timeout_seconds)
        except EngineRefused:
            return said
        prompts = said.prompt_tokens + shown.prompt_tokens
        completions = said.completion_tokens + shown.completion_tokens
        return replace(said, image=shown, prompt_tokens=prompts, completion_tokens=completions)

    def version(self, *, timeout_seconds: float = 2.0) -> str | None:
        """The engine tells its own version; None means that the answer holds no version."""
        version = self._json(self._call("GET", "/version", timeout_seconds)).get("version")
        return version if isinstance(version, str) else None

    def _text_canary(self, model: str, timeout_seconds: float) -> Canary:
        body: dict[str, object] = {"model": model, "prompt": PROMPT, **_ONE_TOKEN, "logprobs": 0}
        try:
            answer = self._json(self._call("POST", "/v1/completions", timeout_seconds, body=body))
        except EngineRefused as error:
            if error.fields["status"] not in _NO_SUCH_ENDPOINT:
                raise
            return self._embedding_canary(model, timeout_seconds)
        try:
            choice = answer["choices"][0]
            told = choice.get("logprobs") or {}
            return _canary(str(choice["text"]), answer, _first(told.get("tokens")), _first(told.get("token_logprobs")))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EngineProtocolError("the completion holds no choice", url=self.url) from error

    def _image_canary(self, model: str, timeout_seconds: float) -> Canary:
        content = [{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": QUESTION}]
        messages = [{"role": "user", "content": content}]
        body: dict[str, object] = {"model": model, "messages": messages, **_ONE_TOKEN, "logprobs": True}
        answer = self._json(self._call("POST", "/v1/chat/completions", timeout_seconds, body=body))
        try:
            message, told = answer["choices"][0]["message"], answer["choices"][0].get("logprobs") or {}
            said = message.get("content") or message.get("reasoning") or message.get("reasoning_content") or ""
            first = _first(told.get("content")) or {}
            return _canary(str(said), answer, first.get("token"), first.get("logprob"))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EngineProtocolError("the chat holds no choice", url=self.url) from error

    def _embedding_canary(self, model: str, timeout_seconds: float) -> Canary:
        body = {"model": model, "input": PROMPT}
        answer = self._json(self._call("POST", "/v1/embeddings", timeout_seconds, body=body))
        try:
            return _canary(_peaks([float(number) for number in answer["data"][0]["embedding"]]), answer)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineProtocolError("the answer holds no embedding", url=self.url) from error

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
            raise EngineTimeout(f"{path} was not answered within {timeout_seconds:g} s", url=self.url) from error
        except httpx2.TransportError as error:
            if _was_refused(error):
                raise ConnectionRefused(f"nothing listens at {self.url}", url=self.url) from error
            raise EngineUnreachable(f"{path} cannot be reached: {error}", url=self.url) from error
        except httpx2.RequestError as error:
            raise EngineProtocolError(f"{path} gave an answer that cannot be read: {error}", url=self.url) from error
        if response.status_code >= 400:
            said = response.text[:200]
            message = f"{path} answered {response.status_code}: {said}"
            raise EngineRefused(message, status=response.status_code, url=self.url)
        return response

    def _json(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            found = response.json()
        except ValueError as error:
            raise EngineProtocolError("the answer is not JSON", url=self.url) from error
        if not isinstance(found, dict):
            raise EngineProtocolError("the answer is not a JSON object", url=self.url)
        return found


def _was_refused(error: BaseException) -> bool:
    """Whether the kernel said that nobody listens; the library hides it two causes deep."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConnectionRefusedError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _canary(said: str, answer: Mapping[str, Any], token: object = None, logprob: object = None) -> Canary:
    usage = answer.get("usage") or {}
    return Canary(
        said,
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        token if isinstance(token, str) else None,
        float(logprob) if isinstance(logprob, int | float) else None,
    )


def _first(told: object) -> Any:
    return told[0] if isinstance(told, list) and told else None


def _peaks(vector: list[float]) -> str:
    """The places of the largest components: unlike a hash of all, they survive the last bits of a float."""
    order = sorted(range(len(vector)), key=lambda place: -abs(vector[place]))
    return "peaks " + " ".join(f"{place}{'+' if vector[place] >= 0 else '-'}" for place in order[:PEAKS])
