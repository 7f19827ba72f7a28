"""Answers that can be foretold: tokens, schemas, tools, audio, and requests in the background."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models_app.engines.simulator import text
from tests.contract.sse import chat, events
from tests.patience import until
from tests.simulator.conftest import Start

_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"where": {"enum": ["sea", "tin"]}}, "required": ["where"]},
    },
}
_PARSER = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")


@given(st.text())
def test_tokens_turn_back_into_any_text(words: str) -> None:
    assert text.detokenize(text.tokenize(words)) == words.encode("utf-8", "replace").decode()


@given(st.text(max_size=40), st.integers(1, 200))
def test_an_answer_has_as_many_tokens_as_it_says(prompt: str, limit: int) -> None:
    pieces = text.answer(prompt, choice=0, limit=limit, endless=True)
    assert len(pieces) == limit == text.length("".join(pieces))


def test_a_schema_with_references_and_bounds_is_satisfied() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "weight": {"type": "number", "minimum": 2, "maximum": 3},
            "names": {"type": "array", "items": {"$ref": "#/$defs/name"}, "minItems": 2},
            "caught": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "$defs": {"name": {"type": "string", "minLength": 30, "maxLength": 40}},
    }
    made = json.loads(text.as_json(schema, "a fish"))
    assert 2 <= made["weight"] <= 3
    assert [30 <= len(name) <= 40 for name in made["names"]] == [True, True]
    assert made["caught"].count("-") == 2


def test_tools_are_called_where_a_parser_is_set(start: Start) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        body = chat("look", tools=[_TOOL], tool_choice="auto")
        choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
        called = choice["message"]["tool_calls"][0]["function"]
        assert choice["finish_reason"] == "tool_calls"
        assert called["name"] == "look"
        assert json.loads(called["arguments"])["where"] in ("sea", "tin")
        turn = {"role": "tool", "content": "fish", "tool_call_id": "a"}
        after = client.post("/v1/chat/completions", json={**body, "messages": [*body["messages"], turn]}).json()
        assert after["choices"][0]["message"]["content"]


def test_a_tool_call_streams_its_name_first(start: Start) -> None:
    with start(*_PARSER) as engine, engine.client() as client:
        body = chat("look", tools=[_TOOL], tool_choice="required", stream=True)
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            chunks = [each["choices"][0] for each in events(answer) if each != "[DONE]"]
    calls = [chunk["delta"]["tool_calls"][0]["function"] for chunk in chunks if "tool_calls" in chunk["delta"]]
    assert calls[0]["name"] == "look"
    assert json.loads("".join(call["arguments"] for call in calls))["where"] in ("sea", "tin")
    assert chunks[-1]["finish_reason"] == "tool_calls"


def test_a_stop_string_ends_the_answer_before_it(start: Start) -> None:
    with start() as engine, engine.client() as client:
        body = chat("stop there", max_tokens=20)
        whole = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
        word = whole.split()[3]
        choice = client.post("/v1/chat/completions", json={**body, "stop": [word]}).json()["choices"][0]
        assert choice["message"]["content"] == whole[: whole.find(word)]
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", word)


def test_pictures_are_read_and_told_apart(start: Start) -> None:
    with start() as engine, engine.client() as client:

        def see(picture: str) -> str:
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
            body = chat([{"type": "text", "text": "what is it"}, image])  # type: ignore[arg-type]
            return str(client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"])

        assert see("AAAA") == see("AAAA") != see("BBBB")


def test_audio_becomes_words(start: Start) -> None:
    with start() as engine, engine.client() as client:
        form = {"model": "sprat"}
        for path in ("transcriptions", "translations"):
            answer = client.post(f"/v1/audio/{path}", data=form, files={"file": ("a.wav", b"RIFF" * 9)}).json()
            assert answer["text"]
            assert answer["usage"] == {"type": "duration", "seconds": 1}
        assert client.post("/v1/audio/transcriptions", data=form).status_code == 400


def test_a_response_in_the_background_can_be_fetched_and_cancelled(start: Start) -> None:
    with start(VLLM_ENABLE_RESPONSES_API_STORE="1") as engine, engine.client() as client:
        body = {"model": "sprat", "input": "take your time", "background": True}
        short = client.post("/v1/responses", json={**body, "max_output_tokens": 2}).json()["id"]
        until(lambda: client.get(f"/v1/responses/{short}").json()["usage"], "it is done")
        long = client.post("/v1/responses", json={**body, "ignore_eos": True}).json()["id"]
        assert client.post(f"/v1/responses/{long}/cancel").json()["status"] == "cancelled"
        until(lambda: engine.gauge("num_requests_running") == 0, "it stopped")


def test_urgent_requests_go_first_under_priority_scheduling(start: Start) -> None:
    flags = ("--scheduling-policy", "priority", "--max-num-seqs", "1")
    with start(*flags, VLLM_ENABLE_RESPONSES_API_STORE="1") as engine, engine.client() as client:
        background = [
            client.post("/v1/responses", json={"model": "sprat", "input": "a", "background": True, **more}).json()["id"]
            for more in ({"max_output_tokens": 60, "ignore_eos": True}, {"priority": 5}, {"priority": -5})
        ]
        _, patient, urgent = background

        def done(each: str) -> bool:
            return bool(client.get(f"/v1/responses/{each}").json()["status"] == "completed")

        until(lambda: done(urgent), "the urgent one is done")
        assert not done(patient)
