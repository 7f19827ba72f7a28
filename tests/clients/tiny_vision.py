"""Write a small Idefics3 without weights: one that looks at pictures, calls tools and embeds like any other.

Most of vLLM's vision models need torchvision, which has no build for CPUs beside vLLM's; this one does not.

usage: python -m tests.clients.tiny_vision FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tests.vllm import tiny_model

_PLACES = tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))
_MARKS = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *_PLACES)
SAID = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""By these vLLM tells reasoning and calls of tools from the rest, as many models have them."""
_EDGE, _PATCH, _SCALE = 56, 14, 2
_TOKENS = (_EDGE // _PATCH) ** 2 // _SCALE**2
_SIZE = {"size": {"longest_edge": 2 * _EDGE}, "max_image_size": {"longest_edge": _EDGE}}
_VISION = {
    "model_type": "idefics3_vision",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": _EDGE,
    "patch_size": _PATCH,
    **_SIZE,
}
_PICTURES = {
    "image_processor_type": "Idefics3ImageProcessor",
    "processor_class": "Idefics3Processor",
    "do_convert_rgb": True,
    "do_image_splitting": True,  # vLLM finds no picture in one that is not split
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    **_SIZE,
}


def write(folder: Path, more: tuple[str, ...] = ()) -> Path:
    """The folder of a vision model that vLLM serves with `--load-format dummy`; `more` are tokens it has besides.

    The number of tokens decides which weights vLLM makes up, and so how often an answer ends by itself.
    """
    tiny_model.write(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS + more])
    tokenizer.save(str(folder / "tokenizer.json"))
    text: dict[str, Any] = json.loads((folder / "config.json").read_text())
    text |= {"vocab_size": tokenizer.get_vocab_size(), "tie_word_embeddings": False}
    config = {
        "architectures": ["Idefics3ForConditionalGeneration"],
        "model_type": "idefics3",
        "torch_dtype": text["torch_dtype"],
        "image_token_id": tokenizer.token_to_id("<image>"),
        "scale_factor": _SCALE,
        "text_config": text,
        "vision_config": _VISION,
        "tie_word_embeddings": False,
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["eos_token_id"],
        "pad_token_id": text["eos_token_id"],
    }
    _dump(folder / "config.json", config)
    _dump(folder / "preprocessor_config.json", _PICTURES)
    _dump(folder / "processor_config.json", {"processor_class": "Idefics3Processor", "image_seq_len": _TOKENS})
    return folder


def _dump(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
