"""The body of each call, as an engine reads it."""

import random
from typing import Any

import msgspec

from gateway.benchmark.load.lengths import Prompts, draw
from gateway.benchmark.load.plan import Moment, Stream

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}


class Bodies:
    """Bodies of one stream, by chance but the same for the same seed."""

    def __init__(self, stream: Stream, model: str, seed: str) -> None:
        self._stream = stream
        self._model = model
        self._numbers = random.Random(f"{seed}:lengths")  # noqa: S311
        self.prompts = Prompts(stream.prompts, stream.shared_prefix_ratio, random.Random(f"{seed}:prompts"))  # noqa: S311
        self._encode = msgspec.json.Encoder().encode

    def take(self, moment: Moment | None = None) -> bytes:
        """The next body; a trace says how long its prompt and answer are."""
        stream = self._stream
        prompt = draw(stream.prompt, self._numbers) if moment is None else moment.prompt_tokens
        output = draw(stream.output, self._numbers) if moment is None else moment.output_tokens
        return self._encode(body(stream, self._model, self.prompts.take(prompt), output))


def body(stream: Stream, model: str, text: str, output_tokens: int) -> dict[str, Any]:
    """The JSON that one call sends, with the exact length of the answer where that is asked for."""
    if stream.kind == "embeddings":
        return {"model": model, "input": text}
    fields: dict[str, Any] = {"model": model, "stream": True, "temperature": 0.0, "max_tokens": output_tokens}
    fields["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    if stream.exact_output:
        fields |= {"min_tokens": output_tokens, "ignore_eos": True}
    if stream.kind == "chat":
        return fields | {"messages": [{"role": "user", "content": text}]}
    return fields | {"prompt": text}
