"""The model families whose memory is known, and what the code of each fills in for fields that a config leaves out.

`families.json` is written by `tests/vllm/write_families.py` from the configuration classes of transformers: a family is
in it where our reading of its layers agrees with the cache that transformers itself makes. Below are families that
come with code of their own, read in their published configs. Any other family is unknown, and no figure is made up.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

_WRITTEN: Final = Path(__file__).parent / "families.json"
_ENDS: Final = re.compile(
    r"(forcausallm|forconditionalgeneration|lmheadmodel|lmheadcustommodel|model|text|llm|language)\Z"
)

_OWN_CODE: Final[dict[str, dict[str, Any]]] = {
    "chatglm": {},
    "baichuan": {},
    "internlm2": {},
    "internlm": {},
    "orion": {},
    "xverse": {},
    "deci": {},
    "nemotronnas": {},
    "minimaxtext01": {},
    "kimik2": {},
    "kimik3": {"linear_conv_kernel_dim": 4},
    "kimivl": {},
    "step3p5": {},
    "mimo": {},
    "plamo2": {},
    "bailingmoe": {},
    "bailingmoev2": {},
    "deepseekvlv2": {},
    "telechat2": {},
    "minicpm": {},
    "minicpm3": {"qk_rope_head_dim": 32, "qk_nope_head_dim": 64},
    "openpangu": {},
    "ernie45moe": {},
    "arctic": {},
    "mistral3": {},
    "pixtral": {},
    "mistralnative": {},
    "qwen": {},
    "exaone": {},
    "solar": {},
    "dots1": {},
    "hunyuan": {},
    "hunyuanmoe": {},
    "jais": {},
    "gptj": {},
    "seedoss": {},
}


def of(told: dict[str, Any]) -> str:
    """The family's name in small letters and digits: by its model type, else by its architecture; empty if neither."""
    words = [told.get("model_type"), *_architectures(told)]
    names = [named(word) for word in words if isinstance(word, str) and word]
    return next((name for name in names if is_known(name)), names[0] if names else "")


def named(word: str) -> str:
    """`Qwen3MoeForCausalLM` and `qwen3_moe` are one family."""
    return _ENDS.sub("", re.sub(r"[^a-z0-9]", "", word.lower()))


def is_known(family: str) -> bool:
    """Whether its memory is known."""
    return family in _OWN_CODE or family in _read()


def defaults(family: str) -> dict[str, Any]:
    """What its code fills in; nothing for a family that is not known."""
    return _read().get(family, {}) | _OWN_CODE.get(family, {})


def pattern(family: str) -> list[str] | None:
    """The kinds of its layers, one after the other and then again, where its config says nothing of them.

    None where all are full attention; empty where they follow no rule, so that a config has to tell them.
    """
    found = defaults(family).get("pattern")
    return found if isinstance(found, list) else None


def _architectures(told: dict[str, Any]) -> list[Any]:
    found = told.get("architectures")
    return found if isinstance(found, list) else []


@cache
def _read() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(_WRITTEN.read_text())
    return found
