"""Tools and structure beyond chats: Anthropic's messages and OpenAI's responses."""

import json
from typing import Any

import pytest

from tests.contract.sse import events
from tests.simulator.conftest import Start

_SCHEMA = {"type": "object", "properties": {"where": {"enum": ["sea", "tin"]}}, "required": ["where"]}
_PARSER = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
_MESSAGE: dict[str, Any] = {
    "model": "sprat",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "look"}],
    "tools": [{"name": "look", "input_schema": _SCHEMA}],
}
_RESPONSE: dict[str, Any] = {
    "model": "sprat",
    "input": "look",
    "tools": [{"type": "function", "name": "look", "parameters": _SCHEMA}],
}


@pytest.mark.parametrize("choice", [None, {"type": "any"}, {"type": "tool", "name": "look"}])
def test_a_message_uses_a_tool_and_takes_its_result(start: Start, choice: dict[str, str] | None) -> None:
    body = _MESSAGE | ({"tool_choice": choice} if choice else {})
    with start(*_PARSER) as engine, engine.client() as client:
        answer = client.post("/v1/messages", json=body).json()
        [use] = answer["content"]
        assert (answer["stop_reason"], use["type"], use["name"]) == ("tool_use", "tool_use", "look")
        assert use["input"]["where"] in ("sea", "tin")
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": "fish"}]}
        history = [*body["messages"], {"role": "assistant", "content": answer["content"]}, result]
        after = client.post("/v1/messages", json={**_MESSAGE, "messages": history}).json()
        assert [block["type"] for block in after["content"]] == ["text"]


def test_a_streamed_tool_use_comes_in_parts(start: Start) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        with client.stream("POST", "/v1/messages", json={**_MESSAGE, "stream": True}) as answer:
            told = list(events(answer))
        [opened] = [each["content_block"] for each in told if each["type"] == "content_block_start"]
    assert (opened["type"], opened["name"], opened["input"]) == ("tool_use", "look", {})
    parts = [each["delta"]["partial_json"] for each in told if each["type"] == "content_block_delta"]
    assert json.loads("".join(parts))["where"] in ("sea", "tin")
    assert told[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_tool_use_that_is_cut_short_is_words(start: Start) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        answer = client.post("/v1/messages", json={**_MESSAGE, "max_tokens": 2}).json()
    assert (answer["stop_reason"], answer["content"][0]["type"]) == ("max_tokens", "text")


def test_a_message_can_be_held_to_a_schema(start: Start) -> None:
    body = {**_MESSAGE, "tools": None, "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}}
    with start() as engine, engine.client() as client:
        [block] = client.post("/v1/messages", json=body).json()["content"]
    assert json.loads(block["text"])["where"] in ("sea", "tin")


def test_tools_of_messages_and_responses_need_a_parser_too(start: Start) -> None:
    with start() as engine, engine.client() as client:
        for path, body in (("messages", _MESSAGE), ("responses", _RESPONSE)):
            answer = client.post(f"/v1/{path}", json=body)
            assert answer.status_code == 400
            assert "--tool-call-parser" in answer.json()["error"]["message"]


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "name": "look"}])
def test_a_response_calls_a_tool_and_takes_its_result(start: Start, choice: Any) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        answer = client.post("/v1/responses", json={**_RESPONSE, "tool_choice": choice}).json()
        [call] = answer["output"]
        assert (answer["status"], call["type"], call["name"]) == ("completed", "function_call", "look")
        assert json.loads(call["arguments"])["where"] in ("sea", "tin")
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "fish"}
        history = [{"role": "user", "content": "look"}, call, result]
        after = client.post("/v1/responses", json={**_RESPONSE, "input": history}).json()
        assert [item["type"] for item in after["output"]] == ["message"]


def test_a_streamed_call_of_a_response_comes_in_parts(start: Start) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        with client.stream("POST", "/v1/responses", json={**_RESPONSE, "stream": True}) as answer:
            told = list(events(answer))
        parts = [each["delta"] for each in told if each["type"] == "response.function_call_arguments.delta"]
    [done] = [each for each in told if each["type"] == "response.function_call_arguments.done"]
    assert "".join(parts) == done["arguments"] == told[-1]["response"]["output"][0]["arguments"]
    assert [each["sequence_number"] for each in told] == list(range(len(told)))


def test_a_response_continues_a_kept_one(start: Start) -> None:
    body: dict[str, Any] = {"model": "sprat", "max_output_tokens": 4}
    with start(VLLM_ENABLE_RESPONSES_API_STORE="1") as engine, engine.client() as client:
        first = client.post("/v1/responses", json={**body, "input": "hello", "instructions": "be brief"}).json()
        again = {**body, "input": "and now", "previous_response_id": first["id"]}
        second = client.post("/v1/responses", json=again).json()
        third = client.post("/v1/responses", json={**again, "previous_response_id": second["id"]}).json()
        alone = client.post("/v1/responses", json={**body, "input": "and now"}).json()
    counts = [each["usage"]["input_tokens"] for each in (alone, second, third)]
    assert counts == sorted(set(counts))
