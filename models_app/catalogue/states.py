"""The recurrent state of a layer that does not grow, in elements: by family, from its config. Pure.

A convolution keeps its last inputs in the engine's own width; the state proper may be kept wider.
"""

from dataclasses import dataclass
from typing import Any, Final

Facts = dict[str, Any]

_CONVOLUTION: Final = 4  # the usual length of a short convolution
_AS_THE_ENGINE: Final = (
    "bamba",
    "granitemoehybrid",
    "falconh1",
    "zamba2",
    "zamba",
    "jamba",
    "mamba",
    "mamba2",
    "falconmamba",
    "qwen3next",
    "plamo2",
    "olmohybrid",
)
"""Families whose state the engine keeps in its own width unless it is told otherwise; others ask for 32 bits."""


@dataclass(frozen=True, slots=True)
class State:
    """One layer's state for one sequence. `heads` divide it among GPUs; `groups` are kept whole on each."""

    convolution: int
    recurrent: int
    heads: int
    grouped: int = 0
    """Of the convolution's elements, those that belong to groups, in one group."""
    groups: int = 0
    wide: bool = True
    """Whether the recurrent part is kept in 32 bits."""


def of(facts: Facts) -> State | None:
    """The state of one layer; None where the config does not tell its size."""
    for found in (_delta_net(facts), _kimi(facts), _mamba2(facts), _mamba1(facts), _gated(facts), _lightning(facts)):
        if found is not None:
            return found
    return None


def short_convolution(facts: Facts) -> State | None:
    """The state of a layer that is a short convolution alone (LFM2)."""
    hidden = facts.get("hidden_size") or 0
    length = facts.get("mamba_conv") or 0
    return State((length - 1) * hidden, 0, hidden) if hidden and length > 0 else None


def _wide(facts: Facts) -> bool:
    told = facts.get("mamba_ssm_dtype") or facts.get("mamba_ssm_cache_dtype")
    if told:
        return told in ("float32", "float")
    return facts.get("read_as") not in _AS_THE_ENGINE


def _delta_net(facts: Facts) -> State | None:
    names = ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
    key_heads, value_heads, key, value = (facts.get(name) or 0 for name in names)
    if not (key_heads and value_heads and key and value):
        return None
    length = facts.get("linear_conv") or _CONVOLUTION
    convolution = (length - 1) * (2 * key_heads * key + value_heads * value)
    return State(convolution, value_heads * key * value, value_heads, wide=_wide(facts))


def _kimi(facts: Facts) -> State | None:
    told = facts.get("linear_attn_config")
    told = told if isinstance(told, dict) else {}
    heads, width, length = (
        _whole(told.get(own)) or facts.get(other) or 0
        for own, other in (
            ("num_heads", "linear_num_heads"),
            ("head_dim", "linear_head_dim"),
            ("short_conv_kernel_size", "linear_conv"),
        )
    )
    if not (heads and width):
        return None
    return State(((length or _CONVOLUTION) - 1) * 3 * heads * width, heads * width * width, heads, wide=_wide(facts))


def _mamba2(facts: Facts) -> State | None:
    if facts.get("read_as") in ("jamba", "zamba", "mamba", "falconmamba"):
        return None
    heads, width, state = (facts.get(name) or 0 for name in ("mamba_heads", "mamba_head_dim", "mamba_state"))
    if facts.get("read_as") == "mamba2":
        heads, width = _one(facts, "num_attention_heads"), _one(facts, "head_dim")
    inner = facts.get("mamba_width") or _one(facts, "mamba_expand") * (facts.get("hidden_size") or 0)
    if heads and not width:
        width = inner // heads
    if not (heads and width and state):
        return None
    groups, length = facts.get("mamba_groups") or 1, facts.get("mamba_conv") or _CONVOLUTION
    grouped = (length - 1) * 2 * state
    whole = (length - 1) * heads * width + groups * grouped
    return State(whole, heads * width * state, heads, grouped, groups, wide=_wide(facts))


def _mamba1(facts: Facts) -> State | None:
    state, hidden = facts.get("mamba_state") or 0, facts.get("hidden_size") or 0
    inner = (_one(facts, "mamba_expand") or 2) * hidden
    if not (state and inner):
        return None
    length = facts.get("mamba_conv") or _CONVOLUTION
    return State((length - 1) * inner, inner * state, inner, wide=_wide(facts))


def _gated(facts: Facts) -> State | None:
    """RecurrentGemma: a gated linear recurrence as wide as the model or as told."""
    if facts.get("read_as") != "recurrentgemma":
        return None
    width = facts.get("mamba_width") or facts.get("hidden_size") or 0
    return State(3 * width, width, width) if width else None


def _lightning(facts: Facts) -> State | None:
    """MiniMax and Bailing: each head keeps a square as wide as itself."""
    if not (facts.get("attn_type_list") or facts.get("read_as") in ("minimax", "minimaxtext01", "bailinghybrid")):
        return None
    heads = _one(facts, "num_attention_heads")
    width = _one(facts, "head_dim") or (_one(facts, "hidden_size") // heads if heads else 0)
    return State(0, heads * width * width, heads) if heads and width else None


def _one(facts: Facts, name: str) -> int:
    value = facts.get(name) or 0
    if isinstance(value, list):
        return int(value[0]) if value else 0
    return int(value)


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 < value < 2**32 else 0
