"""Beam search as vLLM does it: each step asks the engine for one more token of every beam, as requests of their own.

So the engine's counters grow by the prompt and all that was found so far, once per beam and step, while the answer's
`usage` counts the prompt once and each answer's tokens.
"""

import asyncio
from collections.abc import AsyncGenerator

from models_app.engines.simulator import text
from models_app.engines.simulator.engine import Asked, Engine
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.scheduler import Sequence


class BeamSearch:
    """One search over one prompt, and the answers it will have found at its end."""

    def __init__(self, engine: Engine, prompt: Prompt, sequences: list[Sequence]) -> None:
        self._engine = engine
        self._prompt = prompt
        self._sequences = sequences
        self._task: asyncio.Task[None] | None = None

    async def tokens(self, sequence: Sequence) -> AsyncGenerator[list[str]]:
        """The whole answer at once when the search is over."""
        if self._task is None:
            self._task = asyncio.create_task(self._search())
        try:
            await asyncio.shield(self._task)
        finally:
            if not self._task.done():
                self._task.cancel()
        sequence.generated = len(sequence.pieces)
        yield ["".join(sequence.pieces)]

    async def _search(self) -> None:
        longest = max(len(sequence.pieces) for sequence in self._sequences)
        for step in range(longest):
            beams = self._sequences if step else self._sequences[:1]
            await asyncio.gather(*(self._step(beam, step) for beam in beams if step < len(beam.pieces)))

    async def _step(self, sequence: Sequence, step: int) -> None:
        """One token more; the engine reads the prompt and what was found before it as one prompt."""
        found = sequence.pieces[:step]
        read = Prompt(self._prompt.text, (*self._prompt.tokens, *text.tokenize("".join(found))))
        name = f"beam_search-{sequence.request_id}-{step}"
        asked = Asked(read, [sequence.pieces[step]], "length", name, sequence.priority)
        async for _ in self._engine.scheduler.run(self._engine.sequence(asked)):
            pass
