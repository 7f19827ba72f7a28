"""Print what one sequence of published models takes of KV memory: our figures, and those of hf-mem and of the formula
that counts every layer as full attention.

usage: python -m tests.bench.estimator [--length 131072] [--hf-mem FOLDER]
"""

import argparse
import importlib
import sys
from typing import Any

from models_app.memory import estimate
from tests.models_app.memory.families import OWN_WAYS
from tests.models_app.memory.published import ANCHORS, Published

GIB = 2**30


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """The config with its text part on top, as hf-mem reads it."""
    return config | config.get("text_config", {})


def naive(config: dict[str, Any], length: int) -> int:
    """Two vectors for every KV head of every layer."""
    told = flat(config)
    heads = told.get("num_attention_heads") or told.get("n_heads")
    kv = told.get("num_key_value_heads") or heads
    hidden = told.get("hidden_size") or told.get("d_model")
    width = told.get("head_dim") or hidden // heads
    count = told.get("num_hidden_layers") or told.get("num_layers") or told.get("n_layers")
    return int(2 * count * kv * width * 2 * length)


def theirs(config: dict[str, Any], length: int, folder: str) -> int | None:
    """hf-mem's own figure; None where it has none."""
    if not folder:
        return None
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.import_module("hf_mem.safetensors.kv_cache")
    try:
        return int(module.compute_safetensors_kv_cache_size(flat(config), "BF16", length))
    except (KeyError, TypeError):
        return None


def row(model: Published, length: int, folder: str) -> str:
    """One model's line."""
    found = estimate.estimate(model.config | {"weights_bytes": GIB}, extra_args=model.flags)
    assert found is not None
    assert found.grow_bytes is not None
    assert found.fixed_bytes is not None
    ours = found.grow_bytes * length + found.fixed_bytes
    figures = [found.grow_bytes == model.grow and found.fixed_bytes == model.fixed]
    others = (theirs(model.config, length, folder), naive(model.config, length))
    cells = [
        f"{each / GIB:9.2f} {each / ours:6.1f}x" if each is not None else f"{'fails':>9} {'':7}" for each in others
    ]
    exact = "exact" if all(figures) else "WRONG"
    mib = found.fixed_bytes / 2**20
    return f"{model.name:30} {found.grow_bytes:9,} {mib:9.1f} {exact:6} {ours / GIB:9.2f}  {'  '.join(cells)}"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=131_072, help="tokens of the sequence")
    parser.add_argument("--hf-mem", default="", help="a folder into which hf-mem was installed with pip --target")
    given = parser.parse_args()
    print(f"One sequence of {given.length:,} tokens, 16 bits, one GPU; grow in bytes a token, the others as named.")
    print(f"{'model':30} {'grow':>9} {'fixed MiB':>9} {'':6} {'ours GiB':>9}  {'hf-mem GiB':>17}  {'naive GiB':>17}")
    for model in [*ANCHORS, *OWN_WAYS]:
        print(row(model, given.length, given.hf_mem))


if __name__ == "__main__":
    main()
