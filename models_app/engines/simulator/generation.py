"""From an OpenAI body to sequences: what the answer is, how long, and how its choices come in."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from models_app.engines.simulator import text
from models_app.engines.simulator.engine import Asked, Engine
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.scheduler import Sequence


@dataclass(slots=True)
class Choice:
    """One answer to one prompt, complete or growing."""

    index: int
    sequence: Sequence
    tokens: AsyncGenerator[list[str]]
    first: bool
    stop_reason: str | None = None
    tool: str | None = None
    tells_cached_tokens: bool = False

    @property
    def finish_reason(self) -> str:
        """Why it ended."""
        reason = self.sequence.finish_reason
        return "tool_calls" if self.tool is not None and reason == "stop" else reason


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None

    def as_openai(self) -> dict[str, Any]:
        """The shape of streams; whole answers add details that are null."""
        said: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
        }
        if self.cached_tokens is not None:
            said["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        return said


Arrival = tuple[Choice, list[str], bool]


def check_model(engine: Engine, body: dict[str, Any]) -> str:
    """The name to answer under, which is the first one whatever alias was asked for; or a 404."""
    names = engine.options.served_names
    name = body.get("model")
    if name is not None and name not in names:
        raise ApiError.missing_model(name)
    return names[0]


def number(body: dict[str, Any], *names: str) -> int | None:
    """The first integer among these fields."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ApiError.invalid("int_parsing", f"body.{name}", "Input should be a valid integer", value)
        return value
    return None


def prepare(
    engine: Engine,
    prompts: list[str],
    body: dict[str, Any],
    request_id: str,
    *,
    max_tokens: int | None,
    fixed: str | None = None,
    tool: str | None = None,
) -> list[Choice]:
    """The choices of a request; `fixed` is an answer that is already decided, such as JSON."""
    _check_sampling(body)
    copies = number(body, "n") or 1
    if copies > 1 and body.get("temperature") == 0:
        raise ApiError(f"n must be 1 when using greedy sampling, got {copies}.")
    choices: list[Choice] = []
    for prompt in prompts:
        room = engine.limit(max(text.length(prompt), 1), max_tokens)
        for copy in range(copies):
            pieces, reason, stop = _plan(engine, prompt, body, copy, room, fixed)
            index = len(choices)
            each = request_id if len(prompts) * copies == 1 else f"{request_id}-{index}"
            asked = Asked(prompt, pieces, reason, each, number(body, "priority") or 0)
            sequence, tokens = engine.generate(asked)
            choices.append(Choice(index, sequence, tokens, copy == 0, stop, tool, engine.options.tells_cached_tokens))
    return choices


def usage(choices: list[Choice]) -> Usage:
    """What the request cost: each prompt once, however many answers it has."""
    first = [choice.sequence for choice in choices if choice.first]
    cached_tokens = first[-1].cached_tokens if first and choices[0].tells_cached_tokens else None  # of the last prompt
    completion_tokens = sum(choice.sequence.generated for choice in choices)
    return Usage(sum(sequence.prompt_tokens for sequence in first), completion_tokens, cached_tokens)


async def collect(choices: list[Choice]) -> list[str]:
    """The whole texts."""

    async def whole(choice: Choice) -> str:
        return "".join([piece async for _, batch, _ in flow(choice) for piece in batch])

    if len(choices) == 1:
        return [await whole(choices[0])]
    return list(await asyncio.gather(*(whole(choice) for choice in choices)))


async def flow(choice: Choice) -> AsyncGenerator[Arrival]:
    """The tokens of one choice as they come; the flag marks the last ones, or none when it was aborted."""
    ended = False
    async with aclosing(choice.tokens) as tokens:
        async for batch in tokens:
            ended = choice.sequence.generated >= len(choice.sequence.pieces)
            yield choice, batch, ended
    if not ended:
        yield choice, [], True


async def merge(choices: list[Choice]) -> AsyncGenerator[Arrival]:
    """The tokens of all choices as they come."""
    if len(choices) == 1:
        async with aclosing(flow(choices[0])) as arrivals:
            async for arrival in arrivals:
                yield arrival
        return
    queue: asyncio.Queue[Arrival] = asyncio.Queue()

    async def pump(choice: Choice) -> None:
        async with aclosing(flow(choice)) as arrivals:
            async for arrival in arrivals:
                queue.put_nowait(arrival)

    pumps = [asyncio.create_task(pump(choice)) for choice in choices]
    try:
        left = len(choices)
        while left:
            arrival = await queue.get()
            left -= arrival[2]
            yield arrival
    finally:
        for task in pumps:
            task.cancel()


def _plan(
    engine: Engine, prompt: str, body: dict[str, Any], copy: int, room: int, fixed: str | None
) -> tuple[list[str], str, str | None]:
    """The tokens of an answer, why it will end, and the stop string that ends it."""
    if fixed is not None:
        pieces = text.pieces(fixed)
        return pieces[:room], "stop" if len(pieces) <= room else "length", None
    endless = bool(body.get("ignore_eos"))
    seed = engine.options.seed + copy
    pieces = text.answer(prompt, choice=seed, limit=room, endless=endless)
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    found = _stop(pieces, stops)
    if found is not None:
        return found[0], "stop", found[1]
    return pieces, "length" if endless or len(pieces) >= room else "stop", None


def _stop(pieces: list[str], stops: list[str]) -> tuple[list[str], str] | None:
    """The tokens before the earliest stop string, and that string."""
    whole = "".join(pieces)
    hits = [(at, stop) for stop in stops if stop and (at := whole.find(stop)) >= 0]
    if not hits:
        return None
    at, stop = min(hits)
    kept: list[str] = []
    for piece in pieces:
        kept.append(piece[:at])
        at -= len(piece)
        if at <= 0:
            break
    return kept, stop


def _check_sampling(body: dict[str, Any]) -> None:
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        value = float(temperature)
        raise ApiError.value(f"temperature must be non-negative, got {value}.", "temperature", value)
    top_p = body.get("top_p")
    if isinstance(top_p, int | float) and not 0 < top_p <= 1:
        raise ApiError.value(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
