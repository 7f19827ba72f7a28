"""What we expect vLLM to reserve for one sequence is what its own functions say, for several architectures."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from models_app.catalogue import config, layers
from models_app.memory import kv
from models_app.memory.kv import Engine

_EXECUTABLE = os.environ.get("SARDEENZ_TEST_VLLM", "")
_LENGTH, _BATCHED = 4096, 1024
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not _EXECUTABLE, reason="SARDEENZ_TEST_VLLM names no vllm"),
]
_ANY: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 4}
GEMMA_3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_hidden_layers": 8,
    "sliding_window": 256,
    "query_pre_attn_scalar": 64,
}
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 128,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
GRANITE_4 = {
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "model_type": "granitemoehybrid",
    "num_hidden_layers": 4,
    "mamba_n_heads": 8,
    "mamba_d_head": 64,
    "mamba_d_state": 64,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "num_local_experts": 0,
    "num_experts_per_tok": 0,
    "shared_intermediate_size": 512,
    "layer_types": ["mamba", "mamba", "mamba", "attention"],
}
QWEN_3_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "num_hidden_layers": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128,
    "decoder_sparse_step": 1,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}
LFM_2 = {
    "architectures": ["Lfm2ForCausalLM"],
    "model_type": "lfm2",
    "num_hidden_layers": 4,
    "conv_L_cache": 4,  # LFM2's own 3 loads on no CPU with AVX-512 BF16
    "conv_bias": False,
    "conv_dim": 256,
    "block_dim": 256,
    "norm_eps": 1e-5,
    "layer_types": ["conv", "conv", "full_attention", "conv"],
    "block_ff_dim": 512,
    "block_multiple_of": 64,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
}

_MODELS = [LLAMA, GEMMA_3, DEEPSEEK, GRANITE_4, QWEN_3_NEXT, LFM_2]


def reserved(folder: Path) -> dict[str, Any]:
    """What vLLM's own functions say."""
    command = [str(Path(_EXECUTABLE).parent / "python"), str(Path(__file__).parent / "reserved.py"), str(folder)]
    command += [str(_LENGTH), str(_BATCHED)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    line = next((line for line in ended.stdout.splitlines() if line.startswith("RESERVED ")), None)
    assert line, ended.stderr[-2000:]
    return dict(json.loads(line.removeprefix("RESERVED ")))


@pytest.mark.parametrize("told", _MODELS, ids=lambda told: told["model_type"])
def test_a_sequence_takes_what_vllm_reserves(told: dict[str, Any], tmp_path: Path) -> None:
    whole = _ANY | told
    (tmp_path / "config.json").write_text(json.dumps(whole))
    theirs = reserved(tmp_path)
    states = 2 if theirs["mode"] == "align" else 1
    asked = 16 if told is DEEPSEEK and theirs["block"] == 16 else 128  # its latent vectors may need short blocks
    state_width = 4 if theirs["state"] == "float32" else None  # so it is on CPUs with AVX-512 BF16
    engine = Engine(block=asked, batched=theirs["in_flight"], states=states, state_width=state_width)
    shape = layers.of(config.facts(whole))
    assert (shape.unknown, shape.stateless) == ("", "")
    assert kv.sequence(shape, engine, _LENGTH) == theirs["bytes"]
