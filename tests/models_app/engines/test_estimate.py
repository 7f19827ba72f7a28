"""Bytes of a model before it was ever loaded, from the config.json of published models."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from models_app.memory import estimate

GB = 10**9
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LLAMA_1B = LLAMA_8B | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
QWEN_7B = LLAMA_8B | {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
QWEN_7B_AWQ = QWEN_7B | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
LLAMA_8B_FP8 = LLAMA_8B | {"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}}
LLAMA_8B_W8A8 = LLAMA_8B | {
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "int"}}},
    }
}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}
MIXTRAL = LLAMA_8B | {"num_local_experts": 8, "vocab_size": 32000}
# Qwen2.5 names a window it does not use; Gemma 2 and early Gemma 3 configs tell only a pattern; Mistral 0.1 is
# all window.
QWEN_25 = QWEN_7B | {"sliding_window": 131072, "use_sliding_window": False, "max_window_layers": 28}
QWEN_WINDOWED = QWEN_25 | {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 21}
GEMMA_2 = {
    "model_type": "gemma2",
    "hidden_size": 3584,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "sliding_window": 4096,
}
MISTRAL_01 = LLAMA_8B | {"sliding_window": 4096}
GEMMA_27B = {
    "hidden_size": 5376,
    "num_hidden_layers": 62,
    "num_attention_heads": 32,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "sliding_window": 1024,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 10 + ["sliding_attention"] * 2,
}


GEMMA_27B_PATTERN = {**GEMMA_27B, "layer_types": None, "sliding_window_pattern": 6}


def folder_of(folder: Path, config: object, **files: bytes) -> Path:
    """A model folder."""
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return folder


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    """A real file of bf16 tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = 2
        for number in shape:
            size *= number
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(at)


@pytest.mark.parametrize(
    ("told", "tensor_parallel", "expected"),
    [
        (LLAMA_8B, 1, 131072),
        (LLAMA_8B, 2, 65536),
        (LLAMA_8B, 16, 16384),  # fewer KV heads than GPUs: each keeps a whole head
        (LLAMA_1B, 1, 32768),
        (QWEN_7B, 1, 57344),
        (DEEPSEEK_V3, 1, 70272),
        (DEEPSEEK_V3, 8, 70272),  # MLA's vector is on every GPU
        (GEMMA_27B, 1, 81920),  # only its ten full layers keep every token
        (GEMMA_27B_PATTERN, 1, 81920),
        (QWEN_25, 1, 57344),
        (QWEN_WINDOWED, 1, 21 * 2048),
        (GEMMA_2, 1, 21 * 8192),
        (MISTRAL_01, 1, 0),
        ({}, 1, 0),
    ],
)
def test_kv_bytes_of_a_token_follow_the_shape(told: dict[str, Any], tensor_parallel: int, expected: int) -> None:
    assert estimate.kv_bytes_per_token(told, tensor_parallel=tensor_parallel) == expected


def test_an_fp8_kv_cache_takes_half() -> None:
    assert estimate.kv_bytes_per_token(LLAMA_8B, dtype_bytes=1) == 65536


@pytest.mark.parametrize(
    ("told", "published_gb"),
    [
        (LLAMA_8B, 16.06),
        (LLAMA_1B, 2.47),
        (QWEN_7B, 15.23),
        (QWEN_7B_AWQ, 5.57),
        (LLAMA_8B_FP8, 9.08),
        (LLAMA_8B_W8A8, 9.08),
        (MIXTRAL, 93.4),
        (DEEPSEEK_V3, 672.0),
    ],
)
def test_weights_without_files_are_close_to_what_is_published(told: dict[str, Any], published_gb: float) -> None:
    found = estimate.estimate(told)
    assert found is not None
    assert found.weights_bytes / GB == pytest.approx(published_gb, rel=0.01)


def test_weights_are_divided_among_gpus_and_rounded_up() -> None:
    found = estimate.estimate(LLAMA_8B | {"weights_bytes": 101}, tensor_parallel=2)
    assert found is not None
    assert found.weights_bytes == 51


def test_the_floor_holds_one_short_request_with_its_windows() -> None:
    found = estimate.estimate(GEMMA_27B | {"weights_bytes": 54 * GB}, max_model_len=8192)
    assert found is not None
    # Ten full layers, and 52 with a window in six groups of ten: with 2,048 tokens under way, and a block more.
    windows = 6 * (-(-(1024 - 1 + 2048) // 16) + 1) * 16
    assert found.kv_floor_bytes == 10 * 8192 * (4096 + windows)


def test_a_model_that_is_all_window_keeps_the_window_and_what_is_under_way() -> None:
    found = estimate.estimate(MISTRAL_01 | {"sliding_window": 1024}, max_model_len=32768)
    assert found is not None
    assert found.kv_floor_bytes == (-(-(1023 + 2048) // 16) + 1) * 16 * 131072
    whole = estimate.estimate(MISTRAL_01, max_model_len=32768)
    assert whole is not None
    assert whole.kv_floor_bytes == (4096 + 16) * 131072


def test_on_a_real_gpu_overhead_grows_with_the_models_width() -> None:
    small, large = (estimate.estimate(told, kind="vllm-cuda") for told in (LLAMA_1B, LLAMA_8B))
    assert small is not None
    assert large is not None
    assert 2**30 < small.overhead_bytes < large.overhead_bytes < 5 * 2**30


def test_the_floor_is_never_less_than_the_pages_that_stay_mapped() -> None:
    found = estimate.estimate(LLAMA_8B, max_model_len=16)
    assert found is not None
    assert found.kv_floor_bytes == 3 * 32 * estimate.PAGE_BYTES


def test_a_shapeless_model_is_not_estimated() -> None:
    assert estimate.estimate({"architectures": ["Mystery"]}) is None


def test_facts_sum_the_tensors_of_every_file(tmp_path: Path) -> None:
    first, second = safetensors(embed=(100, 10)), safetensors(norm=(10,), head=(100, 10))
    told = estimate.facts(folder_of(tmp_path, LLAMA_8B, **{"model-00001": first, "model-00002": second}))
    assert told["weights_bytes"] == 2 * (1000 + 10 + 1000)
    assert told["num_key_value_heads"] == 8


def test_facts_count_a_model_stored_twice_once(tmp_path: Path) -> None:
    both = {"model-00001": safetensors(embed=(100, 10)), "consolidated": safetensors(embed=(100, 10))}
    assert estimate.facts(folder_of(tmp_path, LLAMA_8B, **both))["weights_bytes"] == 2000


def test_facts_count_the_files_and_not_what_an_index_says_of_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, LLAMA_8B, model=safetensors(embed=(100, 10)))
    index = {"metadata": {"total_size": 16060522496}, "weight_map": {"embed": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert estimate.facts(folder)["weights_bytes"] == 2000


def test_facts_read_the_text_part_of_a_multimodal_config(tmp_path: Path) -> None:
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": GEMMA_27B}
    told = estimate.facts(folder_of(tmp_path, config))
    assert told["sliding_window"] == 1024
    assert told["architectures"] == ["Gemma3ForConditionalGeneration"]
    assert "weights_bytes" not in told


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 5) + b"{nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a":{}}',
    ],
)
def test_a_broken_weight_file_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        estimate.facts(folder_of(tmp_path, LLAMA_8B, model=content))


def test_a_config_that_is_no_object_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        estimate.facts(folder_of(tmp_path, ["LlamaForCausalLM"]))


def test_the_overhead_of_an_8b_model_is_what_a_gpu_showed() -> None:
    """3,414.8 MiB on an H200 with vLLM 0.26, eager: docs/results."""
    told = {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128_256, "weights_bytes": 16 * 2**30}
    found = estimate.estimate(told, kind="vllm-cuda")
    assert found is not None
    assert abs(found.overhead_bytes - 3414.8 * 2**20) < 0.05 * 3414.8 * 2**20
