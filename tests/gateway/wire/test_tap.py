"""What an answer says it used is read wherever it says so, from nowhere else, and so is that it failed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import tap as taps
from gateway.wire.tap import StreamTap, WholeTap, first_failure, has_event
from gateway.wire.usage import Usage

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"delta":{"content":"He said \\"usage\\": {} and \\"error\\": {}"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5}}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
ERROR = b'data: {"error": {"message": "no", "type": "InternalServerError", "code": 500}}\n\n'
DONE = b"data: [DONE]\n\n"


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def streamed(*pieces: bytes, expected: bool = True) -> tuple[Usage, str | None]:
    """Its usage, and the code of its failure."""
    tap = StreamTap()
    for piece in pieces:
        tap.see(piece)
    failure = tap.end(expected=expected)
    return tap.usage, failure


def whole(*pieces: bytes) -> tuple[Usage, str | None]:
    tap = WholeTap()
    for piece in pieces:
        tap.see(piece)
    failure = tap.end(expected=False)
    return tap.usage, failure


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- content -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "chunk",
    [
        b'{"choices":[{"text":"a"}]}',
        b'{"delta":{"reasoning_content":"a"}}',
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}',
        b'{"type":"response.output_text.delta","delta":"a"}',
        b'{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}',
    ],
)
def test_each_dialects_first_content_is_seen(chunk: bytes) -> None:
    tap = StreamTap()
    tap.see(ROLE)
    assert tap.content_at is None
    tap.see(chunk)
    assert tap.content_at is not None


def test_gaps_and_pieces_of_content_are_counted_and_other_events_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((10.0, 10.5, 10.6, 12.0))
    monkeypatch.setattr(taps.time, "monotonic", lambda: next(moments))
    tap = StreamTap()
    for piece in (ROLE, WORD, WORD, ROLE, WORD, ROLE + WORD, USAGE, DONE):
        tap.see(piece)
    assert (tap.pieces, tap.content_at) == (4, 10.0)
    assert (tap.gap_seconds, tap.longest_gap_seconds) == (pytest.approx(2 / 3), pytest.approx(1.4))


def test_a_piece_cut_after_the_quote_is_no_content() -> None:
    tap = StreamTap()
    tap.see(b'data: {"choices":[{"delta":{"content":"')
    assert tap.pieces == 0


def test_one_piece_has_no_gap() -> None:
    tap = StreamTap()
    tap.see(WORD)
    tap.see(USAGE)
    assert (tap.pieces, tap.gap_seconds, tap.longest_gap_seconds) == (1, None, None)


def test_only_whole_events_that_tell_nothing_need_no_second_look() -> None:
    tap = StreamTap()
    assert tap.see(WORD)
    assert not tap.see(USAGE)
    assert not tap.see(WORD[:20])
    assert not tap.between_events
    assert not tap.see(WORD[20:])
    assert tap.between_events
    assert tap.see(DONE)


# --- usage of streams ------------------------------------------------------------------------------------------------
def cumulative(tokens: int) -> bytes:
    usage = {"prompt_tokens": 100, "total_tokens": 100 + tokens, "completion_tokens": tokens}
    return event(choices=[{"delta": {"content": "w "}}], usage=usage)


@pytest.mark.parametrize(
    ("pieces", "usage"),
    [
        ([ROLE, WORD, USAGE, DONE], Usage(7, 5)),
        ([ROLE + WORD + USAGE + DONE], Usage(7, 5)),
        ([WORD, USAGE, *[WORD] * 60, DONE], Usage(7, 5)),
        ([event(choices=[{"delta": {}, "finish_reason": "stop"}], usage={"prompt_tokens": 1, "completion_tokens": 2})],
         Usage(1, 2)),
        ([*map(cumulative, range(1, 51)), event(choices=[{"finish_reason": "stop"}], usage=None)], Usage(100, 50)),
        ([event(choices=[], usage={"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0}), DONE], Usage(0, 0)),
        ([USAGE.replace(b"\n\n", b"\r\n\r\n"), DONE], Usage(7, 5)),
        ([b": a comment\n\n", USAGE[:-2]], Usage(7, 5)),
        ([WORD, DONE], Usage()),
        ([event(choices=[], usage={"prompt_tokens": -7, "completion_tokens": 5}), DONE], Usage()),
        ([event(choices=[], usage={"prompt_tokens": "7", "completion_tokens": 5}), DONE], Usage()),
        ([event(choices=[{"delta": {"tool": {"usage": {"prompt_tokens": 1}}}}]), USAGE, WORD, DONE], Usage(7, 5)),
        ([USAGE, event(choices=[{"delta": {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}}]), DONE],
         Usage(7, 5)),
    ],
)  # fmt: skip
def test_a_streams_usage_is_found_on_whatever_event_it_stands(pieces: list[bytes], usage: Usage) -> None:
    assert streamed(*pieces)[0] == usage


@pytest.mark.parametrize("size", [1, 3, 17, 64, 1000])
def test_usage_cut_anywhere_is_found(size: int) -> None:
    for end in (b"\n\n", b"\r\n\r\n"):
        text = (ROLE + WORD + USAGE + WORD + DONE).replace(b"\n\n", end)
        assert streamed(*cut(text, size)) == (Usage(7, 5), None)


def test_anthropics_usage_is_put_together_from_the_beginning_and_the_end() -> None:
    began = {"usage": {"input_tokens": 3, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 16}}
    start = b"event: message_start\n" + event(type="message_start", message=began)
    text = event(type="content_block_delta", delta={"type": "text_delta", "text": "some text"})
    said = event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
    assert streamed(start, *[text] * 30, said, event(type="message_stop")) == (Usage(24, 4, 16), None)
    assert streamed(event(type="message_delta", usage={"input_tokens": 3, "output_tokens": 4}))[0] == Usage(3, 4, None)


def test_a_responses_usage_is_read_and_that_of_its_tools_is_not() -> None:
    tools = [{"name": "f", "parameters": {"properties": {"usage": {"prompt_tokens": 1, "type": "object"}}}}]
    usage = {"input_tokens": 8, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 9, "total_tokens": 17}
    created = event(type="response.created", response={"tools": tools, "usage": None, "error": None})
    completed = event(type="response.completed", response={"tools": tools, "usage": usage, "output": ["x" * 200_000]})
    assert streamed(created, *cut(completed, 65536)) == (Usage(8, 9, 2), None)


def test_an_endless_event_is_not_kept() -> None:
    tap = StreamTap()
    for _ in range(20):
        tap.see(b"x" * (1 << 17))
    assert sum(map(len, (tap._held, *tap._last))) < taps.EVENT_BYTES
    tap.see(b"\n\n" + DONE)
    assert tap.end(expected=True) is None
    assert tap.usage == Usage()


# --- usage of whole answers -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0}, Usage(9, 0)),
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9, 0)),
        ({"total_tokens": 9}, Usage(9, 0)),
        ({"type": "duration", "seconds": 3}, Usage()),
        ({"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2}, Usage(5, 4, 2)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}}, Usage(9, 1, 3)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(9, 1)),
    ],
)
def test_every_dialect_of_usage_is_understood(said: object, usage: Usage) -> None:
    answer = json.dumps({"data": [], "usage": said}).encode()
    assert whole(answer) == (usage, None)
    assert whole(answer[:20], answer[20:]) == (usage, None)


RANKED = {"id": "r", "usage": {"prompt_tokens": 1600, "total_tokens": 1600}, "results": [
    {"index": place, "document": {"text": "a b \\ \" } ]", "usage": {"prompt_tokens": 1, "total_tokens": 1}}}
    for place in range(400)
]}  # fmt: skip
LOGPROBS = {
    "choices": [{"message": {"content": "x" * 5000}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    "prompt_logprobs": [None, {str(each): {"logprob": -0.5, "decoded_token": '"usage":{}'} for each in range(500)}],
}
EMBEDDED = {"data": [{"embedding": [0.25] * 50_000}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}


@pytest.mark.parametrize("size", [7, 100, 4096, 1 << 20])
@pytest.mark.parametrize(
    ("answer", "usage"),
    [(RANKED, Usage(1600, 0)), (LOGPROBS, Usage(100, 50)), (EMBEDDED, Usage(3, 0))],
    ids=["rank", "logprobs", "embeddings"],
)
@pytest.mark.parametrize("spaces", [(", ", ": "), (",", ":")])
def test_usage_of_long_answers_is_found_wherever_it_stands(
    answer: object, usage: Usage, size: int, spaces: tuple[str, str]
) -> None:
    assert whole(*cut(json.dumps(answer, separators=spaces).encode(), size)) == (usage, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[]:,ü', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usage", "a", '"', "]"]), inner),
    max_leaves=12,
)


@given(VALUES, VALUES, st.integers(0, 99), st.integers(1, 9))
def test_only_the_usage_of_the_answer_itself_is_taken(before: object, after: object, tokens: int, size: int) -> None:
    said = {"prompt_tokens": tokens, "completion_tokens": 1}
    for answer, usage in (({"b": before, "usage": said, "c": after}, Usage(tokens, 1)), ({"b": before}, Usage())):
        assert whole(*cut(json.dumps(answer, ensure_ascii=False).encode(), size))[0] == usage


def test_text_that_speaks_of_usage_is_not_usage() -> None:
    assert streamed(WORD, DONE) == (Usage(), None)
    assert whole(b"usage: no JSON") == (Usage(), None)
    assert whole(b'{"text": "', b'{\\"usage\\": {\\"prompt_tokens\\": 1}}"}') == (Usage(), None)


# --- failures ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pieces", "failure"),
    [
        ([WORD, USAGE, DONE], None),
        ([WORD, DONE], None),
        ([WORD, FINISH, USAGE], None),
        ([WORD, FINISH], "answer_incomplete"),
        ([WORD], "answer_incomplete"),
        ([], "answer_incomplete"),
        ([b": waiting\n\n"], "answer_incomplete"),
        ([cumulative(1), cumulative(2)], "answer_incomplete"),
        ([WORD, ERROR, DONE], "engine_failed"),
        ([WORD, ERROR], "engine_failed"),
        ([ERROR, *[WORD] * 50, DONE], "engine_failed"),
        ([ERROR.replace(b"500", b"400")], "engine_refused"),
        ([ERROR.replace(b"500", b'"400"')], "engine_refused"),
        ([event(error="out of words")], "engine_failed"),
        ([b"event: error\n" + event(type="error", error={"type": "api_error", "message": "x"})], "engine_failed"),
        ([event(type="error", message="x", code="server_error")], "engine_failed"),
        ([event(type="response.failed", response={"error": {"code": "server_error"}})], "engine_failed"),
        ([event(type="response.incomplete", response={"error": None, "usage": None})], None),
        ([event(type="response.completed", response={"error": None})], None),
        ([event(choices=[], error=None), DONE], None),
        ([WORD, FINISH.replace(b"stop", b"abort"), USAGE, DONE], "answer_incomplete"),
    ],
)  # fmt: skip
def test_a_stream_is_what_it_says_of_itself(pieces: list[bytes], failure: str | None) -> None:
    assert streamed(*pieces)[1] == failure
    assert streamed(*cut(b"".join(pieces), 5))[1] == failure


def test_what_has_no_end_of_its_own_is_not_asked_for_one() -> None:
    assert streamed(WORD, expected=False) == (Usage(), None)
    assert streamed(b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}', expected=False) == (Usage(1, 2), None)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"error": {"message": "no", "code": 500}, "choices": []}, "engine_failed"),
        ({"error": {"message": "no", "code": 404}}, "engine_refused"),
        ({"error": None, "output": []}, None),
        ({"choices": [{"finish_reason": "abort"}], "usage": {"prompt_tokens": 1}}, "answer_incomplete"),
        ({"choices": [{"message": {"content": '"finish_reason":"abort"'}}]}, None),
    ],
)
def test_a_whole_answer_is_what_it_says_of_itself(answer: object, failure: str | None) -> None:
    data = json.dumps(answer).encode()
    assert whole(data)[1] == failure
    assert whole(data[:2], data[2:])[1] == failure


def test_the_first_event_is_found_behind_comments() -> None:
    assert not has_event(b": a\n\n" + ERROR[:-1])
    assert has_event(b": a\n\n" + ERROR)
    assert first_failure(b": a\n\n" + ERROR + WORD) == "engine_failed"
    assert first_failure(WORD + ERROR) is None
    assert first_failure(b"no event") is None
