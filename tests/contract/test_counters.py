"""Where the engine's counters grow by what usage says, a call that said nothing can be known from their difference."""

from typing import Any

import httpx2
import pytest

from tests.contract.engines import Engine
from tests.patience import until

COUNTERS = ("prompt_tokens_total", "generation_tokens_total")
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 5}
LONG = {"prompt": "the same " * 60, "max_tokens": 3}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {**CHAT, "best_of": 4, "temperature": 1.0}),
        ("/v1/chat/completions", {**CHAT, "prompt_logprobs": 2}),
        ("/v1/messages", {**CHAT, "n": 3}),
        ("/v1/responses", {"input": "hello", "max_output_tokens": 5, "n": 3}),
        ("/v1/completions", {"prompt": [5, 6, 7, 8], "max_tokens": 5}),
        ("/v1/completions", {"prompt": "hello", "max_tokens": 60, "stop": ["a", "e", " "], "ignore_eos": True}),
        ("/v1/completions", {"prompt": "hello " * 30, "max_tokens": 3, "truncate_prompt_tokens": 20}),
        ("/v1/completions", LONG),
        ("/v1/completions", {**LONG, "prompt_logprobs": 1}),
    ],
)
def test_what_is_told_is_what_is_counted(
    engine: Engine, client: httpx2.Client, path: str, body: dict[str, Any]
) -> None:
    for _ in range(2):  # the second time much of it comes from the prefix cache
        before = [engine.gauge(name) for name in COUNTERS]
        answer = client.post(path, json={"model": "sprat", **body})
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        told = [usage["input_tokens"], usage["output_tokens"]] if prompt is None else [prompt, completion]
        until(
            lambda was=before, told=told: (
                [engine.gauge(name) - value for name, value in zip(COUNTERS, was, strict=True)] == told
            ),
            f"the counters grow by {told}",
        )


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tokenize", {"prompt": "hello"}, 200),
        ("/v1/messages/count_tokens", CHAT, 200),
        ("/v1/chat/completions", {**CHAT, "n": -1}, 400),
        ("/v1/chat/completions", {**CHAT, "model": "nobody"}, 404),
    ],
)
def test_what_asks_no_model_is_not_counted(
    engine: Engine, client: httpx2.Client, path: str, body: dict[str, Any], status: int
) -> None:
    before = [engine.gauge(name) for name in COUNTERS]
    assert client.post(path, json={"model": "sprat", **body}).status_code == status
    assert [engine.gauge(name) for name in COUNTERS] == before
