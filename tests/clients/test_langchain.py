"""LangChain, as its users set it up for a server of their own."""

from typing import Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.asks import CALL_TOKENS, CALLING, QUESTION, Shoal
from tests.clients.installation import Site


@tool
def find_shoal(side: Literal["port", "starboard"], near: bool) -> str:
    """Where the shoal is."""
    return f"{side} {near}"


@pytest.fixture
def chat(site: Site) -> ChatOpenAI:
    return ChatOpenAI(
        model=site.chat,
        base_url=site.url,
        api_key=site.key,
        max_retries=0,
        timeout=60,
        max_tokens=CALL_TOKENS,
        **CALLING,
    )  # type: ignore[call-arg, arg-type]


def test_it_invokes(chat: ChatOpenAI) -> None:
    answer = chat.invoke(QUESTION, max_tokens=8)
    assert answer.content
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 8


async def test_it_streams(chat: ChatOpenAI) -> None:
    parts = [chunk async for chunk in chat.astream(QUESTION, max_tokens=8)]
    assert len([part for part in parts if part.content]) > 1
    whole = await chat.ainvoke(QUESTION, max_tokens=8)
    assert "".join(str(part.content) for part in parts) == whole.content


async def test_it_batches(chat: ChatOpenAI) -> None:
    answers = await chat.abatch([QUESTION, "And now?"], max_tokens=4)
    assert all(answer.content for answer in answers)


def test_it_calls_tools(chat: ChatOpenAI) -> None:
    said = chat.bind_tools([find_shoal], tool_choice="any").invoke(QUESTION)
    assert isinstance(said, AIMessage)
    [call, *_] = said.tool_calls
    assert call["name"] == "find_shoal"
    result = find_shoal.invoke(call)
    assert isinstance(result, ToolMessage)
    history = [HumanMessage(QUESTION), said, result]
    after = chat.bind_tools([find_shoal], tool_choice="none").invoke(history, max_tokens=4)
    assert after.content


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_it_reads_structure(chat: ChatOpenAI, method: Literal["json_schema", "function_calling"]) -> None:
    assert isinstance(chat.with_structured_output(Shoal, method=method).invoke(QUESTION), Shoal)


def test_it_embeds(site: Site) -> None:
    # The default sends tokens of OpenAI's own vocabulary.
    embeddings = OpenAIEmbeddings(
        model=site.embed, base_url=site.url, api_key=site.key, check_embedding_ctx_length=False, max_retries=0
    )  # type: ignore[call-arg, arg-type]
    one, other = embeddings.embed_documents(["one", "two"])
    assert len(one) == len(other) == len(embeddings.embed_query("one")) > 8
