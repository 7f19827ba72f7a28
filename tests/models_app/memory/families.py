"""Configs that tell their layers in ways of their own, or leave out what their family's code fills in."""

from tests.models_app.memory.published import DEEPSEEK_V32, Published, shape

GEMMA_3 = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", **shape(5376, 62, 32, 16, 128)}}
GEMMA_3["text_config"]["sliding_window"] = 1024  # type: ignore[index]
MAMBA = {"mamba_d_state": 128, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_groups": 1}
GRANITE_4 = {
    "model_type": "granitemoehybrid",
    **shape(1536, 40, 12, 4, 128),
    **MAMBA,
    "mamba_n_heads": 48,
    "mamba_d_head": 64,
    "layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
}
NEMOTRON_H = {
    "model_type": "nemotron_h",
    **shape(4096, 52, 32, 8, 128),
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "layers_block_type": (["linear_attention", "mlp"] * 6 + ["full_attention"]) * 4,
}
JAMBA = {
    "model_type": "jamba",
    **shape(4096, 32, 32, 8, 128),
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
BAMBA = {
    "model_type": "bamba",
    **shape(4096, 32, 32, 8, 128),
    "attn_layer_indices": [9, 18, 27],
    **MAMBA,
    "mamba_n_heads": 128,
}
ZAMBA_2 = {
    "model_type": "zamba2",
    "hidden_size": 2560,
    "num_hidden_layers": 54,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "kv_channels": 80,
    "mamba_d_state": 64,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_ngroups": 1,
    "n_mamba_heads": 8,
    "hybrid_layer_ids": [6, 12, 18, 24, 30, 36, 42, 47, 51],
}
KIMI_LINEAR = {
    "model_type": "kimi_linear",
    "num_hidden_layers": 27,
    "hidden_size": 2304,
    "num_attention_heads": 32,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "linear_attn_config": {
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
        "kda_layers": [place for place in range(1, 27) if place % 4],
        "num_heads": 32,
        "head_dim": 128,
        "short_conv_kernel_size": 4,
    },
}
GLM_4 = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "num_layers": 40,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "kv_channels": 128,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
}
MPT = {"model_type": "mpt", "d_model": 4096, "n_heads": 32, "n_layers": 32, "attn_config": {"attn_type": "multihead"}}
MINIMAX = {
    "model_type": "minimax_text_01",
    "architectures": ["MiniMaxText01ForCausalLM"],
    **shape(6144, 80, 64, 8, 128),
    "attn_type_list": ([0] * 7 + [1]) * 10,
}
LFM_2 = {
    "model_type": "lfm2",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "conv_L_cache": 3,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14],
}
GEMMA_4_AS_SAVED = {
    "model_type": "gemma4_text",
    **shape(5376, 60, 32, 16, 256),
    "sliding_window": 1024,
    "attention_k_eq_v": True,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 10,
    "per_layer_config": {str(place): {"head_dim": 512, "num_key_value_heads": 4} for place in range(5, 60, 6)},
}

OWN_WAYS = [
    Published("Gemma 3 27B without a pattern", GEMMA_3, 81_920, 52 * 1024 * 8192),
    Published(
        "DeepSeek V3.2 as saved", DEEPSEEK_V32 | {"layer_types": ["deepseek_sparse_attention"] * 61}, 61 * 1284, 0
    ),
    Published("Granite 4", GRANITE_4, 8_192, 36 * ((3 * (3072 + 2 * 128) + 48 * 64 * 128) * 2)),
    Published("Nemotron-H", NEMOTRON_H, 16_384, 24 * (3 * (8192 + 2 * 8 * 128) * 2 + 128 * 64 * 128 * 4)),
    Published("Jamba", JAMBA, 16_384, 28 * (3 + 16) * 8192 * 2),
    Published("Bamba", BAMBA, 12_288, 29 * (3 * (8192 + 2 * 128) + 8192 * 128) * 2),
    Published("Zamba2", ZAMBA_2, 184_320, 54 * (3 * (5120 + 2 * 64) + 5120 * 64) * 2),
    Published("Kimi-Linear", KIMI_LINEAR, 8_064, 20 * (3 * 3 * 4096 * 2 + 32 * 128 * 128 * 4)),
    Published("Gemma 4 as saved", GEMMA_4_AS_SAVED, 81_920, 800 * 2**20),
    Published("GLM-4-9B", GLM_4, 40_960, 0),
    Published("MPT", MPT, 524_288, 0),
    Published("MiniMax-Text-01", MINIMAX, 40_960, 70 * 64 * 128 * 128 * 4),
    Published("LFM2", LFM_2, 6 * 8 * 2 * 64 * 2, 10 * 2 * 2048 * 2),
]
