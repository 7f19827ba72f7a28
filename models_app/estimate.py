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
CONTEXT_BYTES: Final = GIB // 2  # CUDA context and libraries: 0.3 to 0.6 GiB
GRAPHS_BYTES: Final = GIB // 2  # CUDA graphs: 0.1 to 2 GiB
BATCH_TOKENS: Final = 8192  # vLLM's default for max_num_batched_tokens on large GPUs
LIVE_VECTORS: Final = 14  # 8 to 20 hidden vectors of a batch exist at once
SEQUENCES: Final = 1024  # vLLM's default for max_num_seqs on large GPUs: it samples that many once, at the start
LIVE_LOGITS: Final = 3  # rows of 4-byte logits that exist at once: with it, 3.3 GiB for 8B where 3.3 GiB were measured
HEADER_LIMIT: Final = 100 * 2**20

TORCH_BYTES: Final = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8_e4m3fn": 1.0}
KEPT: Final = """
    architectures model_type hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads
    head_dim vocab_size max_position_embeddings tie_word_embeddings torch_dtype dtype quantization_config
    layer_types sliding_window sliding_window_pattern use_sliding_window max_window_layers full_attention_interval
    kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim
    n_routed_experts num_experts num_local_experts n_shared_experts first_k_dense_replace moe_intermediate_size
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
    inner = config.get("text_config")
    told = inner if isinstance(inner, dict) else {}
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
        overhead_bytes=_overhead(told) if kind == "vllm-cuda" else DEFAULT_OVERHEAD_BYTES,
        kv_floor_bytes=floor,
    )


def kv_bytes_per_token(told: dict[str, Any], *, tensor_parallel: int = 1, dtype_bytes: int = 2) -> int:
    """KV bytes one token takes on each GPU, in layers that keep every token; 0 when the shape is unknown."""
    layers, _ = _layers(told)
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
    _, layers = _layers(told)
    window = int(told.get("sliding_window") or 0)
    return layers * min(window, length) * _layer_bytes(told, tensor_parallel, dtype_bytes)


def _layers(told: dict[str, Any]) -> tuple[int, int]:
    """How many layers keep every token, and how many only a window; linear attention keeps neither."""
    layers, kinds = int(told.get("num_hidden_layers") or 0), told.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return kinds.count("full_attention"), kinds.count("sliding_attention")
    if interval := told.get("full_attention_interval"):
        return layers // int(interval), 0
    if not told.get("sliding_window") or told.get("use_sliding_window") is False:
        return layers, 0
    if told.get("use_sliding_window"):  # Qwen2: the first layers keep every token
        full = min(int(told.get("max_window_layers") or 0), layers)
    else:
        pattern = told.get("sliding_window_pattern") or (2 if told.get("model_type") == "gemma2" else 0)
        full = layers // int(pattern) if pattern else 0
    return full, layers - full


def _overhead(told: dict[str, Any]) -> int:
    """CUDA context, graphs, the activations of one full batch, and the logits of as many sequences as may run."""
    activations = BATCH_TOKENS * int(told.get("hidden_size") or 4096) * 2 * LIVE_VECTORS
    logits = SEQUENCES * int(told.get("vocab_size") or 0) * 4 * LIVE_LOGITS
    return CONTEXT_BYTES + GRAPHS_BYTES + activations + logits


def _head_dim(told: dict[str, Any], heads: int) -> int:
    return int(told.get("head_dim") or int(told.get("hidden_size") or 0) // heads)


def _parameters(told: dict[str, Any]) -> int | None:
    """Bytes of a decoder's parameters by its shape, for a folder without weight files."""
    try:
        hidden, layers, vocabulary = (int(told[name]) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
        linear = layers * _attention(told, hidden) + _feed_forward(told, hidden, layers)
    except KeyError:
        return None
    rest = vocabulary * hidden * (1 if told.get("tie_word_embeddings") else 2) + (2 * layers + 1) * hidden
    plain = TORCH_BYTES.get(str(told.get("torch_dtype") or told.get("dtype")), 2.0)
    return int(linear * _quantised_bytes(told, plain) + rest * plain)


def _attention(told: dict[str, Any], hidden: int) -> int:
    """Parameters of one attention block."""
    heads = int(told["num_attention_heads"])
    rank = int(told.get("kv_lora_rank") or 0)
    if not rank:
        kv_heads = int(told.get("num_key_value_heads") or heads)
        return 2 * hidden * (heads + kv_heads) * _head_dim(told, heads)
    rope, nope, value = (int(told[name]) for name in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
    q_rank = int(told.get("q_lora_rank") or 0)
    query = (hidden + heads * (nope + rope)) * q_rank if q_rank else hidden * heads * (nope + rope)
    return query + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden


def _feed_forward(told: dict[str, Any], hidden: int, layers: int) -> int:
    """Parameters of all feed-forward blocks: dense ones, and experts with their router."""
    dense = 3 * hidden * int(told["intermediate_size"])
    experts = int(told.get("n_routed_experts") or told.get("num_experts") or told.get("num_local_experts") or 0)
    if not experts:
        return layers * dense
    width = int(told.get("moe_intermediate_size") or told["intermediate_size"])
    sparse = 3 * hidden * width * (experts + int(told.get("n_shared_experts") or 0)) + hidden * experts
    first = min(int(told.get("first_k_dense_replace") or 0), layers)
    return first * dense + (layers - first) * sparse


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
