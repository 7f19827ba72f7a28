"""OpenAI's /v1/responses, kept for retrieval, also in the background."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from models_app.engines.simulator import generation, prompts, response_items
from models_app.engines.simulator.context import Context
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.sampling import number
from models_app.engines.simulator.wire import Reply, Request, event

_NO_STORE = (
    "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable these"
    " features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server."
)
Turns = list[dict[str, Any]]


async def create(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/responses answers whole, piece by piece with `stream`, or later with `background`."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    if body.get("background") and not context.stores:
        raise ApiError(_NO_STORE, 400, kind="invalid_request_error", param="background")
    turns = [*_earlier(context, body), *response_items.turns(body)]
    chat = response_items.as_chat(body, turns)
    prompt = prompts.from_messages(chat)
    limit = number(body, "max_output_tokens")
    identity = str(body.get("request_id") or new_id("resp").replace("-", "_", 1))
    call = prompts.tool_call(chat, prompt, context.options)
    name, fixed = call if call is not None else (None, prompts.structured(chat, prompt))
    read = [Prompt.of(prompt)]
    choice = generation.prepare(context.engine, read, body, identity, max_tokens=limit, fixed=fixed, tool=name)[0]
    response = _response(identity, model, body, choice)
    if body.get("stream"):
        await _stream(context, response, turns, choice, reply)
        return
    if body.get("background"):
        response["status"] = "queued"
        context.store(response, turns)
        context.background[identity] = asyncio.ensure_future(_complete(context, response, turns, choice))
        await reply.json(response)
        return
    await _complete(context, response, turns, choice)
    await reply.json(response)


async def retrieve(context: Context, request: Request, reply: Reply) -> None:
    """GET /v1/responses/{id} answers 404 for a response that was not stored."""
    await reply.json(_find(context, request.parameters["id"]))


async def cancel(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/responses/{id}/cancel ends a response in the background, and answers 400 for any other."""
    response = _find(context, request.parameters["id"])
    task = context.background.pop(response["id"], None)
    if task is None or task.done():
        raise ApiError("Cannot cancel a synchronous response.", 400, kind="invalid_request_error", param="response_id")
    task.cancel()
    response["status"] = "cancelled"
    await reply.json(response)


async def _complete(context: Context, response: dict[str, Any], turns: Turns, choice: Choice) -> None:
    response["status"] = "in_progress"
    answer = (await generation.collect([choice]))[0]
    _close(response, choice, response_items.item(choice, answer))
    context.store(response, turns)
    context.background.pop(response["id"], None)


async def _stream(context: Context, response: dict[str, Any], turns: Turns, choice: Choice, reply: Reply) -> None:
    number = 0

    def tell(kind: str, **fields: Any) -> bytes:
        nonlocal number
        told = event({**fields, "sequence_number": number, "type": kind}, kind)
        number += 1
        return told

    await reply.events()
    begun = response_items.begun(choice)
    await reply.chunk(
        tell("response.created", response=response)
        + tell("response.in_progress", response=response)
        + tell("response.output_item.added", item=begun, output_index=0)
    )
    text = await _flow(choice, begun["id"], tell, reply)
    done = response_items.item(choice, text, begun)
    _close(response, choice, done)
    context.store(response, turns)
    await reply.end(
        tell("response.output_item.done", item=done, output_index=0) + tell("response.completed", response=response)
    )


async def _flow(choice: Choice, item_id: str, tell: Callable[..., bytes], reply: Reply) -> str:
    """Tell the words or the arguments as they come; returns all of them."""
    where: dict[str, Any] = {"item_id": item_id, "output_index": 0}
    if choice.tool is not None:
        kind = "response.function_call_arguments"
        text = await _deltas(choice, reply, lambda piece: tell(f"{kind}.delta", delta=piece, **where))
        await reply.chunk(tell(f"{kind}.done", arguments=text, name=choice.tool, **where))
        return text
    kind, where["content_index"] = "response.output_text", 0
    await reply.chunk(tell("response.content_part.added", part=response_items.part(""), **where))
    text = await _deltas(choice, reply, lambda piece: tell(f"{kind}.delta", delta=piece, logprobs=[], **where))
    await reply.chunk(
        tell(f"{kind}.done", text=text, logprobs=[], **where)
        + tell("response.content_part.done", part=response_items.part(text), **where)
    )
    return text


async def _deltas(choice: Choice, reply: Reply, told: Callable[[str], bytes]) -> str:
    pieces: list[str] = []
    async with aclosing(generation.merge([choice])) as arrivals:
        async for _, batch, _ended in arrivals:
            pieces += batch
            await reply.chunk(b"".join(told(piece) for piece in batch))
    return "".join(pieces)


def _earlier(context: Context, body: dict[str, Any]) -> Turns:
    """The turns of the response that this one continues, and what was answered; instructions do not carry over."""
    previous = body.get("previous_response_id")
    if previous is None:
        return []
    response = _find(context, previous)
    return [*context.conversations[previous], *response_items.turns({"input": response["output"]})]


def _find(context: Context, identity: str) -> dict[str, Any]:
    response = context.responses.get(identity)
    if response is None:
        message = f"Response with id '{identity}' not found."
        raise ApiError(message, 404, kind="invalid_request_error", param="response_id")
    return response


def _close(response: dict[str, Any], choice: Choice, item: dict[str, Any]) -> None:
    cut = choice.finish_reason == "length"
    response["output"] = [item]
    response["status"] = "incomplete" if cut else "cancelled" if choice.finish_reason == "abort" else "completed"
    response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
    sequence = choice.sequence
    response["usage"] = {
        "input_tokens": sequence.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": sequence.cached_tokens,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": sequence.generated,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": sequence.prompt_tokens + sequence.generated,
    }


def _response(identity: str, model: str, body: dict[str, Any], choice: Choice) -> dict[str, Any]:
    limit = body.get("max_output_tokens")
    return {
        "id": identity,
        "created_at": int(time.time()),
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata"),
        "model": model,
        "object": "response",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": body.get("tool_choice", "auto") if body.get("tools") else "none",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "background": bool(body.get("background")),
        "max_output_tokens": len(choice.sequence.pieces) if limit is None else limit,
        "max_tool_calls": None,
        "previous_response_id": body.get("previous_response_id"),
        "prompt": None,
        "reasoning": None,
        "service_tier": "auto",
        "status": "in_progress",
        "text": body.get("text"),
        "top_logprobs": None,
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }
