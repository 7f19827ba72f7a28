"""Mistral's own format: params.json, in the words of a config.json. As vLLM 0.30 translates it."""

from typing import Any, Final

_NAMES: Final = {
    "dim": "hidden_size",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
    "max_seq_len": "max_position_embeddings",
}
_EXPERTS: Final = {
    "num_experts": "n_routed_experts",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace",
}


def translated(params: dict[str, Any]) -> dict[str, Any]:
    """The same facts under the names that every other config uses."""
    found = {_NAMES.get(name, name): value for name, value in params.items()}
    experts = params.get("moe")
    if isinstance(experts, dict):
        found |= {_EXPERTS[name]: value for name, value in experts.items() if name in _EXPERTS}
    quantised = params.get("quantization")
    if isinstance(quantised, dict) and quantised:
        eight = quantised.get("qformat_weight") == "fp8_e4m3"
        found["quantization_config"] = {"quant_method": "fp8"} if eight else quantised
    return found
