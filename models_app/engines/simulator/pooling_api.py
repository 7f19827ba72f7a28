"""Embeddings, classification, scores and ranks: vectors made from hashes, so equal texts are equal."""

import base64
import math
import random
import struct
import time
from typing import Any

from models_app.engines.simulator import generation, prompts, text
from models_app.engines.simulator.context import Context, request_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.sampling import number
from models_app.engines.simulator.wire import Reply, Request

_DIMENSIONS = 64


async def embeddings(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/embeddings makes one vector of each input, with as many numbers as `dimensions` says."""
    body = await request.json()
    size = number(body, "dimensions") or _DIMENSIONS
    read = await _read(context, request, body, _inputs(body))
    vectors = [_vector(each.text, size) for each in read]
    shown = [_packed(vector) for vector in vectors] if body.get("encoding_format") == "base64" else vectors
    data = [{"index": place, "object": "embedding", "embedding": each} for place, each in enumerate(shown)]
    await _reply(context, request, body, reply, "embd", data, read)


async def pooling(context: Context, request: Request, reply: Reply) -> None:
    """POST /pooling makes one vector of each token of each input."""
    body = await request.json()
    read = await _read(context, request, body, _inputs(body))
    data = [
        {
            "index": place,
            "object": "pooling",
            "data": [_vector(piece, _DIMENSIONS) for piece in text.token_strings(each.text)],
        }
        for place, each in enumerate(read)
    ]
    await _reply(context, request, body, reply, "pool", data, read)


async def classify(context: Context, request: Request, reply: Reply) -> None:
    """POST /classify gives each input one of two labels, and equal inputs the same label."""
    body = await request.json()
    read = await _read(context, request, body, _inputs(body))
    data = []
    for place, each in enumerate(read):
        ratio = (text.digest(each.text) % 1000) / 1000
        label = "LABEL_1" if ratio >= 0.5 else "LABEL_0"
        data.append({"index": place, "label": label, "probs": [1 - ratio, ratio], "num_classes": 2})
    await _reply(context, request, body, reply, "classify", data, read)


async def score(context: Context, request: Request, reply: Reply) -> None:
    """POST /score: every text against its query."""
    body = await request.json()
    left = _texts(_any(body, "queries", "text_1", "data_1"))
    right = _texts(_any(body, "documents", "items", "text_2", "data_2"))
    left = left * len(right) if len(left) == 1 else left
    if len(left) != len(right):
        raise ApiError("Input lengths must be either 1:1, 1:N or N:N")
    read = await _read(context, request, body, [Prompt.of(a + b) for a, b in zip(left, right, strict=True)])
    data = [
        {"index": place, "object": "score", "score": _similarity(a, b)}
        for place, (a, b) in enumerate(zip(left, right, strict=True))
    ]
    await _reply(context, request, body, reply, "score", data, read)


async def rerank(context: Context, request: Request, reply: Reply) -> None:
    """POST /rerank: documents by their likeness to the query."""
    body = await request.json()
    query, documents = prompts.flat(_any(body, "query")), _texts(_any(body, "documents"))
    read = await _read(context, request, body, [Prompt.of(query + document) for document in documents])
    results = [
        {
            "index": place,
            "document": {"text": document, "multi_modal": None},
            "relevance_score": _similarity(query, document),
        }
        for place, document in enumerate(documents)
    ]
    results.sort(key=lambda result: -float(str(result["relevance_score"])))
    top = number(body, "top_n") or len(results)
    total = _total(read)
    await reply.json(
        {
            "id": request_id("rerank", request, body),
            "model": generation.check_model(context.engine, body),
            "usage": {"prompt_tokens": total, "total_tokens": total},
            "results": results[:top],
        }
    )


async def _read(context: Context, request: Request, body: dict[str, Any], read: list[Prompt]) -> list[Prompt]:
    """Run these through the engine: they queue, count and wait for a sleeping engine like any request."""
    generation.check_model(context.engine, body)
    identity = request_id("embd", request, body)
    asked = {name: body.get(name) for name in ("priority", "truncate_prompt_tokens")}
    choices = generation.prepare(context.engine, read, asked, identity, max_tokens=1, fixed="")
    await generation.collect(choices)
    return [choice.prompt for choice in choices]


async def _reply(
    context: Context,
    request: Request,
    body: dict[str, Any],
    reply: Reply,
    prefix: str,
    data: list[Any],
    read: list[Prompt],
) -> None:
    total = _total(read)
    usage = {"prompt_tokens": total, "total_tokens": total, "completion_tokens": 0, "prompt_tokens_details": None}
    await reply.json(
        {
            "id": request_id(prefix, request, body),
            "object": "list",
            "created": int(time.time()),
            "model": generation.check_model(context.engine, body),
            "data": data,
            "usage": usage,
        }
    )


def _total(read: list[Prompt]) -> int:
    return sum(max(len(prompt.tokens), 1) for prompt in read)


def _any(body: dict[str, Any], *names: str) -> Any:
    for name in names:
        if body.get(name) is not None:
            return body[name]
    raise ApiError.invalid("missing", f"body.{names[0]}", "Field required", f"<dict of {len(body)} items>")


def _inputs(body: dict[str, Any]) -> list[Prompt]:
    if "messages" in body:
        return [Prompt.of(prompts.from_messages(body))]
    return prompts.from_completion({"prompt": _any(body, "input")})


def _texts(given: Any) -> list[str]:
    return [prompts.flat(each) for each in given] if isinstance(given, list) else [prompts.flat(given)]


def _vector(content: str, size: int) -> list[float]:
    """A unit vector: the sum of its tokens' vectors, so that texts with common words are near."""
    total = [0.0] * size
    for token in text.tokenize(content) or [0]:
        source = random.Random(token)  # noqa: S311
        for place in range(size):
            total[place] += source.uniform(-1, 1)
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [value / length for value in total]


def _similarity(left: str, right: str) -> float:
    return sum(a * b for a, b in zip(_vector(left, _DIMENSIONS), _vector(right, _DIMENSIONS), strict=True))


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
