"""Configs of published models, each in the words of its own family, and what one sequence of each truly keeps.

`grow` is bytes per token that grow without bound, `fixed` bytes of a sequence in windows and recurrent states, both in
16 bits on one GPU unless a dtype is given. Counted by hand from each model's own layers.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """One model's config and its true figures."""

    name: str
    config: dict[str, Any]
    grow: int
    fixed: int
    flags: list[str] = field(default_factory=list)


def every(period: int, count: int, otherwise: str, last: str = "full_attention") -> list[str]:
    """Kinds of layers of which the last of each period differs."""
    return [otherwise if (place + 1) % period else last for place in range(count)]


def shape(hidden: int, count: int, heads: int, kv: int, width: int) -> dict[str, Any]:
    """The fields that most families share."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": count,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": width,
    }


LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **shape(4096, 32, 32, 8, 128)}
GPT_OSS = {
    "model_type": "gpt_oss",
    **shape(2880, 36, 64, 8, 64),
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
}
GEMMA_4_31B = {
    "model_type": "gemma4",
    "text_config": {
        "model_type": "gemma4_text",
        **shape(5376, 60, 32, 16, 256),
        "num_global_key_value_heads": 4,
        "global_head_dim": 512,
        "attention_k_eq_v": True,
        "sliding_window": 1024,
        "layer_types": every(6, 60, "sliding_attention"),
    },
}
GEMMA_4_26B = {
    "model_type": "gemma4",
    "text_config": GEMMA_4_31B["text_config"]  # type: ignore[dict-item]
    | shape(2816, 30, 16, 8, 256)
    | {"num_global_key_value_heads": 2, "layer_types": every(6, 30, "sliding_attention")},
}
QWEN_35_27B = {
    "model_type": "qwen3_5",
    "text_config": {
        "model_type": "qwen3_5_text",
        **shape(5120, 64, 24, 4, 256),
        "full_attention_interval": 4,
        "layer_types": every(4, 64, "linear_attention"),
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 48,
        "mamba_ssm_dtype": "float32",
    },
}
QWEN_35_35B = {
    "model_type": "qwen3_5_moe",
    "text_config": QWEN_35_27B["text_config"]  # type: ignore[dict-item]
    | shape(2048, 40, 16, 2, 256)
    | {
        "model_type": "qwen3_5_moe_text",
        "layer_types": every(4, 40, "linear_attention"),
        "linear_num_value_heads": 32,
    },
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}
DEEPSEEK_V32 = DEEPSEEK_V3 | {"model_type": "deepseek_v32", "index_head_dim": 128, "index_n_heads": 64}
DEEPSEEK_V4_PRO = {
    "model_type": "deepseek_v4",
    **shape(7168, 61, 128, 1, 512),
    "sliding_window": 128,
    "index_head_dim": 128,
    "compress_ratios": [128, 128, *[4, 128] * 29, 4],
}
DEEPSEEK_V4_FLASH = DEEPSEEK_V4_PRO | shape(4096, 43, 64, 1, 512) | {"compress_ratios": [0, 0, *[4, 128] * 20, 4]}
KIMI_K3 = {
    "model_type": "kimi_k3",
    "architectures": ["KimiK3ForConditionalGeneration"],
    "text_config": {
        "model_type": "kimi_linear",
        "num_hidden_layers": 93,
        "hidden_size": 7168,
        "num_attention_heads": 96,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "linear_attn_config": {
            "full_attn_layers": [*range(4, 93, 4), 93],
            "num_heads": 96,
            "head_dim": 128,
            "short_conv_kernel_size": 4,
        },
    },
}
GLM_52 = {
    "model_type": "glm_moe_dsa",
    "num_hidden_layers": 78,
    "hidden_size": 6144,
    "num_attention_heads": 64,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "index_head_dim": 128,
    "indexer_types": ["full"] * 3 + (["shared"] * 3 + ["full"]) * 18 + ["shared"] * 3,
}
MIMO_FLASH = {
    "model_type": "mimo_v2_flash",
    **shape(4096, 48, 64, 4, 192),
    "v_head_dim": 128,
    "swa_num_key_value_heads": 8,
    "swa_head_dim": 192,
    "swa_v_head_dim": 128,
    "sliding_window": 128,
    "hybrid_layer_pattern": [0, *([1] * 4 + [0]) * 7, *[1] * 11, 0],
}
NEMOTRON_NANO = {
    "model_type": "nemotron_h",
    **shape(2688, 52, 32, 2, 128),
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "mamba_ssm_cache_dtype": "float32",
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
}
NEMOTRON_SUPER = NEMOTRON_NANO | {
    **shape(4096, 88, 32, 2, 128),
    "mamba_num_heads": 128,
    "hybrid_override_pattern": "MEMEM*EMEME" * 8,
}
STEP_FLASH = {
    "model_type": "step3p7",
    "text_config": {
        "model_type": "step3p5",
        "hidden_size": 4096,
        "num_hidden_layers": 45,
        "num_attention_heads": 64,
        "num_attention_groups": 8,
        "head_dim": 128,
        "sliding_window": 512,
        "layer_types": (["full_attention"] + ["sliding_attention"] * 3) * 12,
        "attention_other_setting": {"num_attention_heads": 96, "num_attention_groups": 8, "head_dim": 128},
    },
}
SCOUT = {
    "model_type": "llama4",
    "text_config": {
        "model_type": "llama4_text",
        **shape(5120, 48, 40, 8, 128),
        "attention_chunk_size": 8192,
        "no_rope_layers": [],
    },
}
NEMOTRON_49B = {
    "model_type": "nemotron-nas",
    "architectures": ["DeciLMForCausalLM"],
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": None,
    "block_configs": [
        {"attention": {"n_heads_in_group": 8, "no_op": False} if place < 49 else {"no_op": True}} for place in range(80)
    ],
}

ANCHORS = [
    Published("Llama-3.1-8B", LLAMA, 131_072, 0),
    Published("gpt-oss-120b", GPT_OSS, 36_864, 18 * 128 * 2048),
    Published("Gemma-4-31B", GEMMA_4_31B, 81_920, 800 * 2**20),
    Published("Gemma-4-26B-A4B", GEMMA_4_26B, 20_480, 200 * 2**20),
    Published("Qwen3.5-27B", QWEN_35_27B, 65_536, 48 * (61_440 + 3_145_728)),
    Published("Qwen3.5-35B-A3B", QWEN_35_35B, 20_480, 30 * (49_152 + 2_097_152)),
    Published("DeepSeek-V3", DEEPSEEK_V3, 70_272, 0),
    Published("DeepSeek-V3.2", DEEPSEEK_V32, 78_324, 0),
    Published("DeepSeek-V4-Pro", DEEPSEEK_V4_PRO, 9_848, 61 * 128 * 1024),
    Published("DeepSeek-V4-Pro fp8_ds_mla", DEEPSEEK_V4_PRO, 5_511, 61 * 128 * 584, ["--kv-cache-dtype", "fp8_ds_mla"]),
    Published("DeepSeek-V4-Flash", DEEPSEEK_V4_FLASH, 6_880, 43 * 128 * 1024),
    Published("Kimi-K3", KIMI_K3, 27_648, 69 * (221_184 + 6_291_456)),
    Published("GLM-5.2", GLM_52, 92_628, 0),
    Published("MiMo-V2-Flash", MIMO_FLASH, 23_040, 39 * 128 * 8 * 320 * 2),
    Published("Nemotron-3-Nano-30B", NEMOTRON_NANO, 6_144, 23 * (36_864 + 2_097_152)),
    Published("Nemotron-3-Super-120B", NEMOTRON_SUPER, 8_192, 40 * (61_440 + 4_194_304)),
    Published("Step-3.7-Flash", STEP_FLASH, 49_152, 33 * 512 * 4096),
    Published("Llama-4-Scout", SCOUT, 49_152, 36 * 8192 * 4096),
    Published("Llama-3.3-Nemotron-49B", NEMOTRON_49B, 49 * 4096, 0),
]
