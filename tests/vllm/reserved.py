"""Print what vLLM itself reserves for one sequence of a model without weights; run by the Python of its environment.

The engine is stopped where it has read the model and divides its KV memory: what comes after costs minutes on a CPU.

usage: python reserved.py FOLDER MAX_MODEL_LEN MAX_NUM_BATCHED_TOKENS
"""

import json
import os
import sys
from typing import Any

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

from vllm import LLM
from vllm.v1.core import kv_cache_utils
from vllm.v1.engine import core


def told(config: Any, specs: list[dict[str, Any]], available: list[int]) -> None:
    """Print the engine's own figures, and end."""
    groups = kv_cache_utils.get_kv_cache_groups(config, specs[0])
    answer = {
        "bytes": kv_cache_utils._max_memory_usage_bytes_from_groups(config, groups),
        "block": config.cache_config.block_size,
        "in_flight": config.max_in_flight_tokens,
        "mode": config.cache_config.mamba_cache_mode,
        "state": config.cache_config.mamba_ssm_cache_dtype,
        "groups": [
            [
                len(group.layer_names),
                type(group.kv_cache_spec).__name__,
                group.kv_cache_spec.block_size,
                group.kv_cache_spec.page_size_bytes,
                group.kv_cache_spec.max_memory_usage_bytes(config),
            ]
            for group in groups
        ],
    }
    print("RESERVED " + json.dumps(answer), flush=True)
    os._exit(0)


def main() -> None:
    """Load it, and ask the engine's own functions."""
    folder, length, batched = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    core.get_kv_cache_configs = told
    LLM(
        folder,
        load_format="dummy",
        enforce_eager=True,
        max_model_len=length,
        max_num_batched_tokens=batched,
        max_num_seqs=2,
        kv_cache_memory_bytes=2**28,
        skip_tokenizer_init=True,
        distributed_executor_backend="uni",
    )


if __name__ == "__main__":
    main()
