"""Chats, completions and responses: their shapes, their usage and their sameness."""

import json
from typing import Any

import httpx2
import pytest

from tests.contract.sse import chat, events

_LONG = {"max_tokens": 12, "ignore_eos": True}


def test_health_and_ping_answer_with_an_empty_200(client: httpx2.Client) -> None:
    for path in ("/health", "/ping"):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_the_version_is_the_supported_one(client: httpx2.Client) -> None:
    assert client.get("/version").json()["version"].startswith("0.30.0")


def test_models_lists_every_served_name_with_its_length(client: httpx2.Client, model: Any) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [card["id"] for card in listed["data"]] == ["sprat", "sprat-alias"]
    assert {card["max_model_len"] for card in listed["data"]} == {2048}
    assert {card["root"] for card in listed["data"]} == {str(model)}


@pytest.mark.parametrize("name", ["sprat", "sprat-alias"])
def test_a_chat_answers_under_the_first_name(client: httpx2.Client, name: str) -> None:
    answer = client.post("/v1/chat/completions", json=chat("hello", model=name, **_LONG)).json()
    choice = answer["choices"][0]
    assert answer["model"] == "sprat"
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert choice["message"]["role"] == "assistant"
    assert isinstance(choice["message"]["content"], str)
    assert choice["finish_reason"] == "length"


def test_usage_counts_the_prompt_and_the_answer(client: httpx2.Client) -> None:
    body = chat("count me", **_LONG)
    usage = client.post("/v1/chat/completions", json=body).json()["usage"]
    counted = client.post("/tokenize", json={"model": "sprat", "messages": body["messages"]}).json()["count"]
    assert usage["prompt_tokens"] == counted
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == counted + 12


def test_the_same_prompt_has_the_same_answer(client: httpx2.Client) -> None:
    body = chat("say it again", **_LONG)
    first, second = (client.post("/v1/chat/completions", json=body).json()["choices"] for _ in range(2))
    assert first == second


def test_several_choices_come_numbered(client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", json=chat("hello", n=2, temperature=1, **_LONG)).json()
    assert sorted(choice["index"] for choice in answer["choices"]) == [0, 1]
    assert answer["usage"]["completion_tokens"] == 24


def test_contents_may_come_in_parts(client: httpx2.Client) -> None:
    parts = [{"type": "text", "text": "hello"}]
    answer = client.post("/v1/chat/completions", json=chat(parts, **_LONG))  # type: ignore[arg-type]
    assert answer.status_code == 200


def test_priority_is_accepted_without_priority_scheduling(client: httpx2.Client) -> None:
    assert client.post("/v1/chat/completions", json=chat("hello", priority=-5, **_LONG)).status_code == 200


def test_the_callers_request_id_becomes_the_answers_id(client: httpx2.Client) -> None:
    answer = client.post("/v1/chat/completions", json=chat("hello", **_LONG), headers={"X-Request-Id": "abc"})
    assert answer.json()["id"] == "chatcmpl-abc"


def test_an_answer_can_be_held_to_a_schema(client: httpx2.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "ripe", "schema": {"type": "boolean"}}}
    answer = client.post("/v1/chat/completions", json=chat("ripe?", response_format=wanted, max_tokens=20)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) in (True, False)
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_an_answer_can_be_held_to_a_choice(client: httpx2.Client) -> None:
    body = chat("which?", structured_outputs={"choice": ["sprat", "pilchard"]})
    answer = client.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] in ("sprat", "pilchard")


def test_completions_can_echo_their_prompt(client: httpx2.Client) -> None:
    body = {"model": "sprat", "prompt": "over and over", "max_tokens": 2, "echo": True}
    assert client.post("/v1/completions", json=body).json()["choices"][0]["text"].startswith("over and over")


def test_responses_keep_nothing_unless_told_to(client: httpx2.Client) -> None:
    body = {"model": "sprat", "input": "hello", "max_output_tokens": 2}
    answer = client.post("/v1/responses", json={**body, "background": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "background"
    made = client.post("/v1/responses", json=body).json()["id"]
    assert client.get(f"/v1/responses/{made}").status_code == 404


def test_a_chat_streams_role_content_reason_usage_and_end(client: httpx2.Client) -> None:
    body = chat("stream", stream=True, stream_options={"include_usage": True}, **_LONG)
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        *chunks, end = events(answer)
    first, *middle, last = chunks
    assert end == "[DONE]"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {first["id"]}
    assert [chunk["choices"][0]["finish_reason"] for chunk in middle][-1] == "length"
    assert {chunk["choices"][0]["finish_reason"] for chunk in middle[:-1]} == {None}
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12


def test_a_stream_without_the_option_has_no_usage(client: httpx2.Client) -> None:
    with client.stream("POST", "/v1/chat/completions", json=chat("stream", stream=True, **_LONG)) as answer:
        assert all(not chunk.get("usage") for chunk in events(answer) if chunk != "[DONE]")


def test_a_stream_says_what_the_whole_answer_says(client: httpx2.Client) -> None:
    body = chat("the same", **_LONG)
    whole = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
        chunks = [chunk for chunk in events(answer) if chunk != "[DONE]"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == whole


def test_completions_take_several_prompts(client: httpx2.Client) -> None:
    body = {"model": "sprat", "prompt": ["one", "two"], "temperature": 0, **_LONG}
    answer = client.post("/v1/completions", json=body).json()
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 24


def test_completions_take_tokens(client: httpx2.Client) -> None:
    tokens = client.post("/tokenize", json={"model": "sprat", "prompt": "from tokens"}).json()["tokens"]
    body = {"model": "sprat", "temperature": 0, **_LONG}
    by_text = client.post("/v1/completions", json={**body, "prompt": "from tokens"}).json()
    by_tokens = client.post("/v1/completions", json={**body, "prompt": tokens}).json()
    assert by_tokens["usage"]["prompt_tokens"] == len(tokens)
    assert by_tokens["choices"][0]["text"] == by_text["choices"][0]["text"]


def test_completions_stream_text_reason_and_usage(client: httpx2.Client) -> None:
    body = {"model": "sprat", "prompt": "go", "stream": True, "stream_options": {"include_usage": True}, **_LONG}
    with client.stream("POST", "/v1/completions", json=body) as answer:
        *chunks, usage, end = events(answer)
    assert end == "[DONE]"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 12


def test_responses_answer_and_count(client: httpx2.Client) -> None:
    body = {"model": "sprat", "input": "hello", "max_output_tokens": 12, "temperature": 0}
    answer = client.post("/v1/responses", json=body).json()
    assert answer["object"] == "response"
    assert answer["id"].startswith("resp_")
    assert answer["status"] in ("completed", "incomplete")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_responses_stream_from_created_to_completed(client: httpx2.Client) -> None:
    body = {"model": "sprat", "input": "hello", "max_output_tokens": 12, "stream": True}
    with client.stream("POST", "/v1/responses", json=body) as answer:
        told = list(events(answer))
    assert told[0]["type"] == "response.created"
    assert told[-1]["type"] == "response.completed"
    assert [each["sequence_number"] for each in told] == sorted(each["sequence_number"] for each in told)
    assert told[-1]["response"]["usage"]["output_tokens"] > 0


def test_an_unknown_response_is_not_found(client: httpx2.Client) -> None:
    continued = {"model": "sprat", "input": "hello", "previous_response_id": "resp_none"}
    for answer in (
        client.get("/v1/responses/resp_none"),
        client.post("/v1/responses/resp_none/cancel"),
        client.post("/v1/responses", json=continued),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["param"] == "response_id"
