"""Random weights for a Llama-shaped model, so that loads and level-2 wakes read real files where no model can be had.

    python3 -m tests.gpu.weights FOLDER

FOLDER holds `config.json`; the shards and their index are written beside it, in bfloat16. Needs torch and safetensors.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SPREAD = 0.02
"""Standard deviation of every matrix: answers are noise, but the same noise each time."""

WRITERS = 8


def shapes(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    """Every shard's file name with the shapes of its tensors."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    outer = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    if not config.get("tie_word_embeddings"):
        outer["lm_head.weight"] = (vocabulary, hidden)
    yield "model-outer.safetensors", outer
    for layer in range(config["num_hidden_layers"]):
        matrices = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        within = {f"model.layers.{layer}.{name}.weight": shape for name, shape in matrices.items()}
        yield f"model-layer-{layer}.safetensors", within


def write(folder: Path) -> int:
    """Write the shards; the bytes of all tensors."""
    import torch
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    config, where, total = json.loads((folder / "config.json").read_text()), {}, 0
    pool, saves = ThreadPoolExecutor(WRITERS), []
    for file, tensors in shapes(config):
        made = {}
        for name, shape in tensors.items():
            tensor = torch.ones(shape, dtype=torch.bfloat16, device=device)
            if len(shape) > 1:
                tensor.normal_(0, SPREAD, generator=generator)
            made[name] = tensor.cpu()
            where[name] = file
            total += tensor.numel() * tensor.element_size()
        saves.append(pool.submit(save_file, made, folder / file, metadata={"format": "pt"}))
    pool.shutdown()
    for save in saves:
        save.result()
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


if __name__ == "__main__":
    print(write(Path(sys.argv[1])), "bytes written")
