"""Anthropic's own client against /v1/messages."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic

from tests.clients.asks import CALL_TOKENS, CALLING, NO_MODEL, QUESTION, SCHEMA, Shoal, picture, turns
from tests.clients.installation import Site

TOOL: Any = {"name": "find_shoal", "description": QUESTION, "input_schema": SCHEMA}


@pytest.fixture
def client(site: Site) -> Iterator[Anthropic]:
    with Anthropic(base_url=site.root, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(site: Site) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=site.root, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


def test_a_message_is_answered_and_counted(client: Anthropic, site: Site) -> None:
    answer = client.messages.create(
        model=site.chat, max_tokens=8, system="Be brief.", messages=turns(), extra_body={"temperature": 0}
    )
    assert answer.content[0].type == "text"
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 8


def test_tokens_are_counted_as_they_are_charged(client: Anthropic, site: Site) -> None:
    counted = client.messages.count_tokens(model=site.chat, messages=turns())
    answer = client.messages.create(model=site.chat, max_tokens=1, messages=turns())
    assert counted.input_tokens == answer.usage.input_tokens > 0


async def test_a_stream_comes_together(async_client: AsyncAnthropic, site: Site) -> None:
    async with async_client.messages.stream(model=site.chat, max_tokens=8, messages=turns()) as stream:
        parts = [text async for text in stream.text_stream]
        done = await stream.get_final_message()
    assert len(parts) > 1
    assert "".join(parts) == done.content[0].text
    assert (done.stop_reason, done.usage.output_tokens) == ("max_tokens", 8)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "find_shoal"}], ids=["any", "named"])
def test_a_tool_is_used_and_its_result_is_taken(client: Anthropic, site: Site, choice: Any) -> None:
    asked: Any = {"model": site.chat, "tools": [TOOL], "extra_body": CALLING}
    said = client.messages.create(messages=turns(), tool_choice=choice, max_tokens=CALL_TOKENS, **asked)
    use = next(block for block in said.content if block.type == "tool_use")
    assert use.name == "find_shoal"
    assert Shoal.model_validate(use.input)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "port"}]}
    history: Any = [*turns(), {"role": "assistant", "content": said.to_dict()["content"]}, result]
    after = client.messages.create(messages=history, tool_choice={"type": "none"}, max_tokens=4, **asked)
    assert after.content[0].type == "text"


def test_a_streamed_tool_use_comes_together(client: Anthropic, site: Site) -> None:
    asked: Any = {"model": site.chat, "tools": [TOOL], "extra_body": CALLING}
    with client.messages.stream(
        messages=turns(), tool_choice={"type": "any"}, max_tokens=CALL_TOKENS, **asked
    ) as stream:
        done = stream.get_final_message()
    assert done.stop_reason == "tool_use"
    use = next(block for block in done.content if block.type == "tool_use")
    assert Shoal.model_validate(use.input)


def test_a_picture_is_seen(client: Anthropic, site: Site) -> None:
    kind, _, data = picture().partition(";base64,")
    source = {"type": "base64", "media_type": kind.removeprefix("data:"), "data": data}
    content = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    messages: Any = [{"role": "user", "content": content}]
    assert client.messages.create(model=site.chat, max_tokens=4, messages=messages).content[0].type == "text"


def test_refusals_are_the_clients_own_errors(client: Anthropic, site: Site) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model=NO_MODEL, max_tokens=4, messages=turns())
    body: Any = missing.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["request_id"] == missing.value.response.headers["x-request-id"]
    with pytest.raises(anthropic.AuthenticationError) as unknown:
        client.with_options(api_key="sk-srdz-nobody").messages.create(model=site.chat, max_tokens=4, messages=turns())
    body = unknown.value.body
    assert body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.BadRequestError) as empty:
        client.messages.create(model=site.chat, max_tokens=4, messages=[])
    assert empty.value.body["type"] == "error"  # type: ignore[index]
