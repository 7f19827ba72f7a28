"""The engine core: memory, sleep and generation behind one object. States as in vLLM 0.30 with its pitfalls."""

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from uuid import uuid4

from models_app.engines.simulator import text
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.flags import Options
from models_app.engines.simulator.memory import Devices, KVCache
from models_app.engines.simulator.metrics import Gauges, Metrics
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.scheduler import Scheduler, Sequence

TAGS = ("weights", "kv_cache")
PAUSE_MODES = ("abort", "wait", "keep")
LOGPROB_DAMAGE = 2.0
_WATCH_SECONDS = 0.1  # kvcached's own interval


@dataclass(frozen=True, slots=True)
class Asked:
    """What to generate from one prompt."""

    prompt: Prompt
    pieces: list[str]
    finish_reason: str
    request_id: str
    priority: int


class Engine:
    """Each simulator process has one Engine, which holds the memory, the sleep level and the scheduler."""

    def __init__(self, options: Options, devices: Devices, cache: KVCache) -> None:
        self.options = options
        self.devices = devices
        self.cache = cache
        self.metrics = Metrics()
        self.scheduler = Scheduler(options, cache, self.metrics)
        self.scheduler.on_start(self._spoil)
        self.level: int | None = None
        self.resting_awake = False  # at level 0, which the metric calls neither awake nor asleep
        self._resting: set[str] = set()
        self._stale_weights = False
        self._garbage = ""
        self._moves = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch the segment's limit."""
        if self.cache.elastic:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def sequence(self, asked: Asked) -> Sequence:
        """What the scheduler is to make of a request."""
        return Sequence(
            request_id=asked.request_id,
            prompt_tokens=max(len(asked.prompt.tokens), 1),
            block_hashes=_hashes(asked.prompt.tokens, self.cache.block_tokens),
            pieces=asked.pieces,
            finish_reason=asked.finish_reason,
            priority=asked.priority,
            pictured="<image" in asked.prompt.text,
        )

    def check_length(self, max_tokens: int | None) -> None:
        """Raise ApiError for a length of answer that no prompt could have."""
        longest = self.options.max_model_len
        if max_tokens is not None and max_tokens < 1:
            raise ApiError.value(f"max_tokens must be at least 1, got {max_tokens}.", "max_tokens", max_tokens)
        if max_tokens is not None and max_tokens > longest:
            raise ApiError.value(
                f"max_tokens={max_tokens} cannot be greater than max_model_len=max_total_tokens={longest}."
                " Please request fewer output tokens.",
                "max_tokens",
                max_tokens,
            )

    def limit(self, prompt_tokens: int, max_tokens: int | None) -> int:
        """How many tokens the answer to such a prompt may have, or vLLM's refusal."""
        longest = self.options.max_model_len
        wanted = 1 if max_tokens is None else max_tokens
        if prompt_tokens + wanted > longest:
            raise ApiError.value(
                f"This model's maximum context length is {longest} tokens. However, you requested {wanted} output "
                f"tokens and your prompt contains at least {prompt_tokens} input tokens, for a total of at least "
                f"{prompt_tokens + wanted} tokens. Please reduce the length of the input prompt or the number of "
                "requested output tokens.",
                "input_tokens",
                prompt_tokens,
            )
        return longest - prompt_tokens if max_tokens is None else max_tokens

    @property
    def sleeping(self) -> bool:
        """As /is_sleeping says: true also when only paused."""
        return self.scheduler.paused or self.scheduler.closed or self.level is not None

    async def pause(self, mode: str) -> None:
        """Stop generating: `abort` ends what runs, `wait` lets it end, `keep` freezes it."""
        if mode not in PAUSE_MODES:
            raise ApiError(f"Call to sleep method failed: Invalid pause mode: {mode}", 500)
        if mode == "abort":
            self.scheduler.abort(counts=True)
        if mode == "keep":
            self.scheduler.paused = True
            return
        self.scheduler.closed = True  # running ones may end, nothing new begins
        await self.scheduler.idle()
        self.cache.reset()

    def resume(self) -> None:
        self.scheduler.resume()

    async def sleep(self, level: int, mode: str) -> None:
        """Level 0 pauses, 1 offloads the weights, 2 drops them; the KV cache goes in both."""
        await self._hang("sleep")
        async with self._moves:
            await self.pause(mode)
            if level == 0:
                self.resting_awake = True
                return
            await asyncio.sleep(self.options.sleep_seconds)
            self.level = level
            self._resting = set(TAGS)
            if level == 1 and self.options.sleep_mode:
                self.devices.hold_on_host(self.options.weights_bytes)
            self._stale_weights = self._stale_weights or level >= 2
            self.cache.drop()
            if self.options.sleep_mode or self.cache.elastic:
                self.devices.hold(self.options.overhead_bytes)

    async def wake_up(self, tags: list[str]) -> None:
        """Take the memory of these tags again (all when none are given); raises OutOfMemory where it does not fit."""
        await self._hang("wake")
        async with self._moves:
            wanted = set(tags or TAGS) & self._resting
            if wanted:
                await asyncio.sleep(self.options.wake_seconds)
            weights = self.options.weights_bytes
            if "weights" in wanted:
                self.devices.hold(self.devices.held_bytes + weights)
                self._resting.discard("weights")
            if "kv_cache" in wanted:
                resting = weights if "weights" in self._resting else 0
                self.cache.restore(self.options.overhead_bytes + weights - resting)
                self._resting.discard("kv_cache")
            if "weights" in wanted and not self.options.keep_host_copy:
                self.devices.hold_on_host(0)
            if not self._resting:
                if self.level is not None:
                    self._garbage = self.options.garbage_after_wake
                self.level = None
                self.resting_awake = False
                self.resume()

    def reload_weights(self) -> None:
        """What has to follow a level-2 sleep."""
        self._stale_weights = False

    async def drain(self, seconds: float) -> None:
        """Take nothing new; give what runs so long to end, then abort it."""
        self.scheduler.stopped = True
        try:
            async with asyncio.timeout(seconds):
                await self.scheduler.idle()
        except TimeoutError:
            pass
        self.scheduler.abort(counts=True)

    def close(self) -> None:
        """Give the segment and the memory back, as a clean exit does."""
        if self._watcher is not None:
            self._watcher.cancel()
        self.cache.close()
        self.devices.release()

    def gauges(self) -> Gauges:
        """How the engine is now."""
        blocks = self.cache.limit_bytes // (self.options.kv_bytes_per_token * self.cache.block_tokens)
        concurrency = self.cache.capacity_tokens / self.options.max_model_len
        running, waiting = self.scheduler.shown
        return Gauges(
            running=running,
            waiting=waiting,
            deferred=0,
            kv_usage_ratio=self.cache.usage_ratio,
            sleep_state=self._sleep_state,
            config=f',block_size="{self.cache.block_tokens}",num_gpu_blocks="{blocks}"'
            f',kv_cache_size_tokens="{self.cache.capacity_tokens}",kv_cache_max_concurrency="{concurrency:.2f}"'
            f',gpu_memory_utilization="{self.options.gpu_memory_utilization}"',
        )

    @property
    def logprob_damage(self) -> float:
        """What log-probabilities are too low by."""
        return LOGPROB_DAMAGE if self._garbage in ("all", "logprob") else 0.0

    @property
    def _sleep_state(self) -> str:
        if self.level is None:
            return "" if self.resting_awake else "awake"
        return "weights_offloaded" if self.level == 1 else "discard_all"

    def _spoil(self, sequence: Sequence) -> None:
        kind = "image" if sequence.pictured else "text"
        if self._garbage in ("all", kind) or self._stale_weights:
            sequence.pieces = text.garbage(len(sequence.pieces))

    async def _hang(self, what: str) -> None:
        if what in self.options.hang:
            await asyncio.Event().wait()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self.cache.watch()
            if self.scheduler.waiting:
                self.scheduler.schedule()


def new_id(prefix: str) -> str:
    """A fresh identifier as vLLM makes them."""
    return f"{prefix}-{uuid4().hex[:16]}"


def _hashes(tokens: tuple[int, ...], block_tokens: int) -> list[int]:
    """A chain of hashes, one per full block of the prompt: equal prefixes have equal chains."""
    chain, found = b"", []
    for start in range(0, len(tokens) - block_tokens + 1, block_tokens):
        block = ",".join(map(str, tokens[start : start + block_tokens]))
        chain = blake2b(chain + block.encode(), digest_size=8).digest()
        found.append(int.from_bytes(chain))
    return found
