"""The start of an engine: the phases of vLLM's log, spread over the load time, and the memory they take."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from models_app.engines.simulator import VLLM_VERSION, logs
from models_app.engines.simulator.errors import OutOfMemory
from models_app.engines.simulator.flags import GIB, Options
from models_app.engines.simulator.memory import Devices, KVCache

_SHARDS = 4


class LoadFailed(Exception):
    """The engine could not start; the log says why."""


@dataclass(frozen=True, slots=True)
class Loader:
    """A Loader loads one engine; `pause` is called with the seconds that each phase takes."""

    options: Options
    devices: Devices
    cache: KVCache
    pause: Callable[[float], None] = time.sleep

    def load(self) -> None:
        """Print and take what a real engine would, in its order."""
        self._announce()
        self._resolve()
        self._guard()
        self._weights()
        self._cache()
        self._warm_up()

    def _spend(self, ratio: float) -> None:
        self.pause(self.options.load_seconds * ratio)

    def _announce(self) -> None:
        if self.cache.elastic:
            logs.raw("APIServer", "[kvcached][INFO] Successfully patched vllm: version=" + VLLM_VERSION)
        logs.api("api_utils.py:347", f"version {VLLM_VERSION}")
        logs.api("api_utils.py:347", f"model   {self.options.model}")
        logs.api("api_utils.py:286", f"non-default args: {self.options.non_default}")
        if self.options.unknown:
            ignored = " ".join(self.options.unknown)
            logs.api("serve.py:1", f"Flags the simulator does not know were ignored: {ignored}", "WARNING")
        self._spend(0.1)

    def _resolve(self) -> None:
        options = self.options
        if options.fail_load == "missing":
            message = (
                f"OSError: {options.model} is not a local folder and is not a valid model identifier listed on"
                " 'https://huggingface.co/models'"
            )
            self._fail("APIServer", '  File "vllm/transformers_utils/config.py", line 1, in get_config', message)
        if options.fail_load == "arch":
            message = (
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
                "  Value error, Model architectures ['SardineForCausalLM'] are not supported for now. Supported"
                " architectures: dict_keys(['LlamaForCausalLM', 'Qwen3ForCausalLM'])"
                " [type=value_error, input_value=ArgsKwargs((), {'model': '...'}), input_type=ArgsKwargs]"
            )
            self._fail("APIServer", '  File "vllm/config/model.py", line 1, in __post_init__', message)
        logs.api("model.py:692", f"Resolved architecture: {options.architecture}")
        logs.api("model.py:2030", f"Using max model len {options.max_model_len}")
        self._spend(0.1)
        if self.cache.elastic:
            logs.raw("EngineCore", "[kvcached][INFO] Successfully patched vllm: version=" + VLLM_VERSION)
        logs.core("core.py:123", f"Initializing a V1 LLM engine (v{VLLM_VERSION}) with config: model={options.model!r}")

    def _guard(self) -> None:
        """vLLM's check of free memory at the start, which kvcached replaces."""
        options = self.options
        if self.cache.elastic or not self.devices.has_limit or options.kv_cache_memory_bytes is not None:
            return
        free, total = self.devices.free_bytes(), self.devices.total_bytes
        wanted = int(total * options.gpu_memory_utilization)
        if free < wanted:
            message = (
                f"ValueError: Free memory on device cuda:0 ({free / GIB:.2f}/{total / GIB:.2f} GiB) on startup is less"
                f" than desired GPU memory utilization ({options.gpu_memory_utilization}, {wanted / GIB:.2f} GiB)."
                " Decrease GPU memory utilization or reduce GPU memory used by other processes."
            )
            self._fail_core('  File "vllm/v1/worker/utils.py", line 1, in request_memory', message)

    def _weights(self) -> None:
        options = self.options
        started = time.monotonic()
        logs.core("gpu_model_runner.py:5318", f"Starting to load model {options.model}...")
        for shard in range(_SHARDS + 1):
            percent = 100 * shard // _SHARDS
            bar = f"Loading safetensors checkpoint shards: {percent:3d}% Completed | {shard}/{_SHARDS}"
            logs.raw("EngineCore", bar)
            if options.fail_load == "oom" and shard == _SHARDS // 2:
                self._out_of_memory(OutOfMemory(options.weights_bytes, 0))
            self._hold(options.weights_bytes * shard // _SHARDS)
            self._spend(0.1)
        took = time.monotonic() - started
        logs.core("default_loader.py:431", f"Loading weights took {took:.2f} seconds")
        size = options.weights_bytes / GIB
        logs.core("gpu_model_runner.py:5417", f"Model loading took {size:.2f} GiB memory and {took:.6f} seconds")

    def _cache(self) -> None:
        options = self.options
        if not options.enforce_eager:
            path = "/root/.cache/vllm/torch_compile_cache/simulated"
            logs.core("backends.py:293", f"Using cache directory: {path} for vLLM's torch.compile")
            self._spend(0.1)
            logs.core("backends.py:1095", f"Compiling a graph for compile range (1, 8192) takes {0.0:.2f} s")
        base = options.weights_bytes + options.overhead_bytes
        self._hold(base)
        budget = int(self.devices.total_bytes * options.gpu_memory_utilization)
        capacity = options.kv_cache_memory_bytes or budget - base
        if self.cache.elastic:
            logs.core(
                "patches.py:3012",
                f"Using kvcached process-local KV capacity: budget={budget} bytes,"
                f" weights={options.weights_bytes} bytes, torch_peak=0 bytes, cudagraph=0 bytes (ignored),"
                f" available={capacity} bytes; whole-device non-torch and CUDA Graph deltas are ignored",
                "WARNING",
            )
            logs.raw("EngineCore", f"[kvcached][INFO] Init C++ PageAllocator: mem_size_per_layer={capacity}")
        else:
            logs.core("gpu_worker.py:277", f"Available KV cache memory: {capacity / GIB:.2f} GiB")
        self._check_capacity(capacity)
        try:
            self.cache.open(base, capacity)
        except OutOfMemory as error:
            self._out_of_memory(error)
        tokens = self.cache.capacity_tokens
        logs.core(
            "kv_cache_utils.py:2395",
            f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {options.max_model_len:,} tokens per"
            f" request: {tokens / options.max_model_len:.2f}x",
        )

    def _check_capacity(self, capacity: int) -> None:
        options = self.options
        if capacity <= 0:
            message = (
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"
                " initializing the engine."
            )
            self._fail_core('  File "vllm/v1/core/kv_cache_utils.py", line 1, in check_enough_kv_cache_memory', message)
        needed = options.max_model_len * options.kv_bytes_per_token
        if needed > capacity:
            longest = capacity // options.kv_bytes_per_token
            message = (
                f"ValueError: To serve at least one request with the models's max seq len ({options.max_model_len}),"
                f" ({needed / GIB:.2f} GiB KV cache is needed, which is larger than the available KV cache memory"
                f" ({capacity / GIB:.2f} GiB). Based on the available memory, the estimated maximum model length is"
                f" {longest}. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing"
                " the engine."
            )
            self._fail_core('  File "vllm/v1/core/kv_cache_utils.py", line 1, in check_enough_kv_cache_memory', message)

    def _warm_up(self) -> None:
        options = self.options
        if not options.enforce_eager:
            logs.raw("EngineCore", "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|##########| 51/51")
            self._spend(0.1)
            logs.core(
                "gpu_model_runner.py:6930",
                f"Graph capturing finished in {options.load_seconds * 0.1:.0f} secs, took 0.00 GiB",
            )
        took = options.load_seconds * 0.3
        logs.core(
            "core.py:379",
            f"init engine (profile, create kv cache, warmup model) took {took:.2f} s (compilation: {took / 2:.2f} s)",
        )
        tasks = ["embed", "classify"] if options.pooling else ["generate"]
        logs.api("entry.py:135", f"Supported tasks: {tasks}")

    def _hold(self, size_bytes: int) -> None:
        try:
            self.devices.hold(size_bytes)
        except OutOfMemory as error:
            self._out_of_memory(error)

    def _out_of_memory(self, error: OutOfMemory) -> None:
        self._fail_core(
            '  File "vllm/v1/worker/gpu_model_runner.py", line 1, in load_model', f"torch.OutOfMemoryError: {error}"
        )

    def _fail_core(self, place: str, message: str) -> None:
        logs.core("core.py:1320", "EngineCore failed to start.", "ERROR")
        logs.traceback(place, message)
        failed = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
        self._fail("APIServer", '  File "vllm/v1/engine/utils.py", line 1, in wait_for_engine_startup', failed)

    def _fail(self, process: str, place: str, message: str) -> None:
        logs.traceback(place, message, process=process)
        raise LoadFailed(message)
