"""/v1/chat/completions and /v1/completions."""

import time
from contextlib import aclosing
from typing import Any

from models_app.engines.simulator import generation, prompts
from models_app.engines.simulator.context import FINGERPRINT, Context, request_id
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.wire import Reply, Request, event

_NO_DETAILS = {"prompt_tokens_details": None, "completion_tokens_details": None}
_NO_TRANSFER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
_MESSAGE = {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning": None}


async def chat(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/chat/completions."""
    body = await request.json()
    prompt = prompts.from_messages(body)
    model = generation.check_model(context.engine, body)
    call = prompts.tool_call(body, prompt, context.options)
    name, fixed = call if call is not None else (None, prompts.structured(body, prompt))
    choices = generation.prepare(
        context.engine,
        [prompt],
        body,
        request_id("chatcmpl", request, body),
        max_tokens=generation.number(body, "max_completion_tokens", "max_tokens"),
        fixed=fixed,
        tool=name,
    )
    head = {"id": request_id("chatcmpl", request, body), "created": int(time.time()), "model": model}
    head["id"] = choices[0].sequence.request_id if len(choices) == 1 else head["id"]
    if body.get("stream"):
        await _stream_chat(context, body, choices, head, reply)
        return
    texts = await generation.collect(choices)
    await reply.json(
        {
            "id": head["id"],
            "object": "chat.completion",
            "created": head["created"],
            "model": model,
            "choices": [_chat_choice(choice, text) for choice, text in zip(choices, texts, strict=True)],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": _NO_DETAILS | generation.usage(choices).as_openai(),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            **_NO_TRANSFER,
        }
    )


async def completions(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/completions."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    given = prompts.from_completion(body)
    limit = generation.number(body, "max_tokens")
    fixed = prompts.structured(body, given[0])
    identity = request_id("cmpl", request, body)
    choices = generation.prepare(
        context.engine, given, body, identity, max_tokens=16 if limit is None else limit, fixed=fixed
    )
    head = {"id": identity, "created": int(time.time()), "model": model}
    if body.get("stream"):
        await _stream_completions(context, body, choices, head, reply)
        return
    texts = await generation.collect(choices)
    echo = [prompt for prompt in given for _ in range(len(choices) // len(given))] if body.get("echo") else None
    await reply.json(
        {
            "id": identity,
            "object": "text_completion",
            "created": head["created"],
            "model": model,
            "choices": [
                _text_choice(choice, (echo[place] if echo else "") + text)
                for place, (choice, text) in enumerate(zip(choices, texts, strict=True))
            ],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": _NO_DETAILS | generation.usage(choices).as_openai(),
            **_NO_TRANSFER,
        }
    )


async def _stream_chat(
    context: Context, body: dict[str, Any], choices: list[Choice], head: dict[str, Any], reply: Reply
) -> None:
    shared = {"id": head["id"], "object": "chat.completion.chunk", **_tail(head)}
    continuous = _continuous(body)
    calls = {choice.index: new_id("chatcmpl-tool") for choice in choices if choice.tool is not None}

    def chunk(choice: Choice, delta: dict[str, Any], **more: Any) -> bytes:
        entry = {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        counted = {"usage": generation.usage([choice]).as_openai()} if continuous else {}
        return event({**shared, "choices": [entry], **counted})

    await reply.events()  # vLLM sends the head at once, even while the engine sleeps
    opened = False
    async with aclosing(generation.merge(choices)) as arrivals:
        async for choice, batch, ended in arrivals:
            parts = [] if opened else [_first_chat(shared, each) for each in choices]
            opened = True
            for place, piece in enumerate(batch):
                delta: dict[str, Any] = {"content": piece}
                if choice.tool is not None:
                    delta = _call_delta(choice, calls[choice.index], piece, choice.sequence, place, len(batch))
                last = ended and place == len(batch) - 1
                more = {"finish_reason": choice.finish_reason, "stop_reason": choice.stop_reason} if last else {}
                parts.append(chunk(choice, delta, **more, token_ids=None))
            if ended and not batch:
                parts.append(chunk(choice, {"content": ""}, finish_reason=choice.finish_reason, stop_reason=None))
            await reply.chunk(b"".join(parts))
    await _end_stream(context, body, choices, shared, reply)


async def _stream_completions(
    context: Context, body: dict[str, Any], choices: list[Choice], head: dict[str, Any], reply: Reply
) -> None:
    shared = {"id": head["id"], "object": "text_completion", **_tail(head)}
    continuous = _continuous(body)
    await reply.events()
    async with aclosing(generation.merge(choices)) as arrivals:
        async for choice, batch, ended in arrivals:
            parts = []
            for place, piece in enumerate(batch or [""]):
                last = ended and place == max(len(batch) - 1, 0)
                entry = {
                    "index": choice.index,
                    "text": piece,
                    "logprobs": None,
                    "finish_reason": choice.finish_reason if last else None,
                    "stop_reason": choice.stop_reason if last else None,
                    "prompt_token_ids": None,
                    "token_ids": None,
                }
                counted = {"usage": generation.usage([choice]).as_openai()} if continuous else {}
                parts.append(event({**shared, "choices": [entry], **counted}))
            await reply.chunk(b"".join(parts))
    await _end_stream(context, body, choices, shared, reply)


async def _end_stream(
    context: Context, body: dict[str, Any], choices: list[Choice], shared: dict[str, Any], reply: Reply
) -> None:
    """The usage chunk where wanted, and the end mark."""
    tail = b""
    if context.options.force_usage or (body.get("stream_options") or {}).get("include_usage"):
        usage = generation.usage(choices).as_openai()
        tail = event({**shared, "choices": [], "usage": usage, "system_fingerprint": FINGERPRINT})
    await reply.end(tail + b"data: [DONE]\n\n")


def _chat_choice(choice: Choice, answer: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer, **_MESSAGE}
    if choice.tool is not None:
        function = {"name": choice.tool, "arguments": answer}
        message["content"] = None
        message["tool_calls"] = [{"id": new_id("chatcmpl-tool"), "type": "function", "function": function}]
    return {
        "index": choice.index,
        "message": message,
        "logprobs": None,
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": None,
        "routed_experts": None,
    }


def _text_choice(choice: Choice, answer: str) -> dict[str, Any]:
    return {
        "index": choice.index,
        "text": answer,
        "logprobs": None,
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "routed_experts": None,
    }


def _first_chat(shared: dict[str, Any], choice: Choice) -> bytes:
    entry = {
        "index": choice.index,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    return event({**shared, "choices": [entry], "prompt_token_ids": None, "prompt_text": None})


def _call_delta(choice: Choice, call_id: str, piece: str, sequence: Any, place: int, size: int) -> dict[str, Any]:
    """The first delta of a tool call names the function, the others carry its arguments."""
    function: dict[str, Any] = {"arguments": piece}
    call: dict[str, Any] = {"index": 0, "function": function}
    if sequence.generated - size + place == 0:
        call |= {"id": call_id, "type": "function"}
        function["name"] = choice.tool
    return {"tool_calls": [call]}


def _tail(head: dict[str, Any]) -> dict[str, Any]:
    return {"created": head["created"], "model": head["model"]}


def _continuous(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("continuous_usage_stats"))
