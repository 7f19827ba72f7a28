"""Anthropic's /v1/messages and its count of tokens: as vLLM does it, a chat in other words."""

import json
from contextlib import aclosing
from typing import Any

from models_app.engines.simulator import generation, prompts, text
from models_app.engines.simulator.context import Context, request_id
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.sampling import number
from models_app.engines.simulator.wire import Reply, Request, event

_STOP = {"length": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


async def create(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/messages requires `max_tokens`, and answers whole or as a stream."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    limit = number(body, "max_tokens")
    if limit is None:
        raise ApiError.invalid("missing", "body.max_tokens", "Field required", f"<dict of {len(body)} items>")
    asked = _as_chat(body)
    prompt = prompts.from_messages(asked)
    call = prompts.tool_call(asked, prompt, context.options)
    name, fixed = call if call is not None else (None, prompts.structured(asked, prompt))
    identity = request_id("chatcmpl", request, body)
    read = [Prompt.of(prompt)]
    choice = generation.prepare(context.engine, read, asked, identity, max_tokens=limit, fixed=fixed, tool=name)[0]
    head: dict[str, Any] = {"id": identity, "type": "message", "role": "assistant", "model": model}
    if body.get("stream"):
        await _stream(choice, head, reply)
        return
    answer = (await generation.collect([choice]))[0]
    await reply.json({**head, "content": [_block(choice, answer)], **_stopped(choice), "usage": _usage(choice)})


async def count_tokens(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/messages/count_tokens counts the tokens of the prompt and generates nothing."""
    body = await request.json()
    generation.check_model(context.engine, body)
    tokens = text.length(prompts.from_messages(_as_chat(body)))
    await reply.json({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}})


async def _stream(choice: Choice, head: dict[str, Any], reply: Reply) -> None:
    await reply.events()
    first = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(choice)}
    opened = False
    async with aclosing(generation.merge([choice])) as arrivals:
        async for _, batch, _ended in arrivals:
            parts = [] if opened else _opening(first, choice)
            opened = True
            parts += [_event("content_block_delta", delta=_delta(choice, piece), index=0) for piece in batch]
            await reply.chunk(b"".join(parts))
    ended = {"stop_sequence": None, **_stopped(choice)}
    tail = _event("content_block_stop", index=0) + _event("message_delta", delta=ended, usage=_usage(choice))
    await reply.end(tail + _event("message_stop"))


def _as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The same conversation, tools and demands in OpenAI's words."""
    chat = {**body, "stop": body.get("stop_sequences")}
    if isinstance(body.get("messages"), list):
        chat["messages"] = [_turn(message) for message in body["messages"]]
    if body.get("tools"):
        chat["tools"] = [
            {"type": "function", "function": {"name": tool.get("name"), "parameters": tool.get("input_schema")}}
            for tool in body["tools"]
        ]
    choice = body.get("tool_choice")
    if choice:
        chat["tool_choice"] = _CHOICES.get(choice["type"]) or {"function": {"name": choice.get("name")}}
    wanted = (body.get("output_config") or {}).get("format")
    if wanted:
        chat["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return chat


def _turn(message: Any) -> Any:
    """A turn; the result of a tool is a turn of the tool's own."""
    parts = message.get("content") if isinstance(message, dict) else None
    if isinstance(parts, list) and any(part.get("type") == "tool_result" for part in parts):
        return {**message, "role": "tool"}
    return message


def _block(choice: Choice, answer: str) -> dict[str, Any]:
    """Words, or the use of a tool where its arguments are whole."""
    if choice.tool is None or choice.finish_reason != "tool_calls":
        return {"type": "text", "text": answer}
    return {**_use(choice.tool), "input": json.loads(answer)}


def _use(tool: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": new_id("chatcmpl-tool"), "name": tool, "input": {}}


def _delta(choice: Choice, piece: str) -> dict[str, str]:
    if choice.tool is None:
        return {"type": "text_delta", "text": piece}
    return {"type": "input_json_delta", "partial_json": piece}


def _opening(message: dict[str, Any], choice: Choice) -> list[bytes]:
    block = {"type": "text", "text": ""} if choice.tool is None else _use(choice.tool)
    return [_event("message_start", message=message), _event("content_block_start", content_block=block, index=0)]


def _event(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


def _stopped(choice: Choice) -> dict[str, str | None]:
    if isinstance(choice.stop_reason, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop_reason}
    return {"stop_reason": _STOP.get(choice.finish_reason, "end_turn")}


def _usage(choice: Choice) -> dict[str, int]:
    sequence = choice.sequence
    if not choice.tells_cached_tokens:
        return {"input_tokens": sequence.prompt_tokens, "output_tokens": sequence.generated}
    return {
        "output_tokens": sequence.generated,
        "cache_read_input_tokens": sequence.cached_tokens,
        "input_tokens": sequence.prompt_tokens - sequence.cached_tokens,
    }
