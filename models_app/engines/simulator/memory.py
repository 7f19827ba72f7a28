"""GPU memory: claims on simulated devices, and the KV cache with kvcached's limit semantics.

With kvcached, pages are mapped as they are needed and the segment says how many; a limit written there is seen by a
watcher and obeyed at the next allocation. Without it, the whole KV cache is claimed at the start.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from gpus import kvcached, simulated
from gpus.errors import SegmentBusy, SegmentMissing, SimulatedOutOfMemory
from models_app.engines.simulator.errors import OutOfMemory
from models_app.engines.simulator.flags import GIB, Options

_VMM_PAGE_BYTES = 2 * 2**20
_UNSIMULATED_TOTAL_BYTES = 80 * GIB


class Devices:
    """What this process holds on each of its GPUs; without SARDEENZ_SIMULATED_DIR there is no limit."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        directory = environment.get("SARDEENZ_SIMULATED_DIR", "")
        uuids = [uuid for uuid in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if uuid]
        self._claims = [simulated.Claim(directory, uuid) for uuid in uuids] if directory else []
        self._directory = Path(directory)
        host = simulated.host_id(environment.get("SARDEENZ_NODE", "local"))
        self._host = simulated.Claim(directory, host) if directory else None
        self.held_bytes = 0
        self.host_bytes = 0
        sizes = [claim.memory_bytes for claim in self._claims if claim.memory_bytes is not None]
        self.total_bytes = min(sizes, default=_UNSIMULATED_TOTAL_BYTES)
        self.has_limit = bool(sizes)

    def free_bytes(self) -> int:
        """What the fullest of the GPUs has left."""
        if not self.has_limit:
            return self.total_bytes
        spec = os.environ.get(simulated.GPUS, "")
        mine = {claim.uuid.rpartition("-")[2] for claim in self._claims}
        node = self._claims[0].uuid.removeprefix("GPU-sim-").rpartition("-")[0]
        readings = simulated.read_all(self._directory, node, spec)
        return min(reading.memory_free_bytes for reading in readings if str(reading.index) in mine)

    def hold(self, size_bytes: int) -> None:
        """Hold exactly this much on every GPU, or raise OutOfMemory and hold what was held."""
        before = self.held_bytes
        if size_bytes == before:
            return
        for place, claim in enumerate(self._claims):
            try:
                claim.set(size_bytes)
            except SimulatedOutOfMemory as error:
                for earlier in self._claims[:place]:
                    earlier.set(before)
                raise OutOfMemory(size_bytes - before, error.free_bytes - before) from error
        self.held_bytes = size_bytes

    def hold_on_host(self, size_bytes: int) -> None:
        """Pretend to hold this much host RAM for each of the GPUs: where a sleep at level 1 keeps the weights."""
        self.host_bytes = size_bytes * max(len(self._claims), 1)
        if self._host is not None:
            self._host.set(self.host_bytes)

    def release(self) -> None:
        """All claims of this process are closed, and the memory is free for other processes."""
        for claim in self._claims:
            claim.close()
        if self._host is not None:
            self._host.close()
        self.held_bytes = 0


class KVCache:
    """Blocks of tokens on pages of memory; also the prefix cache, which is what finished requests leave behind."""

    def __init__(self, options: Options, devices: Devices, environment: Mapping[str, str]) -> None:
        self._devices = devices
        self._block_bytes = options.kv_bytes_per_token * options.block_tokens
        self._prefix_caching = options.prefix_caching
        self.block_tokens = options.block_tokens
        self.elastic = environment.get("ENABLE_KVCACHED", "").lower() in ("true", "1")
        self.ipc_name = environment.get("KVCACHED_IPC_NAME") or f"kvcached_vLLM_{os.getpgid(0)}"
        self._directory = environment.get("SARDEENZ_SEGMENT_DIR") or "/dev/shm"
        page_bytes = int(environment.get("KVCACHED_PAGE_SIZE_MB", "2")) * 2**20 * options.layers
        self.page_bytes = page_bytes if self.elastic else _VMM_PAGE_BYTES
        self._watched = self.elastic and environment.get("KVCACHED_PAGE_PREALLOC_ENABLED", "true").lower() == "true"
        self._min_reserved = int(environment.get("KVCACHED_MIN_RESERVED_PAGES", "5")) if self._watched else 0
        self._max_reserved = int(environment.get("KVCACHED_MAX_RESERVED_PAGES", "10"))
        self._physical_ratio = float(environment.get("KVCACHED_GPU_UTILIZATION", "0.95"))
        cached_tokens = int(environment.get("KVCACHED_MAX_CACHED_TOKENS", "16000")) if self.elastic else -1
        self._max_cached = cached_tokens // options.block_tokens if cached_tokens >= 0 else None
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._blocks = 0
        self._reserved = 0
        self._published = (-1, -1)
        self.awake = False
        self.base_bytes = 0
        self.limit_bytes = 0
        self._target_bytes: int | None = None

    def open(self, base_bytes: int, capacity_bytes: int) -> None:
        """Make the segment, or claim the whole cache, on top of what the weights and the rest hold."""
        self.base_bytes = base_bytes
        self.limit_bytes = capacity_bytes
        if self.elastic:
            kvcached.create(self._directory, self.ipc_name, capacity_bytes)
        self.restore(base_bytes)

    def restore(self, base_bytes: int) -> None:
        """Take memory again after a sleep."""
        self.base_bytes = base_bytes
        self._devices.hold(base_bytes + (self.page_bytes if self.elastic else self.limit_bytes))
        self.awake = True
        self._settle()

    def drop(self) -> None:
        """Forget everything and give every page back; the caller lowers the claim."""
        self._cached.clear()
        self._blocks = self._reserved = 0
        self.awake = False
        self._publish()

    def watch(self) -> None:
        """Note a limit written from outside. Like kvcached, ignore 0, and act only at the next allocation."""
        if not self._watched:
            return
        segment = kvcached.read(self._directory, self.ipc_name)
        if segment is not None and segment.limit_bytes > 0:
            self._target_bytes = segment.limit_bytes

    def allocate(self, blocks: int) -> bool:
        """Take blocks for a request, or answer False when neither the limit nor the devices allow it."""
        if self._target_bytes is not None:
            self.limit_bytes, self._target_bytes = self._target_bytes, None
            self._reserved = min(self._reserved, max(self._limit_pages - self._pages(self._in_use), 0))
        while not self._fits(self._in_use + blocks):
            if not self._cached:
                self._settle()
                return False
            self._cached.popitem(last=False)
        self._blocks += blocks
        self._settle()
        return True

    def free(self, blocks: int, keep: Iterable[int] = ()) -> None:
        """Give a request's blocks back; `keep` are the hashes of those that stay as prefix cache."""
        self._blocks -= blocks
        if self._prefix_caching:
            room = blocks
            for block in keep:
                if block not in self._cached:
                    if not room:
                        break
                    room -= 1
                self._cached[block] = None
                self._cached.move_to_end(block)
            while self._max_cached is not None and len(self._cached) > self._max_cached:
                self._cached.popitem(last=False)
        self._settle()

    def hits(self, blocks: list[int]) -> int:
        """How many leading blocks of a prompt are cached."""
        found = 0
        for block in blocks:
            if block not in self._cached:
                break
            self._cached.move_to_end(block)
            found += 1
        return found

    def reset(self) -> bool:
        """Drop the prefix cache; False while requests hold blocks."""
        if self._blocks:
            return False
        self._cached.clear()
        self._settle()
        return True

    def close(self) -> None:
        """Unlink the segment, as a clean exit does."""
        if self.elastic:
            kvcached.sweep(self._directory, self.ipc_name)

    @property
    def usage_ratio(self) -> float:
        """The share of what could be used that requests use."""
        capacity = self.limit_bytes // self._block_bytes
        return min(self._blocks / capacity, 1.0) if capacity else 0.0

    @property
    def capacity_tokens(self) -> int:
        """Tokens that fit under the limit."""
        return self.limit_bytes // self._block_bytes * self.block_tokens

    @property
    def mapped_bytes(self) -> int:
        """Physical memory of the cache."""
        if not self.awake:
            return 0
        return (self._pages(self._in_use) + self._reserved) * self.page_bytes if self.elastic else self.limit_bytes

    @property
    def _in_use(self) -> int:
        return self._blocks + len(self._cached)

    @property
    def _limit_pages(self) -> int:
        return self.limit_bytes // self.page_bytes

    def _pages(self, blocks: int) -> int:
        return -(-blocks * self._block_bytes // self.page_bytes) + (1 if self.elastic else 0)  # 1: the null page

    def _fits(self, blocks: int) -> bool:
        """Try to have the pages for so many blocks mapped; reserved ones are used first."""
        pages = self._pages(blocks)
        mapped = self._pages(self._in_use) + self._reserved
        if pages > self._limit_pages:
            # A limit below what is in use revokes nothing: what is mapped may be filled, nothing is added.
            return pages <= self._pages(self._in_use)
        return pages <= mapped or not self.elastic or self._map(pages)

    def _map(self, pages: int) -> bool:
        margin = int((1 - self._physical_ratio) * self._devices.total_bytes)
        if self._devices.has_limit and self._devices.free_bytes() <= margin:
            return False
        with suppress(OutOfMemory):
            self._devices.hold(self.base_bytes + pages * self.page_bytes)
            return True
        return False

    def _settle(self) -> None:
        """Park freed pages as reserved ones up to the maximum, keep the minimum, and publish."""
        if not self.elastic or not self.awake:
            return
        used = self._pages(self._in_use)
        mapped = (self._devices.held_bytes - self.base_bytes) // self.page_bytes
        room = max(self._limit_pages - used, 0)
        self._reserved = min(max(mapped - used, 0), self._max_reserved, room)
        wanted = min(self._min_reserved, room)
        if self._reserved < wanted and self._map(used + wanted):
            self._reserved = wanted
        self._devices.hold(self.base_bytes + (used + self._reserved) * self.page_bytes)
        self._publish()

    def _publish(self) -> None:
        if not self.elastic:
            return
        used = self._pages(self._in_use) * self.page_bytes if self.awake else 0
        now = (used, self._reserved * self.page_bytes)
        if now == self._published:
            return
        # Somebody may sweep the segment of a live engine, or hold its lock: telemetry is worth no crash.
        with suppress(SegmentMissing, SegmentBusy):
            kvcached.write(self._directory, self.ipc_name, used_bytes=now[0], prealloc_bytes=now[1])
            self._published = now
