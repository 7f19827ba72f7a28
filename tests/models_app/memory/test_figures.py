"""Every byte that published models keep of a sequence."""

from typing import Any

import pytest

from models_app.catalogue import config
from models_app.memory import estimate
from models_app.memory.estimate import Estimate
from tests.models_app.memory.families import OWN_WAYS
from tests.models_app.memory.published import ANCHORS, DEEPSEEK_V3, GEMMA_4_31B, LLAMA, NEMOTRON_NANO, SCOUT, Published

GIB = 2**30


def estimated(told: dict[str, Any], **asked: Any) -> Estimate:
    """The estimate of a model with weights of some size."""
    found = estimate.estimate(told | {"weights_bytes": GIB}, **asked)
    assert found is not None
    return found


@pytest.mark.parametrize("model", [*ANCHORS, *OWN_WAYS], ids=lambda model: model.name)
def test_grow_and_fixed_are_exact(model: Published) -> None:
    found = estimated(model.config, extra_args=model.flags)
    assert (found.grow_bytes, found.fixed_bytes, found.unknown) == (model.grow, model.fixed, "")
    kept = config.facts(model.config)  # what the database keeps says the same
    assert estimated(kept, extra_args=model.flags).grow_bytes == model.grow


def test_an_unknown_architecture_has_no_figure() -> None:
    found = estimated(LLAMA | {"model_type": "mystery", "architectures": ["MysteryForCausalLM"]})
    assert (found.grow_bytes, found.fixed_bytes, found.kv_floor_bytes) == (None, None, None)
    assert found.unknown == "the architecture mystery is not known here"
    assert found.sources["grow"].startswith("unknown, because ")
    assert found.sequence_bytes(1000) is None
    assert found.concurrency(80 * GIB, 1000) is None


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"num_hidden_layers": "many"}, "num_hidden_layers of the config is not a whole number"),
        ({"num_key_value_heads": {"a": 1}}, "num_key_value_heads of the config is not a whole number"),
        ({"is_encoder_decoder": True}, "it has an encoder and a decoder, whose memory is not computed"),
    ],
)
def test_what_cannot_be_read_is_said(odd: dict[str, Any], why: str) -> None:
    found = estimated(LLAMA | odd)
    assert (found.unknown, found.grow_bytes) == (why, None)


@pytest.mark.parametrize("family", ["mimo_v2_flash", "nemotron_h", "zamba2"])
def test_a_family_whose_layers_follow_no_rule_has_to_list_them(family: str) -> None:
    found = estimated({"model_type": family, "num_hidden_layers": 48})
    assert found.unknown == "the config does not tell which of its layers are of which kind"
    assert found.grow_bytes is None


def test_unknown_kinds_of_layers_count_as_full_attention_and_say_so() -> None:
    found = estimated(LLAMA | {"layer_types": ["quantum_attention", "full_attention"] * 16})
    assert found.grow_bytes == 131_072
    assert "'quantum_attention' are not known: they count as full attention" in found.sources["grow"]


def test_a_recurrent_layer_of_unknown_size_leaves_only_the_fixed_part_open() -> None:
    found = estimated(LLAMA | {"layer_types": ["linear_attention", "full_attention"] * 16})
    assert (found.grow_bytes, found.fixed_bytes) == (65_536, None)
    assert found.unknown == "the config does not tell how large the state of its recurrent layers is"


def test_each_figure_says_where_it_comes_from() -> None:
    found = estimated(GEMMA_4_31B)
    assert found.sources["grow"] == (
        "10 with full attention of 60 layers, by the fields of gemma4_text, KV cache dtype auto"
    )
    assert found.sources["fixed"] == "50 with a window of 1,024 tokens, by the same fields"
    assert found.sources["weights"] == "the headers of the weight files"
    assert set(found.sources) == {"weights", "overhead", "grow", "fixed"}


@pytest.mark.parametrize(
    ("told", "gpus", "grow", "fixed"),
    [
        (LLAMA, 4, 32_768, 0),
        (LLAMA, 16, 16_384, 0),  # eight heads on sixteen GPUs: each keeps a whole one
        (DEEPSEEK_V3, 8, 70_272, 0),  # the latent vector is on every GPU
        (GEMMA_4_31B, 8, 20_480, 100 * 2**20),  # four heads in full layers, sixteen in the others
        (NEMOTRON_NANO, 4, 3_072, 23 * (3 * (4096 + 2 * 8 * 128) // 4 * 2 + 64 * 64 * 128)),
        (SCOUT, 8, 6_144, 144 * 2**20),
    ],
)
def test_gpus_share_heads_and_states_but_no_latent_vector(
    told: dict[str, Any], gpus: int, grow: int, fixed: int
) -> None:
    found = estimated(told, tensor_parallel=gpus)
    assert (found.grow_bytes, found.fixed_bytes) == (grow, fixed)


@pytest.mark.parametrize(
    ("dtype", "entry"),
    [
        ("auto", 512),
        ("bfloat16", 512),
        ("fp8", 256),
        ("fp8_e5m2", 256),
        ("int8_per_token_head", 256 + 8),
        ("int4_per_token_head", 128 + 8),
        ("nvfp4", 2 * (64 + 8)),
        ("turboquant_k8v4", 128 + 64 + 4),
        ("turboquant_3bit_nc", 48 + 2 + 48 + 4),
    ],
)
def test_an_entry_is_as_large_as_its_dtype_makes_it(dtype: str, entry: int) -> None:
    assert estimated(LLAMA, extra_args=["--kv-cache-dtype", dtype]).grow_bytes == 32 * 8 * entry


@pytest.mark.parametrize(
    ("dtype", "version", "why"),
    [
        ("octave", "0.33.0", "the KV cache dtype octave is not known here"),
        ("nvfp4", "0.26.0", "the KV cache dtype nvfp4 is not known of vLLM 0.26.0"),
    ],
)
def test_an_unknown_dtype_is_unknown_and_not_one_byte(dtype: str, version: str, why: str) -> None:
    found = estimated(LLAMA, extra_args=["--kv-cache-dtype", dtype], version=version)
    assert (found.grow_bytes, found.unknown) == (None, why)


def test_a_quantised_model_may_ask_for_a_small_cache_itself() -> None:
    scheme = {"num_bits": 8, "type": "float", "dynamic": False}
    told = LLAMA | {"quantization_config": {"quant_method": "compressed-tensors", "kv_cache_scheme": scheme}}
    assert estimated(told).grow_bytes == 65_536
    assert estimated(told, extra_args=["--kv-cache-dtype=bfloat16"]).grow_bytes == 131_072


def test_layers_that_draft_tokens_keep_theirs_too() -> None:
    told = DEEPSEEK_V3 | {"num_nextn_predict_layers": 1}
    mtp = ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}']
    assert estimated(told).grow_bytes == 61 * 1152
    assert estimated(told, extra_args=mtp).grow_bytes == 62 * 1152


def test_a_model_that_drafts_is_counted_beside() -> None:
    flag = ["--speculative-config", '{"model": "small", "num_speculative_tokens": 3}']
    small = LLAMA | {"num_hidden_layers": 16, "head_dim": 64, "weights_bytes": 2 * GIB}
    found = estimated(LLAMA, extra_args=flag, draft=small)
    assert (found.grow_bytes, found.weights_bytes) == (131_072 + 32_768, 3 * GIB)
    assert estimated(LLAMA, extra_args=flag).unknown == "the files of the model that drafts tokens cannot be read here"


def test_concurrency_is_at_a_length() -> None:
    found = estimated(LLAMA)
    assert found.concurrency(64 * GIB, 131_072) == 4
    assert found.concurrency(64 * GIB, 16) == 32_768
    assert found.concurrency(-1, 16) == 0
