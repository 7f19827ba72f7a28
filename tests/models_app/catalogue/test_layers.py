"""KV memory by layer, from the configs of families that tell it each in their own way. Bytes by hand."""

from typing import Any

import pytest

from models_app.catalogue import config, layers
from models_app.memory import estimate
from tests.models_app.catalogue.folders import LLAMA

GIB = 2**30
EXAONE = LLAMA | {
    "model_type": "exaone4",
    "hidden_size": 5120,
    "num_hidden_layers": 64,
    "num_attention_heads": 40,
    "head_dim": 128,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
}
NEMOTRON_NAS = {
    "model_type": "nemotron-nas",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": None,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "block_configs": [
        {"attention": {"n_heads_in_group": 8, "no_op": False} if place < 49 else {"no_op": True}} for place in range(80)
    ],
}
GEMMA_4 = {
    "hidden_size": 5376,
    "num_hidden_layers": 60,
    "num_attention_heads": 32,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "num_global_key_value_heads": 4,
    "global_head_dim": 512,
    "sliding_window": 1024,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 10,
}
MIMO = {
    "hidden_size": 4096,
    "num_hidden_layers": 48,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 192,
    "v_head_dim": 128,
    "swa_num_key_value_heads": 8,
    "swa_head_dim": 192,
    "swa_v_head_dim": 128,
    "sliding_window": 128,
    "hybrid_layer_pattern": [0, *([1] * 4 + [0]) * 7, *[1] * 11, 0],
}
SCOUT = {
    "model_type": "llama4_text",
    "hidden_size": 5120,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "attention_chunk_size": 8192,
    "no_rope_layers": [],
}
NANO = {
    "hidden_size": 2688,
    "num_hidden_layers": 52,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
}
KIMI = {
    "num_hidden_layers": 93,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "num_attention_heads": 64,
    "linear_attn_config": {"full_attn_layers": [*range(4, 93, 4), 93]},
}
DEEPSEEK_32 = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "index_head_dim": 128,
}


@pytest.mark.parametrize(
    ("told", "growing"),
    [
        (NEMOTRON_NAS, 49 * 4096),
        (GEMMA_4, 81_920),
        (MIMO, 23_040),
        (SCOUT, 49_152),
        (NANO, 6_144),
        (KIMI, 27_648),
        (DEEPSEEK_32, 78_324),
        (LLAMA | {"num_key_value_heads": [8, 4] * 16}, 32 * 3072),
        (
            LLAMA | {"num_key_value_heads": [8] * 31},
            31 * 4096 + 32 * 2 * 128 * 2,
        ),  # a layer that is not told: all heads
        (LLAMA | {"attn_type_list": [0, 0, 0, 1] * 8}, 8 * 4096),
        (LLAMA | {"layers_block_type": ["mamba", "attention"] * 16}, 16 * 4096),
        (LLAMA | {"num_key_value_heads": None, "multi_query": True}, 32 * 512),
        (LLAMA | {"layer_types": ["sliding_attention"] * 32}, 32 * 4096),  # no window is told: none is counted on
    ],
)
def test_bytes_that_grow_with_each_token(told: dict[str, Any], growing: int) -> None:
    assert estimate.kv_bytes_per_token(told) == growing


@pytest.mark.parametrize(
    "pattern",
    ["LLLG", 4, "4", 4.0, [1, 1, 1, 0], [True, True, True, False], ["sliding", "sliding", "sliding", "full"]],
)
def test_a_window_pattern_is_the_same_however_it_is_written(pattern: object) -> None:
    told = EXAONE | {"sliding_window_pattern": pattern}
    assert estimate.kv_bytes_per_token(told) == 16 * 4096
    found = estimate.estimate(told | {"weights_bytes": GIB})
    assert found is not None
    assert found.kv_floor_bytes == 16 * 4096 * (4096 + 3 * (4096 + 16))


def test_a_pattern_within_the_window_itself_is_read() -> None:
    told = LLAMA | {"sliding_window": [1024, 1024, 1024, None], "weights_bytes": GIB}
    found = estimate.estimate(told)
    assert found is not None
    assert found.kv_floor_bytes == 8 * 4096 * (4096 + 3 * (-(-(1023 + 2048) // 16) + 1) * 16)


def test_the_floor_of_a_pruned_model_leaves_its_holes_out() -> None:
    found = estimate.estimate(NEMOTRON_NAS | {"weights_bytes": GIB})
    assert found is not None
    assert found.kv_floor_bytes == 49 * 4096 * 4096


def test_without_files_no_size_is_made_up_for_layers_that_differ() -> None:
    assert estimate.estimate(NEMOTRON_NAS | {"intermediate_size": 28672}) is None
    assert estimate.estimate(NANO | {"intermediate_size": 1856, "vocab_size": 131072}) is None


def test_without_a_shape_no_floor_is_made_up() -> None:
    found = estimate.estimate({"weights_bytes": GIB})
    assert found is not None
    assert (found.kv_floor_bytes, found.kv_bytes_per_token) == (None, 0)


@pytest.mark.parametrize(
    "name",
    ["text_config", "llm_config", "language_config", "thinker_config", "language_model", "some_decoder_of_their_own"],
)
def test_the_language_model_is_found_under_any_name(name: str) -> None:
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    part = {"text_config": LLAMA} if name == "thinker_config" else LLAMA
    told = config.facts({"model_type": "internvl_chat", "vision_config": vision, name: part})
    assert (told["num_hidden_layers"], told["vocab_size"]) == (32, 128256)
    assert estimate.kv_bytes_per_token(told) == 131_072


@pytest.mark.parametrize(
    "old",
    [
        {"n_embd": 4096, "n_layer": 32, "n_head": 32, "n_head_kv": 8},
        {"d_model": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8},
        {"hidden_size": "4096", "num_layers": 32.0, "num_attention_heads": 32, "multi_query_group_num": 8},
    ],
)
def test_fields_have_other_names_in_other_families(old: dict[str, Any]) -> None:
    assert estimate.kv_bytes_per_token(old) == 131_072


def test_what_recurrent_gemma_calls_attention_sees_a_window() -> None:
    told = {
        "architectures": ["RecurrentGemmaForCausalLM"],
        "model_type": "recurrent_gemma",
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "hidden_size": 256,
        "attention_window_size": 2048,
        "block_types": ["recurrent", "recurrent", "attention"],
    }
    shape = layers.of(config.facts(told))
    assert [[store.window for store in layer if isinstance(store, layers.Store)] for layer in shape.layers] == [
        [],
        [],
        [2048],
    ]
