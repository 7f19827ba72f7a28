"""OpenAI's own client: responses, streamed, kept, continued and cancelled."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from tests.clients.asks import CALL_TOKENS, CALLING, QUESTION, SCHEMA, Shoal
from tests.clients.installation import Site

TOOL: Any = {"type": "function", "name": "find_shoal", "description": QUESTION, "parameters": SCHEMA, "strict": True}


@pytest.fixture
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(base_url=site.url, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(site: Site) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=site.url, api_key=site.key, max_retries=0, timeout=60) as client:
        yield client


def test_a_response_is_made(client: OpenAI, site: Site) -> None:
    made = client.responses.create(model=site.chat, input=QUESTION, max_output_tokens=8, temperature=0)
    assert made.output_text
    assert made.usage is not None
    assert made.usage.output_tokens == 8
    assert made.usage.total_tokens == made.usage.input_tokens + 8


def test_a_response_is_found_again_by_whoever_asks(client: OpenAI, site: Site) -> None:
    """Several engines and several gateways: only one engine has it, and no gateway may have to be the same."""
    made = [client.responses.create(model=site.chat, input=QUESTION, max_output_tokens=4) for _ in range(4)]
    for each in made:
        with OpenAI(base_url=site.url, api_key=site.key, max_retries=0) as other:  # on a connection of its own
            assert other.responses.retrieve(each.id).output_text == each.output_text


async def test_a_response_streams_from_created_to_completed(async_client: AsyncOpenAI, site: Site) -> None:
    stream = await async_client.responses.create(model=site.chat, input=QUESTION, max_output_tokens=8, stream=True)
    events = [event async for event in stream]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    kept = await async_client.responses.retrieve(events[-1].response.id)
    assert kept.output_text == text


def test_a_response_continues_an_earlier_one(client: OpenAI, site: Site) -> None:
    first = client.responses.create(model=site.chat, input=QUESTION, max_output_tokens=4)
    second = client.responses.create(
        model=site.chat, input="And now?", max_output_tokens=4, previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_response_can_be_held_to_a_schema(client: OpenAI, site: Site) -> None:
    made = client.responses.parse(
        model=site.chat, input=QUESTION, text_format=Shoal, temperature=0, max_output_tokens=100
    )
    assert isinstance(made.output_parsed, Shoal)


def test_a_response_calls_a_tool(client: OpenAI, site: Site) -> None:
    asked: Any = {"model": site.chat, "tools": [TOOL], "extra_body": CALLING}
    made = client.responses.create(input=QUESTION, tool_choice="required", max_output_tokens=CALL_TOKENS, **asked)
    call = next(item for item in made.output if item.type == "function_call")
    assert call.name == "find_shoal"
    assert Shoal.model_validate_json(call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "port"}
    history: Any = [{"role": "user", "content": QUESTION}, call.model_dump(exclude_none=True), result]
    after = client.responses.create(input=history, tool_choice="none", max_output_tokens=4, **asked)
    assert after.output_text


def test_a_streamed_tool_call_comes_together(client: OpenAI, site: Site) -> None:
    stream = client.responses.create(
        model=site.chat,
        input=QUESTION,
        tools=[TOOL],
        tool_choice="required",
        max_output_tokens=CALL_TOKENS,
        stream=True,
        extra_body=CALLING,
    )
    events = list(stream)
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    parts = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(parts) == done.arguments
    assert Shoal.model_validate_json(done.arguments)


def test_a_response_in_the_background_is_cancelled(client: OpenAI, site: Site) -> None:
    made = client.responses.create(
        model=site.chat, input=QUESTION, max_output_tokens=1500, background=True, extra_body={"ignore_eos": True}
    )
    assert made.status in ("queued", "in_progress")
    assert client.responses.cancel(made.id).status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"


def test_a_response_that_nobody_made_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_of_nobody")
