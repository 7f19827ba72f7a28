"""What an engine's flags say about memory. Pure."""

import json
from collections.abc import Sequence
from typing import Any, Final

from models_app.flag_words import written
from models_app.memory.kv import Engine

HALF, SINGLE = 2, 4
_WIDTHS: Final = {"float32": SINGLE, "float": SINGLE, "float16": HALF, "half": HALF, "bfloat16": HALF}
_BATCHES: Final = {"vllm-cuda": 8192, "vllm-cpu": 4096}  # vLLM's defaults for max_num_batched_tokens of a server
_BATCH: Final = 2048
_SEQUENCES: Final = 1024  # vLLM's default for max_num_seqs on large GPUs: it samples that many once, at the start
_BLOCKS: Final = {"vllm-cpu": 128}
_BLOCK: Final = 16
_QUANTISED: Final = {"fp8": 1 / 2, "bitsandbytes": 0.5625 / 2, "experts_int8": 1 / 2, "int8": 1 / 2}
"""What is left of a weight of 16 bits that the engine quantises as it loads: 4.5 bits, with scales, of bitsandbytes."""


def value(extra_args: Sequence[str], name: str) -> str:
    """The value of a flag, as `--flag value` or `--flag=value`; the last one holds."""
    return written(extra_args, name).lower()


def width(extra_args: Sequence[str]) -> int:
    """Bytes of a weight in the engine. vLLM's dtype `auto` is 16 bits also for a model that is stored in 32."""
    return _WIDTHS.get(value(extra_args, "--dtype"), HALF)


def batch(kind: str, extra_args: Sequence[str]) -> int:
    """Tokens of one batch at most."""
    return _count(extra_args, "--max-num-batched-tokens") or _BATCHES.get(kind, _BATCH)


def sequences(extra_args: Sequence[str]) -> int:
    """Sequences that may run at once."""
    return _count(extra_args, "--max-num-seqs") or _SEQUENCES


def engine(kind: str, extra_args: Sequence[str], *, dtype: str, tensor_parallel: int) -> Engine:
    """The engine as its kind and flags make it."""
    side_by_side = 2 if kind == "vllm-cuda" and "--no-async-scheduling" not in extra_args else 1
    drafted = speculation(extra_args).get("num_speculative_tokens")
    cached = kind != "" and "--no-enable-prefix-caching" not in extra_args
    return Engine(
        tensor_parallel=tensor_parallel,
        width=width(extra_args),
        dtype=dtype,
        block=_count(extra_args, "--block-size") or _BLOCKS.get(kind, _BLOCK),
        batched=side_by_side * batch(kind, extra_args),
        state_width=_WIDTHS.get(value(extra_args, "--mamba-ssm-cache-dtype")),
        states=(2 if cached else 1) + (drafted if type(drafted) is int and 0 < drafted < 1000 else 0),
    )


def speculation(extra_args: Sequence[str]) -> dict[str, Any]:
    """What `--speculative-config` says; empty without one, or where it is not an object."""
    try:
        found = json.loads(written(extra_args, "--speculative-config") or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def quantised_share(extra_args: Sequence[str]) -> float | None:
    """How much of plain weights is left when the engine quantises them as it loads; None where it does not."""
    return _QUANTISED.get(value(extra_args, "--quantization") or value(extra_args, "-q"))


def _count(extra_args: Sequence[str], name: str) -> int:
    found = value(extra_args, name)
    return int(found) if found.isascii() and found.isdigit() and 0 < len(found) < 9 else 0
