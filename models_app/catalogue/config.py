"""The telling fields of a config.json under one name and with one type each, whatever family wrote it. Pure.

A field that has no sane value is left out: what is not known is absent, so that nobody computes with it.
"""

import math
from typing import Any, Final

from models_app.catalogue import families

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
    "hidden_size": ("n_embd", "d_model", "model_dim"),
    "intermediate_size": ("n_inner", "ffn_hidden_size", "d_ff", "ffn_dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "num_key_value_heads": (
        "n_head_kv",
        "num_kv_heads",
        "n_kv_heads",
        "multi_query_group_num",
        "num_attention_groups",
    ),
    "head_dim": ("attention_head_dim", "kv_channels", "hidden_size_per_head"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
    "max_position_embeddings": ("max_sequence_length", "max_seq_len", "seq_length", "n_positions", "n_ctx"),
    "num_experts": ("moe_num_experts",),
    "num_nextn_predict_layers": ("mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers"),
    # Recurrent layers: heads, their width, the state's width, groups, the convolution's length.
    "mamba_heads": ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads"),
    "mamba_head_dim": ("mamba_d_head", "mamba_headdim"),
    "mamba_state": ("ssm_state_size", "mamba_d_state", "state_size"),
    "mamba_groups": ("n_groups", "mamba_n_groups", "mamba_ngroups"),
    "mamba_conv": ("mamba_d_conv", "conv_kernel", "conv_L_cache"),
    "mamba_expand": ("expand",),
    "mamba_width": ("mamba_d_ssm", "lru_width"),
    "linear_conv": ("linear_conv_kernel_dim",),
}
_PER_LAYER: Final = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "mamba_expand")
"""Numbers that some families tell for each layer apart."""
_NUMBERS: Final = """
    hidden_size num_hidden_layers vocab_size max_position_embeddings max_window_layers full_attention_interval
    kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim index_head_dim
    n_routed_experts num_experts num_local_experts n_shared_experts first_k_dense_replace moe_intermediate_size
    global_head_dim num_global_key_value_heads swa_head_dim swa_v_head_dim swa_num_key_value_heads
    attention_chunk_size no_rope_layer_interval weights_bytes tower_bytes num_nextn_predict_layers
    mamba_heads mamba_head_dim mamba_state mamba_groups mamba_conv mamba_width linear_conv
    linear_key_head_dim linear_value_head_dim linear_num_key_heads linear_num_value_heads
    linear_head_dim linear_num_heads attn_layer_period attn_layer_offset layer_group_size
    index_topk_freq index_skip_topk_offset num_kv_shared_layers attention_window_size window_size
    global_attn_every_n_layers local_attention num_sliding_key_value_heads
""".split()  # noqa: SIM905
_FLAGS: Final = (
    "tie_word_embeddings",
    "use_sliding_window",
    "multi_query",
    "new_decoder_architecture",
    "is_encoder_decoder",
    "attention_k_eq_v",
    "use_mla",
)
_TEXTS: Final = (
    "model_type",
    "torch_dtype",
    "dtype",
    "hybrid_override_pattern",
    "format",
    "read_as",
    "mamba_ssm_dtype",
    "mamba_ssm_cache_dtype",
    "unread",
    "weights_from",
)
_PATTERNS: Final = (
    "layer_types",
    "layers_block_type",
    "block_types",
    "attention_types",
    "hybrid_layer_pattern",
    "attn_type_list",
    "no_rope_layers",
    "sliding_window",
    "sliding_window_pattern",
    "block_configs",
    "linear_attn_config",
    "attn_layer_indices",
    "full_attn_idxs",
    "hybrid_layer_ids",
    "compress_ratios",
    "compress_rates",
    "indexer_types",
    "index_topk_pattern",
    "attention_other_setting",
    "per_layer_config",
    "attn_config",
    "architectures",
    "weights_by_dtype",
)
"""Fields that may be lists or objects; whoever reads them looks at the type."""
_OF_THE_WHOLE: Final = (
    "architectures",
    "model_type",
    "quantization_config",
    "torch_dtype",
    "dtype",
    "tie_word_embeddings",
    "vocab_size",
    "max_position_embeddings",
    "format",
    "weights_bytes",
    "weights_by_dtype",
)
"""A window or a number of heads beside these belongs to a tower for images or sounds."""
_NEEDED: Final = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
"""A value of another type in one of these leaves the shape open, and is not put right by a family's default."""


def facts(config: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of a config, with what its family fills in. Facts that were kept pass unchanged."""
    told = _with_defaults(_merged(config))
    found: dict[str, Any] = {}
    for name in (*_PER_LAYER, *_NUMBERS):
        value = next((told[each] for each in (name, *_OTHER_NAMES.get(name, ())) if told.get(each) is not None), None)
        kept = numbers(value) if name in _PER_LAYER else number(value)
        if kept is not None:
            found[name] = kept
        elif value is not None and name in _NEEDED and "unread" not in told:
            found.setdefault("unread", name)
    found |= {name: told[name] for name in _FLAGS if isinstance(told.get(name), bool)}
    found |= {name: clean(told[name]) for name in _TEXTS if isinstance(told.get(name), str)}
    found |= {name: kept for name in _PATTERNS if (kept := clean(told.get(name))) is not None}
    if isinstance(told.get("quantization_config"), dict):
        found["quantization_config"] = clean(told["quantization_config"])
    listed = [found[name] for name in ("layers_block_type", "layer_types") if isinstance(found.get(name), list)]
    if listed and ("num_hidden_layers" not in found or found.get("read_as") == "nemotronh"):
        found["num_hidden_layers"] = len(listed[0])  # Nemotron-H as it is saved tells no number, and believes its list
    if found.get("num_hidden_layers", 0) > MOST_LAYERS:
        del found["num_hidden_layers"]
    return found


def wrong_field(config: dict[str, Any]) -> str:
    """A field that decides the shape and has a value of another type, in words; empty where there is none."""
    told = _merged(config)
    for name in _NEEDED:
        for each in (name, *_OTHER_NAMES.get(name, ())):
            value = told.get(each)
            if value is not None and (numbers(value) if name in _PER_LAYER else number(value)) is None:
                return f"{each} must be a whole number, not {str(value)[:40]!r}"
    return ""


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
    """What its language model says of itself, nulls too, and of the whole only what is meant for all parts."""
    text = _text_part(config)
    if text is config:
        return config
    return {name: config[name] for name in _OF_THE_WHOLE if config.get(name) is not None} | text


def _with_defaults(told: dict[str, Any]) -> dict[str, Any]:
    """What a family's own code fills in for fields that are not written; a null is written.

    `read_as` in the facts names the family, and says that this was done: once, while nulls are still there to be seen.
    """
    if isinstance(told.get("read_as"), str):
        return told
    family = families.of(told)
    written = set(told)
    filled = {}
    for name, value in families.defaults(family).items():
        names = (name, *_OTHER_NAMES.get(name, ()))
        if not written.intersection(names):
            filled[name] = value
    return filled | told | {"read_as": family}


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
