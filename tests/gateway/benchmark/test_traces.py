"""Traces and prompts from files, and what is said of those that cannot be used."""

import pytest

from gateway.benchmark.load.plan import Moment
from gateway.benchmark.load.traces import read_prompts, read_trace
from sardeenz.errors import InvalidSpec

HEAD = "offset_ms,model,prompt_tokens,max_tokens,priority\n"


def test_a_trace_is_split_by_model_and_put_in_order() -> None:
    found = read_trace(f"{HEAD}2000,chat,10,20,low\n500,code,11,21,mid\n1500,chat,12,22,mid\n")
    assert found == {"chat": (Moment(1.5, 12, 22), Moment(2.0, 10, 20)), "code": (Moment(0.5, 11, 21),)}


def test_a_trace_may_be_json_lines() -> None:
    line = '{"offset_ms": 250, "model": "chat", "prompt_tokens": 3, "max_tokens": 4, "more": []}'
    assert read_trace(line) == {"chat": (Moment(0.25, 3, 4),)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the trace is empty"),
        ("\n \n", "the trace is empty"),
        (HEAD, "a header and no call"),
        ("a,b\n1,2\n", "no column `offset_ms`, `model`"),
        (f"{HEAD}-5,chat,1,1,\n", "line 2 of the trace has the negative offset -5 ms"),
        (f"{HEAD}0,chat,1,1,\nsoon,chat,1,1,\n", "line 3 of the trace: offset_ms is no number: 'soon'"),
        (f"{HEAD}nan,chat,1,1,\n", "offset_ms is no number"),
        (f"{HEAD}0,,1,1,\n", "line 2 of the trace names no model"),
        (f"{HEAD}0,chat,0,1,\n", "prompt_tokens is 0, and has to be 1 or more"),
        (f"{HEAD}0,chat\n", "prompt_tokens is no number: None"),
        ('{"offset_ms": 0\n', "line 1 of the trace is not JSON"),
    ],
)
def test_a_trace_that_cannot_be_used_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as refused:
        read_trace(text)
    assert refused.value.fields["field"] == "trace"


def test_prompts_are_lines_of_json() -> None:
    assert read_prompts('"one"\n\n{"prompt": "two", "more": 1}\n') == ("one", "two")


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085"])
def test_what_separates_lines_in_prose_may_stand_in_a_prompt(character: str) -> None:
    assert read_prompts(f'"one{character}two"\r\n"three"\r') == (f"one{character}two", "three")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no prompt in the file"), ("{}\n", "line 1 of the prompts has no text"), ("what\n", "is not JSON")],
)
def test_prompts_that_cannot_be_used_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        read_prompts(text)
