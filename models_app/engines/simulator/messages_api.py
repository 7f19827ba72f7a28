"""Anthropic's /v1/messages and its count of tokens."""

from contextlib import aclosing
from typing import Any

from models_app.engines.simulator import generation, prompts, text
from models_app.engines.simulator.context import Context, request_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.wire import Reply, Request, event

_STOP = {"length": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn"}


async def create(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/messages."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    limit = generation.number(body, "max_tokens")
    if limit is None:
        raise ApiError.invalid("missing", "body.max_tokens", "Field required", f"<dict of {len(body)} items>")
    prompt = prompts.from_messages({**body, "tools": None})
    asked = {**body, "stop": body.get("stop_sequences")}
    identity = request_id("chatcmpl", request, body)
    choice = generation.prepare(context.engine, [prompt], asked, identity, max_tokens=limit)[0]
    head: dict[str, Any] = {"id": identity, "type": "message", "role": "assistant", "model": model}
    if body.get("stream"):
        await _stream(choice, head, reply)
        return
    answer = (await generation.collect([choice]))[0]
    content = [{"type": "text", "text": answer}]
    await reply.json({**head, "content": content, **_stopped(choice), "usage": _usage(choice)})


async def count_tokens(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/messages/count_tokens."""
    body = await request.json()
    generation.check_model(context.engine, body)
    tokens = text.length(prompts.from_messages({**body, "tools": None}))
    await reply.json({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}})


async def _stream(choice: Choice, head: dict[str, Any], reply: Reply) -> None:
    await reply.events()
    first = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(choice)}
    opened = False
    async with aclosing(generation.merge([choice])) as arrivals:
        async for _, batch, _ended in arrivals:
            parts = [] if opened else _opening(first)
            opened = True
            for piece in batch:
                delta = {"type": "text_delta", "text": piece}
                parts.append(_event("content_block_delta", delta=delta, index=0))
            await reply.chunk(b"".join(parts))
    ended = {"stop_sequence": None, **_stopped(choice)}
    tail = _event("content_block_stop", index=0) + _event("message_delta", delta=ended, usage=_usage(choice))
    await reply.end(tail + _event("message_stop"))


def _opening(message: dict[str, Any]) -> list[bytes]:
    block = {"type": "text", "text": ""}
    return [_event("message_start", message=message), _event("content_block_start", content_block=block, index=0)]


def _event(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


def _stopped(choice: Choice) -> dict[str, str | None]:
    if choice.stop_reason is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop_reason}
    return {"stop_reason": _STOP.get(choice.finish_reason, "end_turn")}


def _usage(choice: Choice) -> dict[str, int]:
    return {"input_tokens": choice.sequence.prompt_tokens, "output_tokens": choice.sequence.generated}
