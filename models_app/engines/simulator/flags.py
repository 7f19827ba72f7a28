"""vLLM's command line as far as we use it, plus the fault switches. Unknown flags are reported, not refused."""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_app.catalogue.folder import facts, is_model
from models_app.catalogue.reading import Unusable
from models_app.memory.estimate import kv_bytes_per_token

GIB = 2**30
GARBAGE = ("all", "text", "image", "logprob")
"""What a bad wake may spoil: every answer, those to prompts without or with a picture, or log-probabilities alone."""
_NUMBER = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgGtT]?)(?:i?[bB])?$")
_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_PARAMETERS = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![a-zA-Z])")
_POOLING = re.compile(r"embed|bge|gte-|e5-|rerank|colbert", re.IGNORECASE)
_DEFAULT_KV_BYTES_PER_TOKEN = 131_072  # Llama-3.1-8B: 32 layers, 8 KV heads of 128, bf16


@dataclass(frozen=True, slots=True)
class Options:
    """What the engine was asked to be."""

    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    uds: str | None
    api_keys: tuple[str, ...]
    max_model_len: int
    max_num_seqs: int
    tensor_parallel: int
    gpu_memory_utilization: float
    kv_cache_memory_bytes: int | None
    block_tokens: int
    layers: int
    prefix_caching: bool
    sleep_mode: bool
    pooling: bool
    priority_scheduling: bool
    tool_parser: bool
    auto_tools: bool
    force_usage: bool
    tells_cached_tokens: bool
    request_id_headers: bool
    log_stats: bool
    access_log: bool
    enforce_eager: bool
    architecture: str
    shutdown_timeout_seconds: float
    load_seconds: float
    tokens_per_second: float
    ttft_seconds: float
    wake_seconds: float
    sleep_seconds: float
    crash_after_seconds: float | None
    ignore_sigterm: bool
    hang: frozenset[str]
    garbage_after_wake: str
    keep_host_copy: bool
    fail_load: str | None
    weights_bytes: int
    overhead_bytes: int
    kv_bytes_per_token: int
    seed: int
    dev_mode: bool
    non_default: str
    unknown: tuple[str, ...]


def count(text: str) -> int:
    """vLLM's human-readable integers: `8k` is 8000, `8K` is 8192."""
    match = _NUMBER.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 4096, 8k or 2G")
    unit = match[2]
    return int(float(match[1]) * (_DECIMAL[unit] if unit.islower() or not unit else _BINARY[unit]))


def parse(argv: list[str]) -> Options:
    """Read the command line, or leave with argparse's message and status 2."""
    parser = _parser()
    values, unknown = parser.parse_known_args([_dashed(arg) for arg in argv])
    config = _facts(parser, values.model)
    if values.max_model_len is None:
        values.max_model_len = int(config.get("max_position_embeddings", 32_768))
    names = tuple(values.served_model_name or [values.model])
    tensor_parallel = values.tensor_parallel_size
    stored = config.get("weights_bytes") or _weights(values.model)
    weights = values.weights_bytes if values.weights_bytes is not None else stored // tensor_parallel
    per_token = values.kv_bytes_per_token
    return Options(
        model=values.model,
        served_names=names,
        host=values.host or "127.0.0.1",
        port=values.port,
        uds=values.uds,
        api_keys=_api_keys(values.api_key),
        max_model_len=values.max_model_len,
        max_num_seqs=values.max_num_seqs,
        tensor_parallel=tensor_parallel,
        gpu_memory_utilization=values.gpu_memory_utilization,
        kv_cache_memory_bytes=values.kv_cache_memory_bytes,
        block_tokens=values.block_size,
        layers=int(config.get("num_hidden_layers", 32)),
        prefix_caching=values.enable_prefix_caching,
        sleep_mode=values.enable_sleep_mode,
        pooling=values.runner == "pooling" or (values.runner == "auto" and bool(_POOLING.search(values.model))),
        priority_scheduling=values.scheduling_policy == "priority",
        tool_parser=values.tool_call_parser is not None,
        auto_tools=values.enable_auto_tool_choice,
        force_usage=values.enable_force_include_usage,
        tells_cached_tokens=values.enable_prompt_tokens_details,
        request_id_headers=values.enable_request_id_headers,
        log_stats=not values.disable_log_stats,
        access_log=not values.disable_uvicorn_access_log,
        enforce_eager=values.enforce_eager,
        architecture=(config.get("architectures") or ["LlamaForCausalLM"])[0],
        shutdown_timeout_seconds=values.shutdown_timeout,
        load_seconds=values.load_seconds,
        tokens_per_second=values.tokens_per_second,
        ttft_seconds=values.ttft_seconds,
        wake_seconds=values.wake_seconds,
        sleep_seconds=values.sleep_seconds,
        crash_after_seconds=values.crash_after,
        ignore_sigterm=values.ignore_sigterm,
        hang=frozenset(values.hang),
        garbage_after_wake=values.garbage_after_wake,
        keep_host_copy=values.keep_host_copy,
        fail_load=values.fail_load,
        weights_bytes=weights,
        overhead_bytes=values.overhead_bytes,
        kv_bytes_per_token=per_token or _kv_bytes_per_token(config, tensor_parallel),
        seed=values.seed,
        dev_mode=os.environ.get("VLLM_SERVER_DEV_MODE", "0") == "1",
        non_default=_non_default(parser, values),
        unknown=tuple(unknown),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm", description="A simulated vLLM.")
    serve = parser.add_subparsers(dest="subparser", required=True).add_parser("serve")
    serve.add_argument("model", metavar="model_tag")
    _add_server_flags(serve)
    _add_engine_flags(serve)
    _add_fault_switches(serve)
    return parser


def _add_server_flags(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--uds")
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--api-key", nargs="*")
    serve.add_argument("--shutdown-timeout", type=float, default=0.0)
    serve.add_argument("--tool-call-parser")
    serve.add_argument("--uvicorn-log-level", default="info")
    for name in ("enable-auto-tool-choice", "enable-force-include-usage", "enable-request-id-headers"):
        serve.add_argument(f"--{name}", action="store_true")
    for name in ("disable-uvicorn-access-log", "disable-log-stats", "enable-server-load-tracking"):
        serve.add_argument(f"--{name}", action="store_true")
    serve.add_argument("--enable-prompt-tokens-details", action="store_true")


def _add_engine_flags(serve: argparse.ArgumentParser) -> None:
    boolean = argparse.BooleanOptionalAction
    serve.add_argument("--max-model-len", type=count)
    serve.add_argument("--max-num-seqs", type=count, default=256)
    serve.add_argument("--max-num-batched-tokens", type=count)
    serve.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    serve.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    serve.add_argument("--kv-cache-memory-bytes", type=count)
    serve.add_argument("--block-size", type=int, default=16)
    serve.add_argument("--dtype", default="auto")
    serve.add_argument("--revision")
    serve.add_argument("--load-format", default="auto")
    serve.add_argument("--quantization", "-q")
    serve.add_argument("--runner", choices=["auto", "generate", "pooling", "draft"], default="auto")
    serve.add_argument("--convert", default="auto")
    serve.add_argument("--scheduling-policy", choices=["fcfs", "priority"], default="fcfs")
    serve.add_argument("--distributed-executor-backend")
    serve.add_argument("--seed", type=int, default=0)
    serve.add_argument("--enforce-eager", action=boolean, default=False)
    serve.add_argument("--enable-sleep-mode", action=boolean, default=False)
    serve.add_argument("--enable-prefix-caching", action=boolean, default=True)
    serve.add_argument("--trust-remote-code", action=boolean, default=False)


def _add_fault_switches(serve: argparse.ArgumentParser) -> None:
    group = serve.add_argument_group("simulator")
    group.add_argument("--load-seconds", type=float, default=2.0)
    group.add_argument("--tokens-per-second", type=float, default=100.0, help="per stream")
    group.add_argument("--ttft-seconds", type=float, default=0.02)
    group.add_argument("--wake-seconds", type=float, default=0.2)
    group.add_argument("--sleep-seconds", type=float, default=0.1)
    group.add_argument("--crash-after", type=float, metavar="SECONDS", help="after the start of serving")
    group.add_argument("--ignore-sigterm", action="store_true")
    group.add_argument("--hang", action="append", default=[], choices=["health", "sleep", "wake", "generate"])
    group.add_argument("--garbage-after-wake", nargs="?", const="all", default="", choices=GARBAGE, help="all, or what")
    group.add_argument("--keep-host-copy", action="store_true", help="the copy of a level-1 sleep stays after the wake")
    group.add_argument("--fail-load", choices=["oom", "missing", "arch"])
    group.add_argument("--weights-bytes", type=count, help="per GPU")
    group.add_argument("--overhead-bytes", type=count, default=GIB, help="per GPU; what sleep leaves")
    group.add_argument("--kv-bytes-per-token", type=count, help="per GPU")


def _dashed(arg: str) -> str:
    """vLLM takes `--max_model_len` for `--max-model-len`."""
    if not arg.startswith("--"):
        return arg
    name, equals, value = arg.partition("=")
    return name.replace("_", "-") + equals + value


def _facts(parser: argparse.ArgumentParser, model: str) -> dict[str, Any]:
    """What the folder tells where MODEL is one; what vLLM could not load ends here too."""
    if not is_model(Path(model)):
        return {}
    try:
        return facts(Path(model))
    except Unusable as error:
        parser.error(str(error))


def _weights(model: str) -> int:
    """Bytes of the weights: two per parameter of a name such as `llama-8b`, else 1 GiB."""
    named = _PARAMETERS.search(model)
    return int(float(named[1]) * 2e9) if named else GIB


def _kv_bytes_per_token(config: dict[str, Any], tensor_parallel: int) -> int:
    return kv_bytes_per_token(config, tensor_parallel=tensor_parallel) or _DEFAULT_KV_BYTES_PER_TOKEN


def _api_keys(given: list[str] | None) -> tuple[str, ...]:
    keys = given or [os.environ.get("VLLM_API_KEY", "")]
    return tuple(key for key in keys if key)


def _non_default(parser: argparse.ArgumentParser, values: argparse.Namespace) -> str:
    serve = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices["serve"]
    shown = {
        key: "***" if key == "api_key" else value
        for key, value in vars(values).items()
        if key not in ("model", "subparser") and value != serve.get_default(key)
    }
    return repr({"model_tag": values.model, **shown, "model": values.model})
