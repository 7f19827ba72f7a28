"""Anthropic's messages, tokens, and the shapes of refusals."""

from typing import Any

import httpx2
import pytest

from tests.contract.engines import Engine
from tests.contract.sse import chat, events

_MESSAGE: dict[str, Any] = {
    "model": "sprat",
    "max_tokens": 12,
    "messages": [{"role": "user", "content": "hello"}],
}


def test_messages_answer_in_anthropics_shape(client: httpx2.Client) -> None:
    answer = client.post("/v1/messages", json=_MESSAGE).json()
    assert (answer["type"], answer["role"]) == ("message", "assistant")
    assert answer["stop_reason"] in ("max_tokens", "end_turn")
    assert answer["usage"]["output_tokens"] <= 12
    assert all(block["type"] == "text" for block in answer["content"])


def test_messages_stream_in_anthropics_order(client: httpx2.Client) -> None:
    with client.stream("POST", "/v1/messages", json={**_MESSAGE, "stream": True}) as answer:
        told = [each["type"] for each in events(answer)]
    assert told[0] == "message_start"
    assert told[-2:] == ["message_delta", "message_stop"]
    assert {"content_block_start", "content_block_delta", "content_block_stop"} <= set(told)


def test_messages_count_their_tokens(client: httpx2.Client) -> None:
    counted = client.post("/v1/messages/count_tokens", json=_MESSAGE).json()["input_tokens"]
    assert counted == client.post("/v1/messages", json=_MESSAGE).json()["usage"]["input_tokens"]


@pytest.mark.parametrize("words", ["hello, sardines", "größer als ein Fisch: 🐟", "a\nb\tc  d"])
def test_tokens_turn_back_into_their_text(client: httpx2.Client, words: str) -> None:
    split = client.post("/tokenize", json={"model": "sprat", "prompt": words}).json()
    assert split["count"] == len(split["tokens"])
    assert split["max_model_len"] == 2048
    back = client.post("/detokenize", json={"model": "sprat", "tokens": split["tokens"]}).json()
    assert back == {"prompt": words}


def test_an_unknown_model_is_a_404_that_names_it(client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", json=chat("hello", model="herring"))
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error == {
        "message": "The model `herring` does not exist.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }


def test_a_prompt_that_is_too_long_is_a_400(client: httpx2.Client) -> None:
    answer = client.post("/v1/completions", json={"model": "sprat", "prompt": "xyz " * 4000, "max_tokens": 3})
    assert answer.status_code == 400
    assert "maximum context length is 2048 tokens" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"max_tokens": 0}, "max_tokens"), ({"max_tokens": 9999}, "max_tokens"), ({"temperature": -1}, "temperature")],
)
def test_a_value_out_of_range_is_a_400_that_names_it(client: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/chat/completions", json=chat("hello", **fields))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "BadRequestError"
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("content", [b"{bad", b'{"model": "sprat"}', b"[]"])
def test_a_body_that_is_no_chat_is_a_400(client: httpx2.Client, content: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "Bad Request"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/completions", {"prompt": ""}, "must be provided and non-empty"),
        ("/v1/chat/completions", {"messages": []}, "empty conversation"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a"}]}, "max_tokens"),
    ],
)
def test_what_is_missing_is_named(client: httpx2.Client, path: str, body: dict[str, Any], words: str) -> None:
    answer = client.post(path, json={"model": "sprat", **body})
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_body_must_say_that_it_is_json(client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert "Only 'application/json' is allowed" in answer.json()["error"]["message"]


def test_tools_need_a_parser(client: httpx2.Client) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    for choice in ("auto", "required", {"type": "function", "function": {"name": "look"}}):
        answer = client.post("/v1/chat/completions", json=chat("hello", tools=[tool], tool_choice=choice))
        assert answer.status_code == 400
        assert "--tool-call-parser" in answer.json()["error"]["message"]


def test_errors_of_messages_come_in_anthropics_envelope(client: httpx2.Client) -> None:
    answer = client.post("/v1/messages", json={**_MESSAGE, "model": "herring"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "NotFoundError"


def test_unknown_paths_and_methods_are_told_apart(client: httpx2.Client) -> None:
    assert client.get("/nothing").json() == {"detail": "Not Found"}
    assert client.get("/v1/chat/completions").json() == {"detail": "Method Not Allowed"}
    assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 404


@pytest.mark.parametrize("key", [None, "wrong"])
def test_the_key_guards_v1_and_nothing_else(engine: Engine, key: str | None) -> None:
    with engine.client(key) as stranger:
        refused = stranger.get("/v1/models")
        assert refused.status_code == 401
        assert refused.json() == {"error": "Unauthorized"}
        for path in ("/health", "/metrics", "/version", "/is_sleeping"):
            assert stranger.get(path).status_code == 200
        assert stranger.post("/tokenize", json={"model": "sprat", "prompt": "a"}).status_code == 200
