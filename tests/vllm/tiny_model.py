"""Write a small Llama without weights: `--load-format dummy` makes those up.

It is small enough to load at once, and large enough to take a moment for a thousand tokens on one core.

usage: python -m tests.vllm.tiny_model FOLDER
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MAX_POSITIONS = 2048
_MARKS = ("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
_TEMPLATE = (
    "{%- for turn in messages -%}<|{{ turn.role }}|>{{ turn.content }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def write(folder: Path) -> Path:
    """The folder of a model that vLLM serves with `--load-format dummy`."""
    folder.mkdir(parents=True, exist_ok=True)
    size = _write_tokenizer(folder)
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    _dump(folder / "generation_config.json", ends)
    _dump(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "torch_dtype": "bfloat16",
            "vocab_size": size,
            "hidden_size": 512,
            "intermediate_size": 1408,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 64,
            "max_position_embeddings": MAX_POSITIONS,
            "tie_word_embeddings": True,
            **ends,
        },
    )
    return folder


def _write_tokenizer(folder: Path) -> int:
    """One token per byte: no training, and every text has a length anybody can predict."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*_MARKS, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS])
    tokenizer.save(str(folder / "tokenizer.json"))
    _dump(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "model_max_length": MAX_POSITIONS,
            "clean_up_tokenization_spaces": False,
            "chat_template": _TEMPLATE,
        },
    )
    return len(vocabulary)


def _dump(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
