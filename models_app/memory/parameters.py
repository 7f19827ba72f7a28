"""Bytes of a decoder's parameters by its shape, for a folder without weight files or a model that is not here. Pure."""

from typing import Any, Final

from models_app.catalogue import config, kinds, layers
from models_app.catalogue.layers import Role, Store

_BLOCK_FORMATS: Final = {"mxfp4": 4 / 8 + 1 / 32, "nvfp4": 4 / 8 + 1 / 16, "nvfp4-pack-quantized": 4 / 8 + 1 / 16}
"""Bytes of a weight with its part of a scale: one of 8 bits for 32 weights, or for 16."""


def stored_bytes(told: dict[str, Any], width: int) -> int | None:
    """Bytes of a decoder's parameters by its shape, for a folder without weight files; None if layers differ."""
    if kinds.differ(told):
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
    found = [each for layer in layers.of(told).layers for each in layer if isinstance(each, Store)]
    found = [each for each in found if each.role == Role.HEADS]
    if len(found) != count:
        raise KeyError("num_attention_heads")
    # Queries and the output are as wide as keys or values of every head are.
    wide = (layers.at(told, "num_attention_heads", place) for place in range(count))
    pairs = zip(wide, found, strict=True)
    return sum(hidden * (heads + layer.heads) * (layer.key + layer.value) for heads, layer in pairs)


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
    for told_format in (quantised.get("quant_method"), quantised.get("quant_algo"), quantised.get("format")):
        if (found := _BLOCK_FORMATS.get(str(told_format).lower())) is not None:
            return found
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
