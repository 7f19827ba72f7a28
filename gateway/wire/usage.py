"""What an engine says a call used: a usage object, in whatever dialect, taken from where an answer says it and nowhere
else."""

from typing import Annotated, NamedTuple

import msgspec


class Usage(NamedTuple):
    """Tokens as the engine counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None

    @property
    def total(self) -> int | None:
        """Prompt and completion tokens are added; None means that the engine told neither number."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)


NOTHING = Usage(0, 0, 0)
"""Of a call that is known to have used no tokens: it never reached a model."""
UNKNOWN = Usage()
CANCELLED = ("cancelled", "cancelled_by_operator")
"""The outcomes of calls that their caller or an operator gave up: no failures, and their engine worked for them."""
CHARGED = ("ok", *CANCELLED)
"""The outcomes of calls that cost what they used: what an engine failed at costs nothing."""

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = None


class Said(msgspec.Struct, gc=False):
    """A usage object: OpenAI's completions, its responses, or Anthropic's."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


decode = msgspec.json.Decoder(Said).decode
"""Raises msgspec.DecodeError where a count is none."""


def merged(before: Said, after: Said) -> Said:
    """Anthropic says the prompt when a message begins and the rest when it ends; each count is the latest one."""
    told = {name: value for name in Said.__struct_fields__ if (value := getattr(after, name)) is not None}
    return msgspec.structs.replace(before, **told)


def of(said: Said) -> Usage:
    """The tokens that a usage object tells."""
    prompt, completion, total = said.prompt_tokens, said.completion_tokens, said.total_tokens
    details = said.prompt_tokens_details or said.input_tokens_details
    cached = details.cached_tokens if details is not None else None
    prompt = said.input_tokens if prompt is None else prompt
    completion = said.output_tokens if completion is None else completion
    if total is not None:  # what ranks or embeds completes nothing, and some of it says the total alone
        prompt = total if prompt is None and completion is None else prompt
        completion = max(0, total - (prompt or 0)) if completion is None else completion
    if prompt is not None and cached is None:  # Anthropic's prompt tokens are without those of the cache
        cached = said.cache_read_input_tokens
        prompt += (cached or 0) + (said.cache_creation_input_tokens or 0)
    return Usage(prompt, completion, cached)
