"""OpenAI's own client: chats, tools, pictures, structure, errors."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from tests.clients.asks import (
    CALL_TOKENS,
    CALLING,
    NO_MODEL,
    PICTURE_BYTES,
    QUESTION,
    SCHEMA,
    Shoal,
    not_supported,
    picture,
    sound,
    turns,
)
from tests.clients.installation import Site

TOOL: Any = {"type": "function", "function": {"name": "find_shoal", "description": QUESTION, "parameters": SCHEMA}}
NAMED: Any = {"type": "function", "function": {"name": "find_shoal"}}


@pytest.fixture
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(base_url=site.url, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(site: Site) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=site.url, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


def test_models_are_listed_and_found(client: OpenAI, site: Site) -> None:
    assert {site.chat, site.embed} <= {card.id for card in client.models.list()}
    assert client.models.retrieve(site.chat).id == site.chat


def test_a_chat_is_answered_and_counted(client: OpenAI, site: Site) -> None:
    answer = client.chat.completions.create(model=site.chat, messages=turns(), max_tokens=8, temperature=0)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI, site: Site) -> None:
    asked: Any = {"model": site.chat, "messages": turns(), "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == whole
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_a_stream_without_the_option_shows_no_usage(client: OpenAI, site: Site) -> None:
    chunks = list(client.chat.completions.create(model=site.chat, messages=turns(), max_tokens=4, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_many_at_once_are_answered_each(async_client: AsyncOpenAI, site: Site) -> None:
    async def ask(number: int) -> str | None:
        messages = turns(f"{QUESTION} {number}")
        answer = await async_client.chat.completions.create(model=site.chat, messages=messages, max_tokens=4)
        return answer.choices[0].message.content

    assert all(await asyncio.gather(*(ask(number) for number in range(8))))


async def test_streams_at_once_do_not_mix(async_client: AsyncOpenAI, site: Site) -> None:
    async def ask() -> tuple[int, set[str]]:
        asked: Any = {"model": site.chat, "messages": turns(), "max_tokens": 12, "extra_body": {"ignore_eos": True}}
        options: Any = {"include_usage": True}
        stream = await async_client.chat.completions.create(**asked, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage is not None
        return chunks[-1].usage.completion_tokens, {chunk.id for chunk in chunks}

    told = await asyncio.gather(*(ask() for _ in range(6)))
    assert [tokens for tokens, _ in told] == [12] * 6
    assert sorted(len(ids) for _, ids in told) == [1] * 6
    assert len(set().union(*(ids for _, ids in told))) == 6


async def test_a_stream_can_be_left(async_client: AsyncOpenAI, site: Site) -> None:
    stream = await async_client.chat.completions.create(
        model=site.chat, messages=turns(), max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
    )
    await anext(aiter(stream))
    await stream.close()
    answer = await async_client.chat.completions.create(model=site.chat, messages=turns(), max_tokens=2)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_tool_is_called_and_its_result_is_taken(client: OpenAI, site: Site, choice: Any) -> None:
    asked: Any = {"model": site.chat, "max_tokens": CALL_TOKENS, "tools": [TOOL], **CALLING}
    said = client.chat.completions.create(messages=turns(), tool_choice=choice, **asked).choices[0].message
    assert said.tool_calls
    call: Any = said.tool_calls[0]
    assert call.function.name == "find_shoal"
    assert Shoal.model_validate_json(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "port"}
    messages: Any = [*turns(), said.model_dump(exclude_none=True), result]
    after = client.chat.completions.create(messages=messages, tool_choice="none", **asked | {"max_tokens": 4})
    assert after.choices[0].message.content


def test_a_streamed_tool_call_comes_together(client: OpenAI, site: Site) -> None:
    asked: Any = {"model": site.chat, "messages": turns(), "max_tokens": CALL_TOKENS, "tools": [TOOL], **CALLING}
    with client.chat.completions.stream(**asked, tool_choice="required") as stream:
        done = stream.get_final_completion()
    assert done.choices[0].finish_reason == "tool_calls"
    [call, *_] = done.choices[0].message.tool_calls or []
    assert call.function.name == "find_shoal"
    assert Shoal.model_validate_json(call.function.arguments)


def test_a_picture_of_eight_mebibytes_is_seen(client: OpenAI, site: Site) -> None:
    image = {"type": "image_url", "image_url": {"url": picture()}}
    assert len(image["image_url"]["url"]) > PICTURE_BYTES  # type: ignore[index]
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, image]}]
    asked: Any = {"model": site.chat, "max_tokens": 4, "temperature": 0}
    seen = client.chat.completions.create(messages=messages, **asked)
    blind = client.chat.completions.create(messages=turns(), **asked)
    assert seen.choices[0].message.content
    assert seen.usage is not None
    assert blind.usage is not None
    assert seen.usage.prompt_tokens > blind.usage.prompt_tokens


def test_an_answer_can_be_held_to_a_schema(client: OpenAI, site: Site) -> None:
    answer = client.chat.completions.parse(
        model=site.chat, messages=turns(), response_format=Shoal, temperature=0, max_tokens=100
    )
    assert isinstance(answer.choices[0].message.parsed, Shoal)


async def test_a_streamed_answer_can_be_held_to_a_schema(async_client: AsyncOpenAI, site: Site) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "shoal", "schema": SCHEMA, "strict": True}}
    asked: Any = {"model": site.chat, "messages": turns(), "temperature": 0, "max_tokens": 100}
    async with async_client.chat.completions.stream(**asked, response_format=wanted) as stream:
        done = await stream.get_final_completion()
    assert Shoal.model_validate_json(done.choices[0].message.content or "")


def test_completions_are_answered_whole_and_streamed(client: OpenAI, site: Site) -> None:
    asked: Any = {"model": site.chat, "prompt": QUESTION, "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**asked)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 6
    streamed = client.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole.choices[0].text


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_texts_are_embedded(client: OpenAI, site: Site, encoding: Any) -> None:
    answer = client.embeddings.create(model=site.embed, input=["one", "two"], encoding_format=encoding)
    assert [row.index for row in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) > 8
    assert answer.usage.prompt_tokens > 0


def test_speech_is_written_down(client: OpenAI, site: Site) -> None:
    try:
        heard = client.audio.transcriptions.create(model=site.chat, file=("a.wav", BytesIO(sound())))
    except openai.APIStatusError as refused:
        not_supported(site.kind, refused.status_code, refused.response.text)
        return
    assert heard.text


def test_refusals_are_the_clients_own_errors(client: OpenAI, site: Site) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model=NO_MODEL, messages=turns())
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.AuthenticationError) as unknown:
        client.with_options(api_key="sk-srdz-nobody").models.list()
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.completions.create(model=site.chat, prompt="xyz " * 4000, max_tokens=4)
    with pytest.raises(openai.BadRequestError, match="temperature must be non-negative"):
        client.chat.completions.create(model=site.chat, messages=turns(), temperature=-1)


def test_every_answer_has_a_request_id(client: OpenAI, site: Site) -> None:
    raw = client.chat.completions.with_raw_response
    answer = raw.create(model=site.chat, messages=turns(), max_tokens=2, extra_headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.parse().model == site.chat
