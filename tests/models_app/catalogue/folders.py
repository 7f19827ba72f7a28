"""Model folders made of nothing: real configs, real safetensors headers, sparse data."""

import json
import struct
from pathlib import Path
from typing import Any

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U8": 1}
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def weights(file: Path, size: int, dtype: str = "BF16", *, short: int = 0) -> None:
    """One file with `size` bytes of tensors, `short` of them missing at its end."""
    count = size // SIZES[dtype]
    header = json.dumps({"w": {"dtype": dtype, "shape": [count], "data_offsets": [0, size]}}).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + size - short)


def folder(root: Path, config: object = None, *, index: object = None, **files: int) -> Path:
    """A folder with a config, perhaps an index, and weight files of so many bytes: `model=4096`."""
    root.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (root / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if index is not None:
        (root / "model.safetensors.index.json").write_text(json.dumps(index))
    for name, size in files.items():
        weights(root / f"{name}.safetensors", size)
    return root
