"""Sleep, pause and the other development endpoints; there only with VLLM_SERVER_DEV_MODE=1."""

import os
from typing import Any

from models_app.engines.simulator.context import Context
from models_app.engines.simulator.engine import PAUSE_MODES
from models_app.engines.simulator.errors import ApiError, OutOfMemory
from models_app.engines.simulator.wire import Reply, Request


async def sleep(context: Context, request: Request, reply: Reply) -> None:
    """POST /sleep?level=&mode=: the query string only; a body is ignored."""
    level = request.first("level", "1")
    try:
        depth = int(level)
    except ValueError as error:
        raise ApiError(str(error)) from error
    await context.engine.sleep(depth, request.first("mode", "abort"))
    await reply.empty()


async def wake_up(context: Context, request: Request, reply: Reply) -> None:
    """POST /wake_up?tags=weights&tags=kv_cache wakes these parts, or all without tags; 500 means too little memory."""
    try:
        await context.engine.wake_up(request.query.get("tags", []))
    except OutOfMemory as error:
        raise ApiError(f"Call to wake_up method failed: {error}", 500) from error
    await reply.empty()


async def is_sleeping(context: Context, request: Request, reply: Reply) -> None:
    """GET /is_sleeping: true also when only paused, and already while a sleep drains."""
    await reply.json({"is_sleeping": context.engine.sleeping})


async def pause(context: Context, request: Request, reply: Reply) -> None:
    """POST /pause?mode= takes abort (the default), wait or keep, and refuses any other mode with 400."""
    mode = request.first("mode", "abort")
    if mode not in PAUSE_MODES:
        raise ApiError.invalid("literal_error", "query.mode", "Input should be 'abort', 'wait' or 'keep'", mode)
    await context.engine.pause(mode)
    await reply.json({"status": "paused"})


async def resume(context: Context, request: Request, reply: Reply) -> None:
    """POST /resume ends a pause of any mode."""
    context.engine.resume()
    await reply.json({"status": "resumed"})


async def is_paused(context: Context, request: Request, reply: Reply) -> None:
    """GET /is_paused is true after a pause of any mode."""
    await reply.json({"is_paused": context.engine.scheduler.paused or context.engine.scheduler.closed})


async def abort_requests(context: Context, request: Request, reply: Reply) -> None:
    """POST /abort_requests ends the requests listed as `request_ids`, or all requests without a list."""
    wanted = (await request.json()).get("request_ids")
    aborted = context.engine.scheduler.abort(set(wanted) if wanted else None, counts=False)
    await reply.json({"status": "aborted", "aborted": len(wanted) if wanted else aborted})


async def reset_prefix_cache(context: Context, request: Request, reply: Reply) -> None:
    """POST /reset_prefix_cache empties the prefix cache; `success` is false while requests hold blocks."""
    await reply.json({"success": context.engine.cache.reset()})


async def reset_other_cache(context: Context, request: Request, reply: Reply) -> None:
    """POST /reset_mm_cache and /reset_encoder_cache do nothing, since the simulator has no such caches."""
    await reply.empty()


async def collective_rpc(context: Context, request: Request, reply: Reply) -> None:
    """POST /collective_rpc {method}: of all methods only reload_weights, which level 2 needs."""
    method = (await request.json()).get("method")
    if method is None:
        raise ApiError("Missing 'method' in request body", 400, kind="Bad Request")
    if method != "reload_weights":
        raise ApiError(f"Call to collective_rpc method failed: the simulator does not know {method!r}", 500)
    context.engine.reload_weights()
    await reply.json({"results": [None] * context.options.tensor_parallel})


async def server_info(context: Context, request: Request, reply: Reply) -> None:
    """GET /server_info shows the main options and the VLLM_ variables, except for keys."""
    options = context.options
    config: dict[str, Any] = {
        "model_config": {
            "model": options.model,
            "served_model_name": list(options.served_names),
            "max_model_len": options.max_model_len,
            "runner": "pooling" if options.pooling else "generate",
            "enable_sleep_mode": options.sleep_mode,
        },
        "cache_config": {
            "block_size": options.block_tokens,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "kv_cache_memory_bytes": options.kv_cache_memory_bytes,
        },
        "parallel_config": {"tensor_parallel_size": options.tensor_parallel},
        "scheduler_config": {"max_num_seqs": options.max_num_seqs},
    }
    environment = {key: value for key, value in os.environ.items() if key.startswith("VLLM_") and "KEY" not in key}
    await reply.json({"vllm_config": config, "vllm_env": environment, "system_env": {"simulated": True}})
