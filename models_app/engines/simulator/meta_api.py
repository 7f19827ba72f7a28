"""Health, models, metrics, tokens: what answers even while the engine sleeps."""

import asyncio
from typing import Any

from models_app.engines.simulator import VLLM_VERSION, generation, metrics, prompts, text
from models_app.engines.simulator.context import Context
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.wire import Reply, Request

_PERMISSION = {
    "object": "model_permission",
    "allow_create_engine": False,
    "allow_sampling": True,
    "allow_logprobs": True,
    "allow_search_indices": False,
    "allow_view": True,
    "allow_fine_tuning": False,
    "organization": "*",
    "group": None,
    "is_blocking": False,
}


async def health(context: Context, request: Request, reply: Reply) -> None:
    """GET /health and /ping answer 200 without a body, or never when the option `hang` lists health."""
    if "health" in context.options.hang:
        await asyncio.Event().wait()
    await reply.empty()


async def version(context: Context, request: Request, reply: Reply) -> None:
    """GET /version tells the version of vLLM that the simulator imitates."""
    await reply.json({"version": VLLM_VERSION})


async def load(context: Context, request: Request, reply: Reply) -> None:
    """GET /load tells how many requests the server has begun and not ended."""
    await reply.json({"server_load": context.load})


async def scrape(context: Context, request: Request, reply: Reply) -> None:
    """GET /metrics answers without a body when the options turn statistics off."""
    name = context.options.served_names[0]
    body = metrics.render(context.engine.metrics, context.engine.gauges(), name) if context.options.log_stats else b""
    await reply.data(body, 200, (b"content-type", metrics.CONTENT_TYPE))


async def models(context: Context, request: Request, reply: Reply) -> None:
    """GET /v1/models lists each served name as a model of its own."""
    data = [
        {
            "id": name,
            "object": "model",
            "created": context.created,
            "owned_by": "vllm",
            "root": context.options.model,
            "parent": None,
            "max_model_len": context.options.max_model_len,
            "permission": [{"id": new_id("modelperm"), "created": context.created, **_PERMISSION}],
        }
        for name in context.options.served_names
    ]
    await reply.json({"object": "list", "data": data})


async def tokenize(context: Context, request: Request, reply: Reply) -> None:
    """POST /tokenize, of a prompt or of messages."""
    body = await request.json()
    generation.check_model(context.engine, body)
    prompt = prompts.from_messages(body) if "messages" in body else body.get("prompt")
    if not isinstance(prompt, str):
        raise ApiError.invalid("missing", "body.prompt", "Field required", f"<dict of {len(body)} items>")
    tokens = text.tokenize(prompt)
    strings = text.token_strings(prompt) if body.get("return_token_strs") else None
    shown: dict[str, Any] = {"count": len(tokens), "max_model_len": context.options.max_model_len}
    await reply.json(shown | {"tokens": tokens, "token_strs": strings})


async def detokenize(context: Context, request: Request, reply: Reply) -> None:
    """POST /detokenize turns a list of token numbers into text, and refuses anything else with 400."""
    body = await request.json()
    generation.check_model(context.engine, body)
    tokens = body.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) and token >= 0 for token in tokens):
        raise ApiError.invalid("list_type", "body.tokens", "Input should be a valid list", repr(tokens)[:200])
    await reply.json({"prompt": text.detokenize(tokens)})
