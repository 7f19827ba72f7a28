"""Print, one line of JSON for each family, the cache that transformers itself makes; run by the Python of vLLM's
environment. Models are made without memory, and read three tokens; where one cannot, its kinds of layers must do.

usage: python caches.py MODEL_TYPE ...
"""

import json
import logging
import sys
import warnings
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import CacheLayerMixin, LinearAttentionCacheLayerMixin
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
torch.set_default_dtype(torch.bfloat16)


def layer(kept: Any) -> dict[str, Any]:
    """What one layer of the cache keeps: a state, tokens, a window of them, and how wide these are."""
    keys, values = getattr(kept, "keys", None), getattr(kept, "values", None)
    tokens = isinstance(kept, CacheLayerMixin) and type(kept).__name__ != "DummyLayer"
    return {
        "state": isinstance(kept, LinearAttentionCacheLayerMixin),
        "tokens": tokens,
        "window": (getattr(kept, "sliding_window", 0) or 0) if tokens else 0,
        "width": [keys.shape[1], keys.shape[-1], values.shape[-1]] if hasattr(keys, "shape") else None,
    }


def cache(config: Any) -> Any:
    """The cache after three tokens, or before any where the model cannot read without memory."""
    made = DynamicCache(config=config)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
            tokens = torch.zeros(1, 3, dtype=torch.long)
            return model(input_ids=tokens, past_key_values=made, use_cache=True).past_key_values
    except Exception:
        return DynamicCache(config=config)


def main() -> None:
    """One line for each."""
    for name in sys.argv[1:]:
        config = CONFIG_MAPPING[name]()
        made = cache(config) if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else DynamicCache(config=config)
        saved = json.loads(json.dumps(config.to_dict(), default=str))
        print(json.dumps({"name": name, "config": saved, "layers": [layer(kept) for kept in made.layers]}), flush=True)


if __name__ == "__main__":
    main()
