"""Which requests run: admission by slots and KV blocks, pacing by deadlines, preemption when memory runs short."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count

from models_app.engines.simulator.errors import EngineStopped
from models_app.engines.simulator.flags import Options
from models_app.engines.simulator.memory import KVCache
from models_app.engines.simulator.metrics import Metrics

_ORDER = count()
_TICK_SECONDS = 0.002  # uvloop counts in milliseconds: its timers fire up to one early


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer in the making."""

    request_id: str
    prompt_tokens: int
    block_hashes: list[int]
    pieces: list[str]
    finish_reason: str
    priority: int = 0
    order: int = field(default_factory=lambda: next(_ORDER))
    generated: int = 0
    pictured: bool = False
    blocks: int = 0
    cached_tokens: int = 0
    aborted: bool = False
    counts: bool = True
    arrived: float = 0.0
    signal: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Let the sequence look around: it was admitted, aborted, preempted or its time has come."""
        if self.signal is not None and not self.signal.done():
            self.signal.set_result(None)


class Scheduler:
    """The engine's running and waiting requests."""

    def __init__(self, options: Options, cache: KVCache, metrics: Metrics) -> None:
        self._options = options
        self._cache = cache
        self._metrics = metrics
        self._interval = 1 / options.tokens_per_second if options.tokens_per_second > 0 else 0.0
        self.running: dict[Sequence, None] = {}  # a set that keeps its order
        self.waiting: list[Sequence] = []
        self.paused = False
        self.closed = False
        self.stopped = False
        self._shown = (0, 0)
        self._changed: list[asyncio.Future[None]] = []
        self._transform: Callable[[Sequence], None] = lambda sequence: None

    def on_start(self, transform: Callable[[Sequence], None]) -> None:
        """Call this with each sequence when it is first admitted."""
        self._transform = transform

    async def run(self, sequence: Sequence) -> AsyncGenerator[list[str]]:
        """The tokens of an answer as they come due; several at once when we are late or nobody needs pacing."""
        if self.stopped:
            raise EngineStopped
        loop = asyncio.get_running_loop()
        sequence.arrived = loop.time()
        self.waiting.append(sequence)
        self._sort()
        try:
            async with aclosing(self._produce(sequence, loop)) as batches:
                async for batch in batches:
                    if sequence.generated >= len(sequence.pieces):
                        self._finish(sequence, sequence.finish_reason)
                    yield batch
        finally:
            # Aborted, or the client left: what a cancelled generator holds goes back at once. Like vLLM, count only
            # what the engine itself ended.
            if sequence in self.running or sequence in self.waiting:
                sequence.counts = sequence.counts and sequence.aborted
                self._finish(sequence, "abort")

    async def _produce(self, sequence: Sequence, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[list[str]]:
        due = 0.0
        previous = 0.0
        while not sequence.aborted and (sequence.generated < len(sequence.pieces) or not sequence.pieces):
            if sequence not in self.running or self.paused:
                first = sequence.generated == 0
                await self._enter(sequence)
                due = loop.time() + (self._options.ttft_seconds if first else self._interval)
                continue
            await self._until(sequence, due, loop)
            now = loop.time()
            if now < due - _TICK_SECONDS or sequence not in self.running or self.paused:
                continue  # notified early: aborted, preempted or paused, which the next turn sees
            if not sequence.pieces:  # an embedding: the prompt is read, and that is all
                self._first(sequence, now)
                yield []
                return
            late = 1 + int(max(now - due, 0) / self._interval) if self._interval else len(sequence.pieces)
            taken = self._take(sequence, late)
            if not taken:
                continue
            if sequence.generated == len(taken):
                self._first(sequence, now)
            else:
                self._metrics.itl.observe((now - previous) / len(taken))
            previous = now
            due += len(taken) * self._interval
            yield taken

    async def _enter(self, sequence: Sequence) -> None:
        """Wait until admitted and not paused, or aborted."""
        while not sequence.aborted and (self.paused or sequence not in self.running):
            self.schedule()
            if not self.paused and sequence in self.running:
                break
            sequence.signal = asyncio.get_running_loop().create_future()
            await sequence.signal

    async def _until(self, sequence: Sequence, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if due <= loop.time() + _TICK_SECONDS:
            await asyncio.sleep(0)
            return
        signal = sequence.signal = loop.create_future()
        timer = loop.call_at(due, sequence.notify)
        try:
            await signal
        finally:
            timer.cancel()

    def schedule(self) -> None:
        """Admit what fits, in order."""
        if self.paused or self.closed or self.stopped or "generate" in self._options.hang:
            return
        while self.waiting and len(self.running) < self._options.max_num_seqs:
            sequence = self.waiting[0]
            if not self._admit(sequence):
                return
            self.waiting.pop(0)
            self.running[sequence] = None
            if sequence.generated == 0:
                self._transform(sequence)
            sequence.notify()

    def _admit(self, sequence: Sequence) -> bool:
        size = self._cache.block_tokens
        total = sequence.prompt_tokens + sequence.generated
        hits = min(self._cache.hits(sequence.block_hashes), max(total - 1, 0) // size)
        wanted = -(-total // size) - hits
        if not self._cache.allocate(wanted):
            return False
        sequence.blocks = wanted
        if sequence.generated == 0:
            sequence.cached_tokens = hits * size
        return True

    def _take(self, sequence: Sequence, wanted: int) -> list[str]:
        """Up to so many tokens, with the blocks they need; none when memory ran out and it was preempted."""
        size = self._cache.block_tokens
        end = min(sequence.generated + wanted, len(sequence.pieces))
        held = sequence.blocks + sequence.cached_tokens // size
        missing = -(-(sequence.prompt_tokens + end) // size) - held
        while missing > 0 and not self._cache.allocate(missing):
            victim = max(self.running, key=lambda other: (other.priority, other.order))
            self._preempt(victim)
            if victim is sequence:
                return []
        sequence.blocks += max(missing, 0)
        taken = sequence.pieces[sequence.generated : end]
        sequence.generated = end
        self._look()
        self._metrics.generation_tokens += len(taken)
        return taken

    def _preempt(self, victim: Sequence) -> None:
        del self.running[victim]
        self._cache.free(victim.blocks)
        victim.blocks = 0
        victim.cached_tokens = 0
        self._metrics.preemptions += 1
        self.waiting.insert(0, victim)
        self._sort()
        victim.notify()

    def _first(self, sequence: Sequence, now: float) -> None:
        metrics = self._metrics
        metrics.prompt_tokens += sequence.prompt_tokens
        metrics.prefix_queries += sequence.prompt_tokens
        metrics.cached_tokens += sequence.cached_tokens
        metrics.ttft.observe(now - sequence.arrived)

    def _finish(self, sequence: Sequence, reason: str) -> None:
        sequence.finish_reason = reason
        if sequence in self.running:
            del self.running[sequence]
            self._cache.free(sequence.blocks, sequence.block_hashes if sequence.generated else ())
        else:
            self.waiting.remove(sequence)
        if sequence.counts:
            self._count(sequence, reason)
        self._look()
        self.schedule()
        for change in self._changed:
            if not change.done():
                change.set_result(None)
        self._changed.clear()

    def _count(self, sequence: Sequence, reason: str) -> None:
        metrics = self._metrics
        metrics.finished[reason] += 1
        metrics.e2e.observe(asyncio.get_running_loop().time() - sequence.arrived)
        metrics.request_prompt.observe(sequence.prompt_tokens)
        metrics.request_generation.observe(sequence.generated)

    def abort(self, request_ids: set[str] | None = None, *, counts: bool) -> int:
        """End these requests, or all; they answer with finish_reason "abort", which vLLM does not always count."""
        chosen = [s for s in (*self.running, *self.waiting) if request_ids is None or s.request_id in request_ids]
        for sequence in chosen:
            sequence.aborted = True
            sequence.counts = counts
            sequence.notify()
        return len(chosen)

    @property
    def shown(self) -> tuple[int, int]:
        """Running and waiting as /metrics shows them: vLLM looks at each step, and there is none while it sleeps."""
        if not (self.paused or self.closed):
            self._look()
        return self._shown

    def _look(self) -> None:
        self._shown = (len(self.running), len(self.waiting))

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = self.closed = False
        for sequence in self.running:
            sequence.notify()
        self.schedule()

    async def idle(self) -> None:
        """The call returns once no request runs; requests that wait may be left."""
        while self.running:
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._changed.append(change)
            await change

    def _sort(self) -> None:
        if self._options.priority_scheduling:
            self.waiting.sort(key=lambda s: (s.priority, s.order))
        else:
            self.waiting.sort(key=lambda s: s.order)
