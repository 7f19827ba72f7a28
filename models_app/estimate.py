"""How many bytes a model will take per GPU, before it was ever loaded: config.json and safetensors headers.

Used once, for placement; never shown as usage. The first load measures and replaces it.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

GIB: Final = 2**30
PAGE_BYTES: Final = 2 * 2**20
DEFAULT_OVERHEAD_BYTES: Final = 2 * GIB  # context 0.5, graphs and activations up to 1.5 (engines' published ranges)
DEFAULT_KV_FLOOR_BYTES: Final = GIB
HEADER_LIMIT: Final = 100 * 2**20

TORCH_BYTES: Final = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8_e4m3fn": 1.0}
KEPT: Final = """
    architectures model_type hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads
    head_dim vocab_size max_position_embeddings tie_word_embeddings torch_dtype dtype sliding_window layer_types
    kv_lora_rank qk_rope_head_dim quantization_config n_routed_experts num_experts num_local_experts
    moe_intermediate_size
""".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes per GPU."""

    weights_bytes: int
    kv_bytes_per_token: int
    overhead_bytes: int
    kv_floor_bytes: int


def facts(folder: Path | str) -> dict[str, Any]:
    """What a local model folder tells: its config's telling fields and, with weight files, their bytes.

    Raises FileNotFoundError without a config.json and ValueError for one that is not a JSON object.
    """
    root = Path(folder)
    config = json.loads((root / "config.json").read_text())
    if not isinstance(config, dict):
        raise ValueError(f"{root / 'config.json'} is not a JSON object")
    told = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    found = {name: value for name in KEPT if (value := told.get(name, config.get(name))) is not None}
    weights = _file_bytes(root)
    return found | ({"weights_bytes": weights} if weights else {})


def estimate(
    told: dict[str, Any],
    *,
    tensor_parallel: int = 1,
    max_model_len: int | None = None,
    kind: str = "",
    kv_dtype_bytes: int = 2,
) -> Estimate | None:
    """Bytes per GPU from a model's facts; None when the facts do not even tell its shape or size."""
    weights = told.get("weights_bytes") or _parameters(told)
    if not weights:
        return None
    per_token = kv_bytes_per_token(told, tensor_parallel=tensor_parallel, dtype_bytes=kv_dtype_bytes)
    length = min(max_model_len or told.get("max_position_embeddings") or 4096, 4096)
    pages = PAGE_BYTES * int(told.get("num_hidden_layers") or 32)
    window = _window_bytes(told, length, tensor_parallel=tensor_parallel, dtype_bytes=kv_dtype_bytes)
    floor = max(per_token * length + window, 3 * pages)  # the null page and two reserved ones stay mapped
    return Estimate(
        weights_bytes=-(-int(weights) // tensor_parallel),
        kv_bytes_per_token=per_token,
        overhead_bytes=DEFAULT_OVERHEAD_BYTES,
        kv_floor_bytes=floor,
    )


def kv_bytes_per_token(told: dict[str, Any], *, tensor_parallel: int = 1, dtype_bytes: int = 2) -> int:
    """KV bytes one token takes on each GPU, in layers that keep every token; 0 when the shape is unknown."""
    layers = int(told.get("num_hidden_layers") or 0)
    kinds = told.get("layer_types")
    if isinstance(kinds, list) and kinds:
        layers = sum(kind == "full_attention" for kind in kinds)
    if rank := told.get("kv_lora_rank"):  # MLA keeps one compressed vector, on every GPU
        return layers * (int(rank) + int(told.get("qk_rope_head_dim") or 0)) * dtype_bytes
    return layers * _layer_bytes(told, tensor_parallel, dtype_bytes)


def _layer_bytes(told: dict[str, Any], tensor_parallel: int, dtype_bytes: int) -> int:
    """Keys and values of one token in one attention layer."""
    heads = int(told.get("num_attention_heads") or 0)
    if not heads:
        return 0
    kv_heads = int(told.get("num_key_value_heads") or heads)
    return 2 * -(-kv_heads // tensor_parallel) * _head_dim(told, heads) * dtype_bytes


def _window_bytes(told: dict[str, Any], length: int, *, tensor_parallel: int, dtype_bytes: int) -> int:
    """What the layers that keep only a window hold for one sequence of `length` tokens."""
    kinds, window = told.get("layer_types"), told.get("sliding_window")
    if not isinstance(kinds, list) or not window:
        return 0
    layers = sum(kind == "sliding_attention" for kind in kinds)
    return layers * min(int(window), length) * _layer_bytes(told, tensor_parallel, dtype_bytes)


def _head_dim(told: dict[str, Any], heads: int) -> int:
    return int(told.get("head_dim") or int(told.get("hidden_size") or 0) // heads)


def _parameters(told: dict[str, Any]) -> int | None:
    """Bytes of a Llama-shaped model's parameters, for a folder without weight files."""
    try:
        hidden, inner = int(told["hidden_size"]), int(told["intermediate_size"])
        layers, vocabulary, heads = (
            int(told["num_hidden_layers"]),
            int(told["vocab_size"]),
            int(told["num_attention_heads"]),
        )
    except KeyError:
        return None
    kv_heads, dim = int(told.get("num_key_value_heads") or heads), _head_dim(told, heads)
    experts = int(told.get("n_routed_experts") or told.get("num_experts") or told.get("num_local_experts") or 1)
    width = int(told.get("moe_intermediate_size") or inner) if experts > 1 else inner
    attention = 2 * hidden * heads * dim + 2 * hidden * kv_heads * dim
    linear = layers * (attention + 3 * hidden * width * experts)
    rest = vocabulary * hidden * (1 if told.get("tie_word_embeddings") else 2) + (2 * layers + 1) * hidden
    plain = TORCH_BYTES.get(str(told.get("torch_dtype") or told.get("dtype")), 2.0)
    return int(linear * _quantised_bytes(told, plain) + rest * plain)


def _quantised_bytes(told: dict[str, Any], plain: float) -> float:
    """Bytes of one weight of a linear layer; embeddings and norms are not quantised."""
    quantised = told.get("quantization_config")
    if not isinstance(quantised, dict):
        return plain
    groups: list[dict[str, Any]] = list((quantised.get("config_groups") or {}).values())
    group: dict[str, Any] = (groups[0].get("weights") if groups else None) or {}
    bits = quantised.get("bits") or quantised.get("w_bit") or group.get("num_bits")
    if not bits:
        eight = "fp8" in str(quantised.get("quant_method")) or quantised.get("load_in_8bit")
        bits = 8 if eight else 4
    size = quantised.get("group_size") or quantised.get("q_group_size") or group.get("group_size") or 0
    # Each group of a 4-bit format has a 16-bit scale and a 4-bit zero point.
    return float(bits) / 8 + (2.5 / int(size) if int(size) > 0 and int(bits) < 8 else 0)


def _file_bytes(root: Path) -> int | None:
    """Bytes of the weights: the index's total, else the tensors of every safetensors header."""
    index = root / "model.safetensors.index.json"
    if index.is_file():
        total = json.loads(index.read_text()).get("metadata", {}).get("total_size")
        if isinstance(total, int):
            return total
    files = sorted(root.glob("model*.safetensors")) or sorted(root.glob("*.safetensors"))  # not both of two copies
    return sum(_tensor_bytes(file) for file in files) if files else None


def _tensor_bytes(file: Path) -> int:
    with file.open("rb") as opened:
        raw = opened.read(8)
        size = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
        if not 0 < size <= HEADER_LIMIT:
            raise ValueError(f"{file} is not a safetensors file")
        header = json.loads(opened.read(size))
    try:
        offsets = [tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"]
        return sum(end - begin for begin, end in offsets)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} has a header that is not safetensors'") from error
