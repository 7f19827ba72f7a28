"""LiteLLM as a library, as a client of ours."""

from collections.abc import Callable
from functools import partial
from typing import Any

import litellm
import pytest

from tests.clients.asks import CALL_TOKENS, CALLING, NO_MODEL, QUESTION, SCHEMA, Shoal, turns
from tests.clients.installation import Site

TOOL = {"type": "function", "function": {"name": "find_shoal", "description": QUESTION, "parameters": SCHEMA}}


@pytest.fixture
def told(site: Site) -> dict[str, Any]:
    """What each call is told."""
    return {"model": f"openai/{site.chat}", "api_base": site.url, "api_key": site.key, "max_retries": 0, "timeout": 60}


@pytest.fixture
def complete(told: dict[str, Any]) -> Callable[..., Any]:
    return partial(litellm.completion, messages=turns(), temperature=0, **told)


def test_it_completes(complete: Callable[..., Any]) -> None:
    answer = complete(max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 8


def test_it_streams(complete: Callable[..., Any]) -> None:
    chunks = list(complete(max_tokens=8, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == complete(max_tokens=8).choices[0].message.content
    assert litellm.stream_chunk_builder(chunks).usage.completion_tokens == 8


async def test_it_completes_and_streams_asynchronously(told: dict[str, Any]) -> None:
    assert (await litellm.acompletion(messages=turns(), max_tokens=4, **told)).choices[0].message.content
    stream = await litellm.acompletion(messages=turns(), max_tokens=4, stream=True, **told)
    assert len([chunk async for chunk in stream]) > 1


def test_it_calls_tools(complete: Callable[..., Any]) -> None:
    answer = complete(max_tokens=CALL_TOKENS, tools=[TOOL], tool_choice="required", **CALLING)
    [call, *_] = answer.choices[0].message.tool_calls
    assert call.function.name == "find_shoal"
    assert Shoal.model_validate_json(call.function.arguments)


def test_it_embeds(told: dict[str, Any], site: Site) -> None:
    answer = litellm.embedding(
        input=["one", "two"], encoding_format="float", **told | {"model": f"openai/{site.embed}"}
    )
    assert [row["index"] for row in answer.data] == [0, 1]


def test_it_speaks_anthropics_language(told: dict[str, Any], site: Site) -> None:
    own = told | {"model": f"anthropic/{site.chat}", "api_base": site.root}
    assert litellm.completion(messages=turns(), max_tokens=4, **own).choices[0].message.content


def test_refusals_are_its_own_errors(complete: Callable[..., Any]) -> None:
    with pytest.raises(litellm.NotFoundError):
        complete(model=f"openai/{NO_MODEL}")
    with pytest.raises(litellm.AuthenticationError):
        complete(api_key="sk-srdz-nobody")
