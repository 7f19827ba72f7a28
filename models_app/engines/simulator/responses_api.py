"""OpenAI's /v1/responses, kept for retrieval, also in the background."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

from models_app.engines.simulator import generation, prompts
from models_app.engines.simulator.context import Context
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.wire import Reply, Request, event

_NO_STORE = (
    "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable these"
    " features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server."
)


async def create(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/responses."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    prompt = prompts.from_messages({"messages": _messages(body)})
    limit = generation.number(body, "max_output_tokens")
    if body.get("background") and not context.stores:
        raise ApiError(_NO_STORE, 400, kind="invalid_request_error", param="background")
    identity = str(body.get("request_id") or new_id("resp").replace("-", "_", 1))
    fixed = prompts.structured({"response_format": _format(body)}, prompt)
    choice = generation.prepare(context.engine, [prompt], body, identity, max_tokens=limit, fixed=fixed)[0]
    response = _response(identity, model, body, choice)
    if body.get("stream"):
        await _stream(context, response, choice, reply)
        return
    if body.get("background"):
        response["status"] = "queued"
        context.store(response)
        context.background[identity] = asyncio.ensure_future(_complete(context, response, choice))
        await reply.json(response)
        return
    await _complete(context, response, choice)
    await reply.json(response)


async def retrieve(context: Context, request: Request, reply: Reply) -> None:
    """GET /v1/responses/{id}."""
    await reply.json(_find(context, request))


async def cancel(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/responses/{id}/cancel."""
    response = _find(context, request)
    task = context.background.pop(response["id"], None)
    if task is None or task.done():
        raise ApiError("Cannot cancel a synchronous response.", 400, kind="invalid_request_error", param="response_id")
    task.cancel()
    response["status"] = "cancelled"
    await reply.json(response)


async def _complete(context: Context, response: dict[str, Any], choice: Choice) -> None:
    response["status"] = "in_progress"
    answer = (await generation.collect([choice]))[0]
    _close(response, choice, answer)
    context.store(response)
    context.background.pop(response["id"], None)


async def _stream(context: Context, response: dict[str, Any], choice: Choice, reply: Reply) -> None:
    number = 0

    def tell(kind: str, **fields: Any) -> bytes:
        nonlocal number
        told = event({**fields, "sequence_number": number, "type": kind}, kind)
        number += 1
        return told

    await reply.events()
    item = _item()
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    await reply.chunk(
        tell("response.created", response=response)
        + tell("response.in_progress", response=response)
        + tell("response.output_item.added", item={**item, "status": "in_progress"}, output_index=0)
        + tell("response.content_part.added", part=_part(""), **where)
    )
    answer: list[str] = []
    async with aclosing(generation.merge([choice])) as arrivals:
        async for _, batch, _ended in arrivals:
            answer += batch
            told = [tell("response.output_text.delta", delta=piece, logprobs=[], **where) for piece in batch]
            await reply.chunk(b"".join(told))
    text = "".join(answer)
    _close(response, choice, text, item)
    context.store(response)
    await reply.end(
        tell("response.output_text.done", text=text, logprobs=[], **where)
        + tell("response.content_part.done", part=_part(text), **where)
        + tell("response.output_item.done", item=response["output"][0], output_index=0)
        + tell("response.completed", response=response)
    )


def _find(context: Context, request: Request) -> dict[str, Any]:
    identity = request.parameters["id"]
    response = context.responses.get(identity)
    if response is None:
        message = f"Response with id '{identity}' not found."
        raise ApiError(message, 404, kind="invalid_request_error", param="response_id")
    return response


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    if given is None:
        raise ApiError.invalid("missing", "body.input", "Field required", f"<dict of {len(body)} items>")
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    instructions = body.get("instructions")
    return ([{"role": "system", "content": instructions}] if instructions else []) + turns


def _format(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted: dict[str, Any] | None = (body.get("text") or {}).get("format")
    if wanted and wanted.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": wanted}
    return wanted


def _item() -> dict[str, Any]:
    identity = new_id("msg").replace("-", "_", 1)
    return {"id": identity, "content": [], "role": "assistant", "status": "completed", "type": "message", "phase": None}


def _part(text: str) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": None}


def _close(response: dict[str, Any], choice: Choice, answer: str, item: dict[str, Any] | None = None) -> None:
    cut = choice.finish_reason == "length"
    response["output"] = [{**(item or _item()), "content": [_part(answer)]}]
    response["status"] = "incomplete" if cut else "cancelled" if choice.finish_reason == "abort" else "completed"
    response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
    sequence = choice.sequence
    response["usage"] = {
        "input_tokens": sequence.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "input_tokens_per_turn": [], "cached_tokens_per_turn": []},
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
        "tool_choice": "none",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "background": bool(body.get("background")),
        "max_output_tokens": len(choice.sequence.pieces)
        if body.get("max_output_tokens") is None
        else body["max_output_tokens"],
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
