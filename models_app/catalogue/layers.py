"""What each layer of a model keeps of a sequence: the whole of it, a window, or nothing that grows. Pure.

Families tell it in a dozen ways: kinds by name, letters, numbers, a period, blocks that were pruned one by one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from models_app.catalogue import config

Facts = dict[str, Any]


class Keeps(Enum):
    """How much of a sequence a layer holds."""

    EVERYTHING = "everything"
    WINDOW = "window"
    NOTHING = "nothing"  # linear attention, Mamba, none at all: a state that does not grow


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's attention: `width` is key and value of one head together, in elements."""

    keeps: Keeps
    heads: int
    width: int


_NOT_ATTENTION: Final = ("linear", "mamba", "conv", "recurrent", "delta", "ssm", "rwkv")
_WINDOWED: Final = ("sliding", "window", "local", "chunked", "swa")
_LETTERS: Final = {"l": Keeps.WINDOW, "s": Keeps.WINDOW, "w": Keeps.WINDOW}


def of(facts: Facts) -> list[Layer]:
    """Every layer; empty where the config does not even tell how many there are."""
    count = facts.get("num_hidden_layers") or 0
    kinds = _kinds(facts, count)
    if not window(facts):  # a window of unknown length is none
        kinds = [Keeps.EVERYTHING if kind == Keeps.WINDOW else kind for kind in kinds]
    mixed = Keeps.WINDOW in kinds
    return [_layer(facts, place, kind, mixed=mixed) for place, kind in enumerate(kinds)]


def window(facts: Facts) -> int:
    """How many tokens a windowed layer keeps; 0 where none is told."""
    told = facts.get("sliding_window")
    if isinstance(told, list):
        told = max((each for each in told if type(each) is int), default=0)
    if isinstance(told, int) and not isinstance(told, bool) and told > 0:
        return told
    return int(facts.get("attention_chunk_size") or 0)


def grows_unevenly(facts: Facts) -> bool:
    """Whether layers differ in more than their window, so that their parameters cannot be told from one of them."""
    count = facts.get("num_hidden_layers") or 0
    return bool(facts.get("block_configs")) or Keeps.NOTHING in _kinds(facts, count)


def _kinds(facts: Facts, count: int) -> list[Keeps]:
    for rule in _RULES:
        if found := rule(facts, count):
            return [found[place % len(found)] for place in range(count)]
    return [Keeps.EVERYTHING] * count


def _by_blocks(facts: Facts, count: int) -> list[Keeps]:
    """Nemotron NAS: an architecture search took the attention out of some layers."""
    blocks = _attention_blocks(facts)
    return [
        Keeps.NOTHING if block.get("no_op") or block.get("replace_with_linear") else Keeps.EVERYTHING
        for block in blocks[:count]
    ]


def _attention_blocks(facts: Facts) -> list[dict[str, Any]]:
    blocks = facts.get("block_configs")
    if not isinstance(blocks, list):
        return []
    parts = [block.get("attention") if isinstance(block, dict) else None for block in blocks]
    return [part if isinstance(part, dict) else {} for part in parts]


def _by_name(facts: Facts, count: int) -> list[Keeps]:
    kinds = facts.get("layer_types") or facts.get("layers_block_type")
    return [_named(kind) for kind in kinds] if isinstance(kinds, list) else []


def _named(kind: Any) -> Keeps:
    word = str(kind).lower()
    if any(each in word for each in _NOT_ATTENTION) or word in ("mlp", "moe", "none"):
        return Keeps.NOTHING
    return Keeps.WINDOW if any(each in word for each in _WINDOWED) else Keeps.EVERYTHING


def _by_stars(facts: Facts, count: int) -> list[Keeps]:
    """Nemotron-H: `M-M*-`, where only a star is attention."""
    letters = facts.get("hybrid_override_pattern")
    found = [Keeps.EVERYTHING if letter == "*" else Keeps.NOTHING for letter in letters or ""]
    return found if "*" in (letters or "") else []


def _by_numbers(facts: Facts, count: int) -> list[Keeps]:
    """MiMo: 1 is a window. MiniMax: 0 is linear attention."""
    if _flags(facts.get("hybrid_layer_pattern")):
        return [Keeps.WINDOW if each else Keeps.EVERYTHING for each in facts["hybrid_layer_pattern"]]
    if _flags(facts.get("attn_type_list")):
        return [Keeps.EVERYTHING if each else Keeps.NOTHING for each in facts["attn_type_list"]]
    return []


def _by_list(facts: Facts, count: int) -> list[Keeps]:
    """Kimi: the layers with full attention by their numbers, from 1."""
    told = facts.get("linear_attn_config")
    full = told.get("full_attn_layers") if isinstance(told, dict) else None
    if not isinstance(full, list) or not full:
        return []
    return [Keeps.EVERYTHING if place + 1 in full else Keeps.NOTHING for place in range(count)]


def _by_interval(facts: Facts, count: int) -> list[Keeps]:
    interval = facts.get("full_attention_interval") or 0
    return _every(interval, count, Keeps.NOTHING) if interval else []


def _by_rope(facts: Facts, count: int) -> list[Keeps]:
    """Llama 4: layers with a rotary embedding see a chunk; without a list every fourth is without one."""
    if not facts.get("attention_chunk_size"):
        return []
    if _flags(roped := facts.get("no_rope_layers")):
        return [Keeps.WINDOW if each else Keeps.EVERYTHING for each in roped or []]
    return _every(facts.get("no_rope_layer_interval") or 4, count, Keeps.WINDOW)


def _by_window(facts: Facts, count: int) -> list[Keeps]:
    """A window and how often it is left out: never, by a period, by letters, by a list."""
    if not window(facts) or facts.get("use_sliding_window") is False:
        return []
    if facts.get("use_sliding_window"):  # Qwen2: the first layers keep every token
        full = min(facts.get("max_window_layers") or 0, count)
        return [Keeps.EVERYTHING] * full + [Keeps.WINDOW] * (count - full)
    if isinstance(facts.get("sliding_window"), list):  # Mistral: null is a layer without one
        return [Keeps.WINDOW if each else Keeps.EVERYTHING for each in facts["sliding_window"]]
    return _by_pattern(facts.get("sliding_window_pattern"), facts, count)


def _by_pattern(pattern: Any, facts: Facts, count: int) -> list[Keeps]:
    if isinstance(pattern, str) and config.number(pattern) is None:
        return [_LETTERS.get(letter, Keeps.EVERYTHING) for letter in pattern.lower()]
    if _flags(pattern):
        return [Keeps.WINDOW if each else Keeps.EVERYTHING for each in pattern]
    if isinstance(pattern, list) and pattern:
        return [_named(each) for each in pattern]
    period = config.number(pattern) or (2 if facts.get("model_type") == "gemma2" else 0)
    return _every(period, count, Keeps.WINDOW) if period > 0 else [Keeps.WINDOW] * count


def _flags(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) in (int, bool) for each in value)


def _every(period: int, count: int, otherwise: Keeps) -> list[Keeps]:
    """The last of each period keeps everything."""
    return [otherwise if (place + 1) % period else Keeps.EVERYTHING for place in range(count)]


_RULES: Final[tuple[Callable[[Facts, int], Sequence[Keeps]], ...]] = (
    _by_blocks,
    _by_name,
    _by_stars,
    _by_numbers,
    _by_list,
    _by_interval,
    _by_rope,
    _by_window,
)


def _layer(facts: Facts, place: int, keeps: Keeps, *, mixed: bool) -> Layer:
    """Where layers are mixed, some families give the windowed ones, others the full ones, heads of their own."""
    query_heads = at(facts, "num_attention_heads", place)
    heads = _kv_heads(facts, place) or query_heads
    key = at(facts, "head_dim", place) or (at(facts, "hidden_size", place) // query_heads if query_heads else 0)
    value = at(facts, "v_head_dim", place) or key
    if mixed and keeps == Keeps.EVERYTHING:  # Gemma 4
        heads = at(facts, "num_global_key_value_heads", place) or heads
        if wide := at(facts, "global_head_dim", place):
            key = value = wide
    elif keeps == Keeps.WINDOW:  # MiMo
        heads = at(facts, "swa_num_key_value_heads", place) or heads
        key, value = at(facts, "swa_head_dim", place) or key, at(facts, "swa_v_head_dim", place) or value
    return Layer(keeps, heads, key + value if query_heads else 0)


def _kv_heads(facts: Facts, place: int) -> int:
    """Of this layer, by its block where each has its own; 0 where it is not told."""
    blocks = _attention_blocks(facts)
    group = blocks[place].get("n_heads_in_group") if place < len(blocks) else None
    if type(group) is int and group > 0:
        return max(at(facts, "num_attention_heads", place) // group, 1)
    if facts.get("multi_query") and not facts.get("new_decoder_architecture"):  # Falcon, StarCoder
        return 1
    return at(facts, "num_key_value_heads", place)


def at(facts: Facts, name: str, place: int) -> int:
    """A number that may be told for each layer; 0 where it is not known."""
    value = facts.get(name) or 0
    if isinstance(value, list):
        return int(value[place]) if place < len(value) else 0
    return int(value)
