"""The simulator answers /v1/chat/completions and /v1/completions here."""

import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from models_app.engines.simulator import generation, logprobs, prompts, sampling, text
from models_app.engines.simulator.context import FINGERPRINT, Context, request_id
from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.sampling import number
from models_app.engines.simulator.wire import Reply, Request, event

_NO_DETAILS = {"prompt_tokens_details": None, "completion_tokens_details": None}
_NO_TRANSFER = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
_MESSAGE = {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning": None}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the caller wants to see beside the text."""

    usage: bool
    continuous: bool
    logprobs: int | None  # so many alternatives to each sampled token; None is no log-probabilities
    prompt_logprobs: int | None
    token_ids: bool
    as_numbers: bool
    damage: float  # what a bad wake took off every log-probability
    details: dict[str, Any]  # what a piece's usage has beside its counts: in chats a field without value

    @classmethod
    def of_chat(cls, body: dict[str, Any], context: Context) -> "Shown":
        """As a chat asks for it. Raises ApiError where vLLM would."""
        wanted, top = body.get("logprobs"), number(body, "top_logprobs")
        if top is not None and top != 0 and not wanted:
            message = "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)"
            raise ApiError(message, param="top_logprobs")
        if wanted is not None and not isinstance(wanted, bool):
            message = "Input should be a valid boolean, unable to interpret input"
            raise ApiError.invalid("bool_parsing", "body.logprobs", message, wanted)
        echoed = (top or 0) if body.get("echo") else None  # with echo vLLM rates the prompt unasked
        details = {"completion_tokens_details": None}
        return cls._of(body, (top or 0) if wanted else None, echoed, details, context)

    @classmethod
    def of_completion(cls, body: dict[str, Any], context: Context) -> "Shown":
        """As a completion asks for it. Raises ApiError where vLLM would."""
        return cls._of(body, number(body, "logprobs"), None, {}, context)

    @classmethod
    def _of(
        cls, body: dict[str, Any], sample: int | None, echoed: int | None, details: dict[str, Any], context: Context
    ) -> "Shown":
        sampling.check_stream_options(body)
        prompt = number(body, "prompt_logprobs")
        sampling.check_logprobs(body, sample, prompt=prompt)
        options = body.get("stream_options") or {}
        usage = context.options.force_usage or bool(options.get("include_usage"))
        return cls(
            usage=usage,
            continuous=usage and bool(options.get("continuous_usage_stats")),
            logprobs=sample,
            prompt_logprobs=echoed if prompt is None else prompt,
            token_ids=bool(body.get("return_token_ids")),
            as_numbers=bool(body.get("return_tokens_as_token_ids")),
            damage=context.engine.logprob_damage,
            details=details,
        )

    def of_prompt(self, choice: Choice) -> dict[str, Any]:
        """The two fields about the prompt."""
        top = self.prompt_logprobs
        return {
            "prompt_logprobs": None if top is None else logprobs.of_prompt(choice.prompt.tokens, top),
            "prompt_token_ids": self.prompt_ids(choice),
        }

    def prompt_ids(self, choice: Choice) -> list[int] | None:
        """The prompt's tokens, where they are wanted."""
        return list(choice.prompt.tokens) if self.token_ids else None

    def ids(self, tokens: list[int]) -> list[int] | None:
        """An answer's tokens, where they are wanted."""
        return tokens if self.token_ids else None

    def chat_logprobs(self, tokens: list[int], start: int) -> dict[str, Any] | None:
        """Of these tokens, the first of which is the answer's token number `start`."""
        if self.logprobs is None:
            return None
        return logprobs.of_chat(tokens, start, self.logprobs, as_numbers=self.as_numbers, damage=self.damage)

    def completion_logprobs(
        self, tokens: list[int], start: int, *, offset: int = 0, prompt_tokens: int = 0
    ) -> dict[str, Any] | None:
        """The same in the older shape."""
        if self.logprobs is None:
            return None
        return logprobs.of_completion(
            tokens,
            start,
            self.logprobs,
            offset=offset,
            prompt_tokens=prompt_tokens,
            as_numbers=self.as_numbers,
            damage=self.damage,
        )


async def chat(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/chat/completions answers whole, or piece by piece when `stream` is true."""
    body = await request.json()
    prompt = prompts.from_messages(body)
    model = generation.check_model(context.engine, body)
    shown = Shown.of_chat(body, context)
    call = prompts.tool_call(body, prompt, context.options)
    name, fixed = call if call is not None else (None, prompts.structured(body, prompt))
    choices = generation.prepare(
        context.engine,
        [Prompt.of(prompt)],
        body,
        request_id("chatcmpl", request, body),
        max_tokens=number(body, "max_completion_tokens", "max_tokens"),
        fixed=fixed,
        tool=name,
    )
    head = {"id": request_id("chatcmpl", request, body), "created": int(time.time()), "model": model}
    head["id"] = choices[0].sequence.request_id if len(choices) == 1 else head["id"]
    if body.get("stream"):
        await _stream_chat(shown, choices, head, reply)
        return
    texts = await generation.collect(choices)
    before = prompts.echoed(body)
    await reply.json(
        {
            "id": head["id"],
            "object": "chat.completion",
            "created": head["created"],
            "model": model,
            "choices": [
                _chat_choice(shown, choice, before + answer) for choice, answer in zip(choices, texts, strict=True)
            ],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": _NO_DETAILS | generation.usage(choices).as_openai(),
            **shown.of_prompt(choices[0]),
            "prompt_text": None,
            **_NO_TRANSFER,
        }
    )


async def completions(context: Context, request: Request, reply: Reply) -> None:
    """POST /v1/completions answers one or several prompts, whole or piece by piece when `stream` is true."""
    body = await request.json()
    model = generation.check_model(context.engine, body)
    given = prompts.from_completion(body)
    shown = Shown.of_completion(body, context)
    _check_completion(body)
    limit = number(body, "max_tokens")
    # Asked to repeat the prompt and to add nothing, vLLM makes one token all the same, counts it and does not show it.
    alone = bool(body.get("echo")) and limit == 0
    identity = request_id("cmpl", request, body)
    choices = generation.prepare(
        context.engine,
        given,
        body,
        identity,
        max_tokens=1 if alone else 16 if limit is None else limit,
        fixed=prompts.structured(body, given[0].text),
    )
    head = {"id": identity, "created": int(time.time()), "model": model}
    if body.get("stream"):
        await _stream_completions(shown, choices, head, reply, echo=bool(body.get("echo")), alone=alone)
        return
    texts = await generation.collect(choices)
    # vLLM does not repeat the prompt where the tokens are wanted as numbers.
    echo = bool(body.get("echo")) and not shown.token_ids
    await reply.json(
        {
            "id": identity,
            "object": "text_completion",
            "created": head["created"],
            "model": model,
            "choices": [
                _text_choice(shown, choice, "" if alone else answer, echo=echo)
                for choice, answer in zip(choices, texts, strict=True)
            ],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": _NO_DETAILS | generation.usage(choices).as_openai(),
            **_NO_TRANSFER,
        }
    )


def _check_completion(body: dict[str, Any]) -> None:
    if body.get("suffix"):
        raise ApiError("suffix is not currently supported")
    if body.get("prompt_embeds") is not None:
        message = "You must set `--enable-prompt-embeds` to input `prompt_embeds`. (parameter=prompt_embeds)"
        raise ApiError(message, param="prompt_embeds")
    if body.get("use_beam_search") and body.get("stream"):
        raise ApiError("Streaming is not currently supported with beam search")


async def _stream_chat(shown: Shown, choices: list[Choice], head: dict[str, Any], reply: Reply) -> None:
    shared = {"id": head["id"], "object": "chat.completion.chunk", **_tail(head)}
    calls = {choice.index: new_id("chatcmpl-tool") for choice in choices if choice.tool is not None}
    await reply.events()  # vLLM sends the head at once, even while the engine sleeps
    opened = False
    async with aclosing(generation.merge(choices)) as arrivals:
        async for choice, batch, ended in arrivals:
            parts = [] if opened else [_first_chat(shown, shared, each) for each in choices]
            opened = True
            for place, piece in enumerate(batch):
                last = ended and place == len(batch) - 1
                start = choice.sequence.generated - len(batch) + place
                tokens = text.tokenize(piece)
                delta: dict[str, Any] = {"content": piece}
                if choice.tool is not None:
                    delta = _call_delta(choice, calls[choice.index], piece, first=start == 0)
                entry = {"index": choice.index, "delta": delta, "logprobs": shown.chat_logprobs(tokens, start)}
                entry |= {"finish_reason": choice.finish_reason, "stop_reason": choice.stop_reason} if last else _OPEN
                entry["token_ids"] = shown.ids(tokens)
                parts.append(event({**shared, "choices": [entry], **_so_far(shown, choice), **_mark(shown, last)}))
            if ended and not batch:
                entry = {"index": choice.index, "delta": {"content": ""}, "logprobs": None, "stop_reason": None}
                entry["finish_reason"] = choice.finish_reason
                parts.append(event({**shared, "choices": [entry], **_so_far(shown, choice), **_mark(shown, ended)}))
            await reply.chunk(b"".join(parts))
    await _end_stream(shown, choices, shared, reply)


_OPEN = {"finish_reason": None}


async def _stream_completions(
    shown: Shown, choices: list[Choice], head: dict[str, Any], reply: Reply, *, echo: bool, alone: bool
) -> None:
    shared = {"id": head["id"], "object": "text_completion", **_tail(head)}
    begun: set[int] = set()
    await reply.events()
    async with aclosing(generation.merge(choices)) as arrivals:
        async for choice, batch, ended in arrivals:
            parts = []
            for place, piece in enumerate(batch or [""]):
                last = ended and place == max(len(batch) - 1, 0)
                first = choice.index not in begun
                begun.add(choice.index)
                start = max(choice.sequence.generated - len(batch) + place, 0)
                tokens = text.tokenize(piece)
                before = choice.prompt.text if echo and first else ""
                entry = {
                    "index": choice.index,
                    "text": before + ("" if alone else piece),
                    "logprobs": shown.completion_logprobs(tokens, start),
                    "finish_reason": choice.finish_reason if last else None,
                    "stop_reason": choice.stop_reason if last else None,
                    # A prompt that is repeated comes with its tokens, asked for or not.
                    "prompt_token_ids": list(choice.prompt.tokens) if first and (echo or shown.token_ids) else None,
                    "token_ids": shown.ids(tokens),
                }
                parts.append(event({**shared, "choices": [entry], **_so_far(shown, choice), **_mark(shown, last)}))
            await reply.chunk(b"".join(parts))
    await _end_stream(shown, choices, shared, reply)


async def _end_stream(shown: Shown, choices: list[Choice], shared: dict[str, Any], reply: Reply) -> None:
    """The usage chunk where wanted, and the end mark."""
    tail = b""
    if shown.usage:
        usage = generation.usage(choices).as_openai()
        tail = event({**shared, "choices": [], "usage": usage, "system_fingerprint": FINGERPRINT})
    await reply.end(tail + b"data: [DONE]\n\n")


def _so_far(shown: Shown, choice: Choice) -> dict[str, Any]:
    """The usage of one answer until now, where every piece is to tell it."""
    return {"usage": generation.usage_of(choice).as_openai() | shown.details} if shown.continuous else {}


def _mark(shown: Shown, last: bool) -> dict[str, Any]:
    """The fingerprint stands on what ends a stream: the usage chunk, or without one each answer's last."""
    return {"system_fingerprint": FINGERPRINT} if last and not shown.usage else {}


def _chat_choice(shown: Shown, choice: Choice, answer: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer, **_MESSAGE}
    if choice.tool is not None:
        function = {"name": choice.tool, "arguments": answer}
        message["content"] = None
        message["tool_calls"] = [{"id": new_id("chatcmpl-tool"), "type": "function", "function": function}]
    tokens = generation.token_ids(choice)
    return {
        "index": choice.index,
        "message": message,
        "logprobs": shown.chat_logprobs(tokens, 0),
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": shown.ids(tokens),
        "routed_experts": None,
    }


def _text_choice(shown: Shown, choice: Choice, answer: str, *, echo: bool) -> dict[str, Any]:
    tokens = generation.token_ids(choice)
    read = list(choice.prompt.tokens) if echo else []
    return {
        "index": choice.index,
        "text": (choice.prompt.text if echo else "") + answer,
        "logprobs": shown.completion_logprobs([*read, *tokens], 0, prompt_tokens=len(read)),
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "token_ids": shown.ids(tokens),
        **shown.of_prompt(choice),
        "routed_experts": None,
    }


def _first_chat(shown: Shown, shared: dict[str, Any], choice: Choice) -> bytes:
    delta = {"role": "assistant", "content": ""}
    entry = {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None}
    nothing = generation.Usage(choice.sequence.prompt_tokens, 0).as_openai()
    counted = {"usage": nothing | shown.details} if shown.continuous else {}
    about = {"prompt_token_ids": shown.prompt_ids(choice), "prompt_text": None}
    return event({**shared, "choices": [entry], **counted, **about})


def _call_delta(choice: Choice, call_id: str, piece: str, *, first: bool) -> dict[str, Any]:
    """The first delta of a tool call names the function, the others carry its arguments."""
    function: dict[str, Any] = {"arguments": piece}
    call: dict[str, Any] = {"index": 0, "function": function}
    if first:
        call |= {"id": call_id, "type": "function"}
        function["name"] = choice.tool
    return {"tool_calls": [call]}


def _tail(head: dict[str, Any]) -> dict[str, Any]:
    return {"created": head["created"], "model": head["model"]}
