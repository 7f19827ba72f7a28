"""How many bytes a model will take per GPU, before it was ever loaded: config.json and safetensors headers.

Used once, for placement; never shown as usage. The first load measures and replaces it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models_app.catalogue import config, layers
from models_app.catalogue.folder import facts as read_folder
from models_app.catalogue.layers import Keeps

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

FLOATS: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of an element as it is stored; every one of these is loaded in the engine's own width."""
INDEX_SCALE_BYTES: Final = 4  # of each token's key of a sparse attention's index, beside 8 bits an element
HALF, SINGLE = 2, 4
SINGLE_DTYPES: Final = ("float32", "float")
MOST_BYTES: Final = 2**50  # a pebibyte: what comes out larger was computed from nonsense


@dataclass(frozen=True, slots=True)
class Estimate:
    """All sizes are for one GPU, also where several GPUs share a replica."""

    weights_bytes: int
    kv_bytes_per_token: int
    overhead_bytes: int
    kv_floor_bytes: int | None
    """None when the shape does not tell it."""


def facts(folder: Path | str) -> dict[str, Any]:
    """What a local model folder tells: its config's telling fields and, with weight files, their bytes.

    Raises ValueError, saying in words why no engine could load the folder.
    """
    return read_folder(Path(folder))


def estimate(
    told: dict[str, Any],
    *,
    tensor_parallel: int = 1,
    max_model_len: int | None = None,
    kind: str = "",
    extra_args: Sequence[str] = (),
) -> Estimate | None:
    """Bytes per GPU from a model's facts or its config; None when these do not even tell its shape or size."""
    told = config.facts(told)
    width = _width(extra_args)
    weights = _loaded(told, width) or _parameters(told, width)
    if not weights or weights > MOST_BYTES:
        return None
    kv_width = 1 if _flag(extra_args, "--kv-cache-dtype").startswith("fp8") else width
    per_token = kv_bytes_per_token(told, tensor_parallel=tensor_parallel, dtype_bytes=kv_width)
    length = min(max_model_len or told.get("max_position_embeddings") or 4096, 4096)
    return Estimate(
        weights_bytes=-(-int(weights) // tensor_parallel),
        kv_bytes_per_token=per_token,
        overhead_bytes=_overhead(told) if kind == "vllm-cuda" else DEFAULT_OVERHEAD_BYTES,
        kv_floor_bytes=_floor(told, length, tensor_parallel, kv_width),
    )


def kv_bytes_per_token(told: dict[str, Any], *, tensor_parallel: int = 1, dtype_bytes: int = 2) -> int:
    """KV bytes one token takes on each GPU, in layers that keep every token; 0 when the shape is unknown."""
    return _kv_bytes(config.facts(told), Keeps.EVERYTHING, tensor_parallel, dtype_bytes)


def _floor(told: dict[str, Any], length: int, tensor_parallel: int, dtype_bytes: int) -> int | None:
    """What one sequence of `length` tokens takes, and never less than the pages that stay mapped; None if unknown."""
    growing, windowed = (
        _kv_bytes(told, keeps, tensor_parallel, dtype_bytes) for keeps in (Keeps.EVERYTHING, Keeps.WINDOW)
    )
    sequence = growing * length + windowed * min(layers.window(told), length)
    if not 0 < sequence <= MOST_BYTES:
        return None
    return max(sequence, 3 * PAGE_BYTES * int(told["num_hidden_layers"]))  # the null page and two reserved ones


def _kv_bytes(told: dict[str, Any], keeps: Keeps, tensor_parallel: int, dtype_bytes: int) -> int:
    """KV bytes of one token on each GPU, in the layers that keep so much."""
    found = [layer for layer in layers.of(told) if layer.keeps == keeps]
    if rank := told.get("kv_lora_rank"):  # MLA keeps one compressed vector, on every GPU
        indexed = told["index_head_dim"] + INDEX_SCALE_BYTES if told.get("index_head_dim") else 0
        return len(found) * int((rank + (told.get("qk_rope_head_dim") or 0)) * dtype_bytes + indexed)
    return sum(-(-layer.heads // tensor_parallel) * layer.width * dtype_bytes for layer in found)


def _width(extra_args: Sequence[str]) -> int:
    """Bytes of a weight in the engine. vLLM's dtype `auto` is 16 bits also for a model that is stored in 32."""
    return SINGLE if _flag(extra_args, "--dtype") in SINGLE_DTYPES else HALF


def _flag(extra_args: Sequence[str], name: str) -> str:
    """The value of a flag, as `--flag value` or `--flag=value`; the last one holds."""
    found = ""
    for place, word in enumerate(extra_args):
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") == name:
            found = value if equals else next(iter(extra_args[place + 1 : place + 2]), "")
    return found.lower()


def _loaded(told: dict[str, Any], width: int) -> int:
    """Bytes of the weight files once they are loaded; quantised ones stay as they are stored."""
    stored, by_dtype = int(told.get("weights_bytes") or 0), told.get("weights_by_dtype")
    if not isinstance(by_dtype, dict) or told.get("quantization_config"):
        return stored
    return sum(int(size * width // FLOATS.get(dtype, width)) for dtype, size in by_dtype.items())


def _overhead(told: dict[str, Any]) -> int:
    """CUDA context, graphs, the activations of one full batch, and the logits of as many sequences as may run."""
    activations = BATCH_TOKENS * int(told.get("hidden_size") or 4096) * 2 * LIVE_VECTORS
    logits = SEQUENCES * int(told.get("vocab_size") or 0) * 4 * LIVE_LOGITS
    if activations + logits > MOST_BYTES:
        return DEFAULT_OVERHEAD_BYTES
    return CONTEXT_BYTES + GRAPHS_BYTES + activations + logits


def _parameters(told: dict[str, Any], width: int) -> int | None:
    """Bytes of a decoder's parameters by its shape, for a folder without weight files; None if layers differ."""
    if layers.grows_unevenly(told):
        return None
    try:
        hidden, count, vocabulary = (told[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
        linear = _attentions(told, hidden, count) + _feed_forward(told, hidden, count)
    except KeyError:
        return None
    rest = vocabulary * hidden * (1 if told.get("tie_word_embeddings") else 2) + (2 * count + 1) * hidden
    return int(linear * _quantised_bytes(told, width) + rest * width)


def _attentions(told: dict[str, Any], hidden: int, count: int) -> int:
    """Parameters of all attention blocks."""
    if told.get("kv_lora_rank"):
        return count * _latent_attention(told, hidden)
    found = layers.of(told)
    if not all(layer.width for layer in found):
        raise KeyError("num_attention_heads")
    # Queries and the output are as wide as keys or values of every head are.
    wide = (layers.at(told, "num_attention_heads", place) for place in range(count))
    return sum(hidden * (heads + layer.heads) * layer.width for heads, layer in zip(wide, found, strict=True))


def _latent_attention(told: dict[str, Any], hidden: int) -> int:
    """Parameters of one MLA block."""
    heads, rank = layers.at(told, "num_attention_heads", 0), told["kv_lora_rank"]
    rope, nope, value = (told[name] for name in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
    q_rank = told.get("q_lora_rank") or 0
    query = (hidden + heads * (nope + rope)) * q_rank if q_rank else hidden * heads * (nope + rope)
    return int(query + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden)


def _feed_forward(told: dict[str, Any], hidden: int, count: int) -> int:
    """Parameters of all feed-forward blocks: dense ones, and experts with their router."""
    if "intermediate_size" not in told:
        raise KeyError("intermediate_size")
    dense = [3 * hidden * layers.at(told, "intermediate_size", place) for place in range(count)]
    experts = told.get("n_routed_experts") or told.get("num_experts") or told.get("num_local_experts") or 0
    if not experts:
        return sum(dense)
    width = told.get("moe_intermediate_size") or layers.at(told, "intermediate_size", 0)
    sparse = 3 * hidden * width * (experts + (told.get("n_shared_experts") or 0)) + hidden * experts
    first = min(told.get("first_k_dense_replace") or 0, count)
    return int(sum(dense[:first]) + (count - first) * sparse)


def _quantised_bytes(told: dict[str, Any], plain: int) -> float:
    """Bytes of one weight of a linear layer; embeddings and norms are not quantised."""
    quantised = told.get("quantization_config")
    if not quantised:
        return plain
    group = _first_group(quantised)
    bits = next(
        (
            found
            for each in (quantised.get("bits"), quantised.get("w_bit"), group.get("num_bits"))
            if (found := config.number(each))
        ),
        0,
    )
    if not bits:
        eight = "fp8" in str(quantised.get("quant_method")) or quantised.get("load_in_8bit") is True
        bits = 8 if eight else 4
    sizes = (quantised.get("group_size"), quantised.get("q_group_size"), group.get("group_size"))
    size = next((found for each in sizes if (found := config.number(each))), 0)
    # Each group of a 4-bit format has a 16-bit scale and a 4-bit zero point.
    return bits / 8 + (2.5 / size if size > 0 and bits < 8 else 0)


def _first_group(quantised: dict[str, Any]) -> dict[str, Any]:
    """How compressed-tensors quantises its first group's weights."""
    groups = quantised.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = group.get("weights") if isinstance(group, dict) else None
    return weights if isinstance(weights, dict) else {}
