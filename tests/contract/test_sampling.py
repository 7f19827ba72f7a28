"""What a caller may ask for beside the words: log-probabilities, tokens as numbers, beams, and what is refused."""

from typing import Any

import httpx2
import pytest

from tests.contract.engines import Engine
from tests.contract.sse import chat, events

_FOUR = {"max_tokens": 4, "ignore_eos": True}
_CHAT = "/v1/chat/completions"
_COMPLETION = "/v1/completions"


def completion(prompt: Any, **more: Any) -> dict[str, Any]:
    """The body of a completion."""
    return {"model": "sprat", "prompt": prompt, "temperature": 0, **_FOUR, **more}


def counted(engine: Engine) -> tuple[float, float]:
    """Prompt and generated tokens as the engine counts them."""
    return engine.gauge("prompt_tokens_total"), engine.gauge("generation_tokens_total")


@pytest.mark.parametrize("count", [0, 1])
def test_a_prompt_is_rated_from_its_second_token_on(client: httpx2.Client, count: int) -> None:
    answer = client.post(_CHAT, json=chat("hello", prompt_logprobs=count, **_FOUR)).json()
    first, *others = answer["prompt_logprobs"]
    assert first is None
    assert len(others) == answer["usage"]["prompt_tokens"] - 1
    for rated in others:
        assert 1 <= len(rated) <= 1 + count
        assert {frozenset(one) for one in rated.values()} == {frozenset({"logprob", "rank", "decoded_token"})}
    text = client.post(_COMPLETION, json=completion("over and over", prompt_logprobs=count)).json()
    assert len(text["choices"][0]["prompt_logprobs"]) == text["usage"]["prompt_tokens"]


def test_tokens_come_as_numbers(client: httpx2.Client) -> None:
    body = chat("hello", return_token_ids=True, **_FOUR)
    answer = client.post(_CHAT, json=body).json()
    asked = client.post("/tokenize", json={"model": "sprat", "messages": body["messages"]}).json()
    assert answer["prompt_token_ids"] == asked["tokens"]
    assert len(answer["choices"][0]["token_ids"]) == 4
    text = client.post(_COMPLETION, json=completion("over", return_token_ids=True)).json()["choices"][0]
    assert (
        text["prompt_token_ids"] == client.post("/tokenize", json={"model": "sprat", "prompt": "over"}).json()["tokens"]
    )
    assert len(text["token_ids"]) == 4


def test_a_streams_first_piece_has_the_prompts_tokens(client: httpx2.Client) -> None:
    body = chat("hello", stream=True, return_token_ids=True, **_FOUR)
    with client.stream("POST", _CHAT, json=body) as answer:
        first, *others, end = events(answer)
    whole = client.post(_CHAT, json={**body, "stream": False}).json()
    assert end == "[DONE]"
    assert first["prompt_token_ids"] == whole["prompt_token_ids"]
    streamed = [token for piece in others for token in piece["choices"][0]["token_ids"]]
    assert streamed == whole["choices"][0]["token_ids"]


@pytest.mark.parametrize(("given", "tokens"), [(list(range(6, 256)), 250), ([[7, 8, 9], [7, 8]], 5)])
def test_tokens_count_as_they_were_given(client: httpx2.Client, given: list[Any], tokens: int) -> None:
    usage = client.post(_COMPLETION, json=completion(given)).json()["usage"]
    assert usage["prompt_tokens"] == tokens


def test_sampled_tokens_are_rated(client: httpx2.Client) -> None:
    rated = client.post(_CHAT, json=chat("hello", logprobs=True, top_logprobs=2, **_FOUR)).json()
    content = rated["choices"][0]["logprobs"]["content"]
    assert [len(each["top_logprobs"]) for each in content] == [2] * 4
    for each in content:
        assert each["logprob"] == each["top_logprobs"][0]["logprob"]
        assert each["top_logprobs"][0]["logprob"] >= each["top_logprobs"][1]["logprob"]
    numbers = chat("hello", logprobs=True, return_tokens_as_token_ids=True, return_token_ids=True, **_FOUR)
    choice = client.post(_CHAT, json=numbers).json()["choices"][0]
    shown = [each["token"] for each in choice["logprobs"]["content"]]
    assert shown == [f"token_id:{token}" for token in choice["token_ids"]]


def test_a_completion_rates_what_it_repeats_except_for_the_first(client: httpx2.Client) -> None:
    answer = client.post(_COMPLETION, json=completion("over and over", echo=True, logprobs=1)).json()
    rated, usage = answer["choices"][0]["logprobs"], answer["usage"]
    assert {len(rated[name]) for name in rated} == {usage["total_tokens"]}
    assert rated["token_logprobs"][0] is None
    assert None not in rated["token_logprobs"][1:]
    assert rated["text_offset"][:2] == [0, len(rated["tokens"][0])]


def test_a_repeated_prompt_alone_costs_one_token_that_is_not_shown(client: httpx2.Client) -> None:
    body = completion("over and over", echo=True, max_tokens=0)
    answer = client.post(_COMPLETION, json=body).json()
    assert answer["choices"][0]["text"] == "over and over"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 1
    stream = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with client.stream("POST", _COMPLETION, json=stream) as answered:
        piece, usage, _ = events(answered)
    assert piece["choices"][0]["text"] == "over and over"
    assert piece["choices"][0]["prompt_token_ids"]
    assert usage["usage"]["completion_tokens"] == 1


def test_a_repeated_prompt_is_left_out_where_tokens_are_wanted(client: httpx2.Client) -> None:
    answer = client.post(_COMPLETION, json=completion("over and over", echo=True, return_token_ids=True)).json()
    assert not answer["choices"][0]["text"].startswith("over and over")


def test_running_usage_starts_with_the_role(client: httpx2.Client) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    with client.stream("POST", _CHAT, json=chat("go", stream=True, stream_options=options, **_FOUR)) as answer:
        role, *pieces, last, _ = events(answer)
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert role["usage"]["completion_tokens"] == 0
    assert {each["usage"]["prompt_tokens"] for each in (role, *pieces, last)} == {role["usage"]["prompt_tokens"]}
    so_far = [each["usage"]["completion_tokens"] for each in pieces]
    assert so_far == sorted(so_far)
    assert so_far[-1] == last["usage"]["completion_tokens"] == 4


def test_running_usage_needs_usage_at_the_end(client: httpx2.Client) -> None:
    body = chat("go", stream=True, stream_options={"continuous_usage_stats": True}, **_FOUR)
    with client.stream("POST", _CHAT, json=body) as answer:
        assert not any(each.get("usage") for each in events(answer) if each != "[DONE]")


def test_each_of_several_answers_counts_its_prompt_in_running_usage(client: httpx2.Client) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = chat("go", stream=True, n=2, stream_options=options, **_FOUR) | {"temperature": 1}
    with client.stream("POST", _CHAT, json=body) as answer:
        *pieces, last, _ = events(answer)
    prompts = {each["usage"]["prompt_tokens"] for each in (*pieces, last)}
    assert len(prompts) == 1
    assert last["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_beams_are_counted_once_and_computed_many_times(client: httpx2.Client, engine: Engine, beams: int) -> None:
    before = counted(engine)
    body = chat("hello", use_beam_search=True, n=beams, **_FOUR)
    answer = client.post(_CHAT, json=body).json()
    after = counted(engine)
    read = answer["usage"]["prompt_tokens"]
    assert [choice["index"] for choice in answer["choices"]] == list(range(beams))
    assert answer["usage"]["completion_tokens"] == 4 * beams
    # One request for the first token, then one for each beam and step, each reading all that came before.
    assert after[0] - before[0] == read + beams * sum(read + step for step in (1, 2, 3))
    assert after[1] - before[1] == 1 + beams * 3


def test_beams_are_streamed_whole_in_chats_and_refused_in_completions(client: httpx2.Client) -> None:
    options = {"include_usage": True}
    body = chat("hello", use_beam_search=True, n=2, stream=True, stream_options=options, **_FOUR)
    with client.stream("POST", _CHAT, json=body) as answer:
        *pieces, usage, _ = events(answer)
    assert [piece["choices"][0]["finish_reason"] for piece in pieces] == [None, None, "length", "length"]
    assert usage["usage"]["completion_tokens"] == 8
    refused = client.post(_COMPLETION, json=completion("over", use_beam_search=True, n=2, stream=True))
    assert refused.status_code == 400


def test_a_prompt_can_be_cut_to_its_last_tokens(client: httpx2.Client) -> None:
    body = chat("hello", return_token_ids=True, **_FOUR)
    whole = client.post(_CHAT, json=body).json()["prompt_token_ids"]
    cut = client.post(_CHAT, json={**body, "truncate_prompt_tokens": 3}).json()
    assert cut["prompt_token_ids"] == whole[-3:]
    assert cut["usage"]["prompt_tokens"] == 3


def test_a_stop_token_is_counted_and_not_shown(client: httpx2.Client) -> None:
    body = chat("hello", return_token_ids=True, max_tokens=4, ignore_eos=True)
    tokens = client.post(_CHAT, json=body).json()["choices"][0]["token_ids"]
    stopped = client.post(_CHAT, json={**body, "stop_token_ids": [tokens[1]]}).json()
    place = tokens.index(tokens[1]) + 1
    assert stopped["usage"]["completion_tokens"] == place
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert stopped["choices"][0]["stop_reason"] == tokens[1]


REFUSED_CHATS = {
    "alternatives without ratings": {"top_logprobs": 2},
    "too many alternatives": {"logprobs": True, "top_logprobs": 21},
    "every alternative": {"logprobs": True, "top_logprobs": -1},
    "ratings that are no flag": {"logprobs": 3},
    "a rated prompt in a stream": {"prompt_logprobs": 1, "stream": True},
    "stream options without a stream": {"stream_options": {"include_usage": True}},
    "no answer": {"n": 0},
    "fewer than no answers": {"n": -1},
    "answers that are no number": {"n": "x"},
    "a longer least than most": {"min_tokens": 9},
    "a negative least": {"min_tokens": -1},
    "a top_k below -1": {"top_k": -5},
    "a min_p above 1": {"min_p": 3},
    "no repetition penalty": {"repetition_penalty": 0},
    "a presence penalty above 2": {"presence_penalty": 9},
    "a frequency penalty below -2": {"frequency_penalty": -3},
    "a temperature in words": {"temperature": "hot"},
    "an empty stop": {"stop": ""},
    "an empty stop among others": {"stop": ["a", ""]},
    "a stop that is a number": {"stop": 7},
    "an empty bad word": {"bad_words": [""]},
    "an empty salt": {"cache_salt": ""},
    "a bias of no token": {"logit_bias": {"x": 1}},
    "no token allowed": {"allowed_token_ids": []},
    "a token allowed that is not there": {"allowed_token_ids": [10**9]},
    "a prompt cut to nothing": {"truncate_prompt_tokens": 0},
    "a prompt cut below nothing": {"truncate_prompt_tokens": -2},
    "an unknown response format": {"response_format": {"type": "poem"}},
    "two constraints": {"structured_outputs": {"regex": "a", "choice": ["a"]}},
    "a turn that goes on and begins": {"continue_final_message": True},
}
REFUSED_COMPLETIONS = {
    "a suffix": {"suffix": "x"},
    "nothing to make": {"max_tokens": 0},
    "too many alternatives": {"logprobs": 21},
    "a token below zero": {"prompt": [-1]},
    "a token that is not there": {"prompt": [10**9]},
    "texts and tokens": {"prompt": ["a", [7]]},
    "no prompt": {"prompt": []},
    "embeddings for a prompt": {"prompt_embeds": "AAAA"},
}


@pytest.mark.parametrize("name", REFUSED_CHATS)
def test_a_chat_that_cannot_be_is_refused(client: httpx2.Client, name: str) -> None:
    answer = client.post(_CHAT, json=chat("hello", **{**_FOUR, **REFUSED_CHATS[name]}))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


@pytest.mark.parametrize("name", REFUSED_COMPLETIONS)
def test_a_completion_that_cannot_be_is_refused(client: httpx2.Client, name: str) -> None:
    answer = client.post(_COMPLETION, json=completion(**{"prompt": "over", **REFUSED_COMPLETIONS[name]}))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400
