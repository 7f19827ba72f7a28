"""The telling fields of a config.json under one name and with one type each, whatever family wrote it. Pure.

A field that has no sane value is left out: what is not known is absent, so that nobody computes with it.
"""

import math
from typing import Any, Final

MOST: Final = 2**48
MOST_LAYERS: Final = 10_000
TEXT_PARTS: Final = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "language_model_config",
    "lm_config",
    "text_model_config",
    "llm",
    "language_model",
)
"""Under what names multimodal configs keep their language model."""

_OTHER_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "hidden_size": ("n_embd", "d_model"),
    "intermediate_size": ("n_inner", "ffn_hidden_size", "d_ff"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "num_key_value_heads": (
        "n_head_kv",
        "num_kv_heads",
        "n_kv_heads",
        "multi_query_group_num",
        "num_attention_groups",
    ),
    "head_dim": ("kv_channels", "hidden_size_per_head", "attention_head_dim"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
    "max_position_embeddings": ("max_sequence_length", "max_seq_len", "seq_length", "n_positions", "n_ctx"),
    "num_experts": ("moe_num_experts",),
}
_PER_LAYER: Final = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
"""Numbers that some families tell for each layer apart."""
_NUMBERS: Final = """
    hidden_size num_hidden_layers vocab_size max_position_embeddings max_window_layers full_attention_interval
    kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim index_head_dim
    n_routed_experts num_experts num_local_experts n_shared_experts first_k_dense_replace moe_intermediate_size
    global_head_dim num_global_key_value_heads swa_head_dim swa_v_head_dim swa_num_key_value_heads
    attention_chunk_size no_rope_layer_interval weights_bytes
""".split()  # noqa: SIM905
_FLAGS: Final = ("tie_word_embeddings", "use_sliding_window", "multi_query", "new_decoder_architecture")
_TEXTS: Final = ("model_type", "torch_dtype", "dtype", "hybrid_override_pattern", "format")
_PATTERNS: Final = (
    "layer_types",
    "layers_block_type",
    "hybrid_layer_pattern",
    "attn_type_list",
    "no_rope_layers",
    "sliding_window",
    "sliding_window_pattern",
    "block_configs",
    "linear_attn_config",
    "architectures",
    "weights_by_dtype",
)
"""Fields that may be lists or objects; whoever reads them looks at the type."""


def facts(config: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a config. Facts that were kept pass unchanged."""
    told = _merged(config)
    found: dict[str, Any] = {}
    for name in (*_PER_LAYER, *_NUMBERS):
        value = next((told[each] for each in (name, *_OTHER_NAMES.get(name, ())) if told.get(each) is not None), None)
        kept = numbers(value) if name in _PER_LAYER else number(value)
        if kept is not None:
            found[name] = kept
    found |= {name: told[name] for name in _FLAGS if isinstance(told.get(name), bool)}
    found |= {name: clean(told[name]) for name in _TEXTS if isinstance(told.get(name), str)}
    found |= {name: kept for name in _PATTERNS if (kept := clean(told.get(name))) is not None}
    if isinstance(told.get("quantization_config"), dict):
        found["quantization_config"] = clean(told["quantization_config"])
    if found.get("num_hidden_layers", 0) > MOST_LAYERS:
        del found["num_hidden_layers"]
    return found


def number(value: Any) -> int | None:
    """A whole number that may count something, also where it is written 32.0 or "32"."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None


def numbers(value: Any) -> int | list[int] | None:
    """A number, or one for each layer where all of them are numbers."""
    if not isinstance(value, list):
        return number(value)
    found = [number(each) for each in value[:MOST_LAYERS]]
    return [each for each in found if each is not None] if found and None not in found else None


def clean(value: Any, depth: int = 0) -> Any:
    """The same as every JSON database takes it: no NaN, no NUL, no half of a character, no endless nesting."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | dict) and depth > 8:
        return None
    if isinstance(value, list):
        return [clean(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {clean(str(name)): clean(each, depth + 1) for name, each in value.items()}
    return value


def _merged(config: dict[str, Any]) -> dict[str, Any]:
    """The config, with what its language model says of itself on top."""
    text = _text_part(config)
    return config | {name: value for name, value in text.items() if value is not None}


def _text_part(config: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The language model's own config: under one of its names, else whatever part has a vocabulary and layers."""
    parts = [config[name] for name in TEXT_PARTS if isinstance(config.get(name), dict) and config[name]]
    if not parts and not _is_language_model(config):
        parts = [part for part in config.values() if isinstance(part, dict) and _is_language_model(part)]
    return _text_part(parts[0], depth + 1) if parts and depth < 4 else config


def _is_language_model(config: dict[str, Any]) -> bool:
    return all(
        any(config.get(each) is not None for each in (name, *_OTHER_NAMES[name]))
        for name in ("num_hidden_layers", "num_attention_heads")
    ) and any(config.get(each) is not None for each in ("vocab_size", *_OTHER_NAMES["vocab_size"]))
