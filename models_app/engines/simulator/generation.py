"""From an OpenAI body to sequences: what the answer is, how long, and how its choices come in."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from models_app.engines.simulator import sampling, text
from models_app.engines.simulator.beams import BeamSearch
from models_app.engines.simulator.engine import Asked, Engine
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.sampling import number
from models_app.engines.simulator.scheduler import Sequence


@dataclass(slots=True)
class Choice:
    """One answer to one prompt, complete or growing."""

    index: int
    prompt: Prompt
    sequence: Sequence
    tokens: AsyncGenerator[list[str]]
    first: bool
    stop_reason: str | int | None = None
    tool: str | None = None
    tells_cached_tokens: bool = False

    @property
    def finish_reason(self) -> str:
        """A complete call of a tool ends with `tool_calls` instead of `stop`."""
        reason = self.sequence.finish_reason
        return "tool_calls" if self.tool is not None and reason == "stop" else reason


@dataclass(frozen=True, slots=True)
class Usage:
    """These are the tokens of one request; None means that the engine does not tell cached tokens."""

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


def prepare(
    engine: Engine,
    prompts: list[Prompt],
    body: dict[str, Any],
    request_id: str,
    *,
    max_tokens: int | None,
    fixed: str | None = None,
    tool: str | None = None,
) -> list[Choice]:
    """The choices of a request; `fixed` is an answer that is already decided, such as JSON."""
    engine.check_length(max_tokens)
    sampling.check(body, max_tokens=max_tokens)
    wanted = number(body, "n")
    copies = 1 if wanted is None else wanted
    beams = bool(body.get("use_beam_search"))
    if copies > 1 and body.get("temperature") == 0 and not beams:
        raise ApiError(f"n must be 1 when using greedy sampling, got {copies}.")
    plans: list[tuple[Prompt, Sequence, str | int | None]] = []
    for prompt in [each.cut(body) for each in prompts]:
        room = engine.limit(max(len(prompt.tokens), 1), max_tokens)
        for copy in range(copies):
            pieces, reason, stop = _plan(engine, prompt.text, body, copy, room, fixed)
            index = len(plans)
            each = request_id if len(prompts) * copies == 1 else f"{request_id}-{index}"
            asked = Asked(prompt, pieces, reason, each, number(body, "priority") or 0)
            plans.append((prompt, engine.sequence(asked), stop))
    tells = engine.options.tells_cached_tokens
    choices: list[Choice] = []
    for start in range(0, len(plans), copies):
        sequences = [sequence for _, sequence, _ in plans[start : start + copies]]
        search = BeamSearch(engine, plans[start][0], sequences) if beams else None
        for copy, (prompt, sequence, stop) in enumerate(plans[start : start + copies]):
            tokens = search.tokens(sequence) if search else engine.scheduler.run(sequence)
            choices.append(Choice(start + copy, prompt, sequence, tokens, copy == 0, stop, tool, tells))
    return choices


def usage(choices: list[Choice]) -> Usage:
    """What the request cost: each prompt once, however many answers it has."""
    first = [choice.sequence for choice in choices if choice.first]
    cached_tokens = first[-1].cached_tokens if first and choices[0].tells_cached_tokens else None  # of the last prompt
    completion_tokens = sum(choice.sequence.generated for choice in choices)
    return Usage(sum(sequence.prompt_tokens for sequence in first), completion_tokens, cached_tokens)


def usage_of(choice: Choice) -> Usage:
    """What one answer cost until now, its prompt included: the pieces of a stream count so."""
    cached_tokens = choice.sequence.cached_tokens if choice.tells_cached_tokens else None
    return Usage(choice.sequence.prompt_tokens, choice.sequence.generated, cached_tokens)


def token_ids(choice: Choice) -> list[int]:
    """The tokens of an answer, as numbers."""
    return text.tokenize("".join(choice.sequence.pieces[: choice.sequence.generated]))


async def collect(choices: list[Choice]) -> list[str]:
    """The choices run at the same time; their complete texts come back in the order of `choices`."""

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
) -> tuple[list[str], str, str | int | None]:
    """The tokens of an answer, why it will end, and the stop string or token that ends it."""
    if fixed is not None:
        pieces = text.pieces(fixed)
        return pieces[:room], "stop" if len(pieces) <= room else "length", None
    endless = bool(body.get("ignore_eos"))
    seed = engine.options.seed + copy
    pieces = text.answer(prompt, choice=seed, limit=room, endless=endless, least=number(body, "min_tokens") or 0)
    ended = _stop_token(pieces, body.get("stop_token_ids") or [])
    if ended is not None:
        return ended[0], "stop", ended[1]
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    found = _stop(pieces, stops, kept=bool(body.get("include_stop_str_in_output")))
    if found is not None:
        return found[0], "stop", found[1]
    return pieces, "length" if endless or len(pieces) >= room else "stop", None


def _stop_token(pieces: list[str], stops: list[int]) -> tuple[list[str], int] | None:
    """The tokens up to the first that is a stop token, which is counted and not shown, and its number."""
    for place, piece in enumerate(pieces if stops else ()):
        token = text.tokenize(piece)[0]
        if token in stops:
            return [*pieces[:place], ""], token
    return None


def _stop(pieces: list[str], stops: list[str], *, kept: bool) -> tuple[list[str], str] | None:
    """The tokens before the earliest stop string, or with it where it is to be kept, and that string."""
    whole = "".join(pieces)
    hits = [(at, stop) for stop in stops if stop and (at := whole.find(stop)) >= 0]
    if not hits:
        return None
    at, stop = min(hits)
    at += len(stop) if kept else 0
    shown: list[str] = []
    for piece in pieces:
        shown.append(piece[:at])
        at -= len(piece)
        if at <= 0:
            break
    return shown, stop
