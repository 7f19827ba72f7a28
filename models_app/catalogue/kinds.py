"""What kind each layer of a model is: what it keeps of a sequence, read from whatever way its family tells it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from models_app.catalogue import config, families

Facts = dict[str, Any]


class Kind(Enum):
    """How much of a sequence a layer holds."""

    FULL = "full"
    WINDOW = "window"
    CHUNK = "chunk"
    STATE = "state"  # linear attention, Mamba: a state that does not grow
    CONVOLUTION = "convolution"  # a short one: a state too
    NOTHING = "nothing"  # feed-forward alone, or another layer's keys and values
    FULL_AND_STATE = "full and state"
    WINDOW_AND_STATE = "window and state"
    COMPRESSED = "compressed"  # DeepSeek V4: a window, and one entry for several tokens, found by an index
    VERY_COMPRESSED = "very compressed"  # the same without an index


@dataclass(frozen=True, slots=True)
class Kinds:
    """One kind for each layer; `notes` are for people."""

    layers: list[Kind]
    notes: list[str] = field(default_factory=list)
    unknown: str = ""


_WORDS: Final[dict[Kind, str]] = {
    Kind.FULL: "full_attention full attention attn global global_attention self_attention softmax_attention "
    "indexed_attention deepseek_sparse_attention qwen_sparse_attention minimax_m3_sparse dense_attention mla",
    Kind.WINDOW: "sliding_attention sliding_window_attention sliding_window sliding local local_attention "
    "local_sliding window window_attention windowed swa reference_sliding_attention",
    Kind.CHUNK: "chunked_attention chunked chunked_local_attention",
    Kind.STATE: "linear_attention linear mamba mamba1 mamba2 m gdn kda gated_deltanet gated_delta_net delta recurrent "
    "lightning lightning_attention ssm rwkv rglru",
    Kind.CONVOLUTION: "conv short_conv convolution",
    Kind.NOTHING: "moe mlp dense sparse ffn none no_op noop identity",
    Kind.FULL_AND_STATE: "hybrid",
    Kind.WINDOW_AND_STATE: "hybrid_sliding",
    Kind.COMPRESSED: "compressed_sparse_attention",
    Kind.VERY_COMPRESSED: "heavily_compressed_attention",
}
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_LETTERS: Final = {"l": Kind.WINDOW, "s": Kind.WINDOW, "w": Kind.WINDOW}
_STARS: Final = {"*": Kind.FULL, "M": Kind.STATE, "E": Kind.NOTHING, "-": Kind.NOTHING, "|": Kind.NOTHING}
_WHOLE: Final = {
    "mamba": Kind.STATE,
    "mamba2": Kind.STATE,
    "falconmamba": Kind.STATE,
    "falconh1": Kind.FULL_AND_STATE,
    "hymba": Kind.FULL_AND_STATE,
}
"""Families all of whose layers are of one kind, which no field tells."""


def of(facts: Facts) -> Kinds:
    """The kind of every layer."""
    count = facts.get("num_hidden_layers") or 0
    told: list[Any] = next((found for rule in _RULES if (found := rule(facts, count))), [])
    if not told and families.pattern(str(facts.get("read_as") or "")) == []:
        return Kinds([], unknown="the config does not tell which of its layers are of which kind")
    told = told or [Kind.FULL]
    told = [told[place % len(told)] for place in range(count)]
    kinds = [each if isinstance(each, Kind) else named(each) or Kind.FULL for each in told]
    strange = sorted({str(each)[:40] for each in told if not isinstance(each, Kind) and named(each) is None})
    notes = [f"layers of the kind {word!r} are not known: they count as full attention" for word in strange]
    if facts.get("read_as") == "gemma4" and kinds and kinds[-1] == Kind.WINDOW:
        kinds[-1] = Kind.FULL  # its code says so, whatever the config
    if facts.get("read_as") == "recurrentgemma":  # what it calls attention sees a window
        kinds = [Kind.WINDOW if kind == Kind.FULL else kind for kind in kinds]
    shared = min(facts.get("num_kv_shared_layers") or 0, count)
    if shared:
        kinds[count - shared :] = [Kind.NOTHING] * shared
        notes.append(f"the last {shared} layers use the keys and values of earlier ones")
    return Kinds(kinds, notes)


def named(word: Any) -> Kind | None:
    """A kind by the word that configs use for it; None for a word nobody knows."""
    return _KINDS.get(str(word).lower().replace("-", "_"))


def window(facts: Facts) -> int:
    """How many tokens a windowed layer keeps; 0 where none is told."""
    told = facts.get("sliding_window")
    if isinstance(told, list):
        told = max((each for each in told if type(each) is int), default=0)
    found = config.number(told) or 0
    return found or facts.get("attention_window_size") or facts.get("window_size") or facts.get("local_attention") or 0


def differ(facts: Facts) -> bool:
    """Whether layers differ in more than their window, so that their parameters cannot be told from one of them."""
    alike = {Kind.FULL, Kind.WINDOW, Kind.CHUNK}
    return bool(facts.get("block_configs")) or not set(of(facts).layers) <= alike


def attention_blocks(facts: Facts) -> list[dict[str, Any]]:
    """What an architecture search left of each layer's attention (Nemotron NAS)."""
    blocks = facts.get("block_configs")
    if not isinstance(blocks, list):
        return []
    parts = [block.get("attention") if isinstance(block, dict) else None for block in blocks]
    return [part if isinstance(part, dict) else {} for part in parts]


def _by_blocks(facts: Facts, count: int) -> list[Any]:
    blocks = attention_blocks(facts)[:count]
    return [Kind.NOTHING if each.get("no_op") or each.get("replace_with_linear") else Kind.FULL for each in blocks]


def _by_name(facts: Facts, count: int) -> list[Any]:
    told = next((facts[name] for name in ("layer_types", "layers_block_type", "block_types") if facts.get(name)), None)
    return told if isinstance(told, list) else []


def _by_repeats(facts: Facts, count: int) -> list[Any]:
    """GPT-Neo tells a pattern and how often it repeats: `[[["global", "local"], 12]]`."""
    told = facts.get("attention_types")
    found: list[Any] = []
    for part in told if isinstance(told, list) else []:
        if isinstance(part, list) and len(part) == 2 and isinstance(part[0], list):
            found += part[0] * min(config.number(part[1]) or 0, count)
    return found


def _by_stars(facts: Facts, count: int) -> list[Any]:
    """Nemotron-H: `M-M*-`, where only a star is attention."""
    letters = facts.get("hybrid_override_pattern") or ""
    return [_STARS.get(letter, letter) for letter in letters] if "*" in letters or "M" in letters else []


def _by_numbers(facts: Facts, count: int) -> list[Any]:
    """MiMo: 1 is a window. MiniMax: 0 is linear attention."""
    if _flags(facts.get("hybrid_layer_pattern")):
        return [Kind.WINDOW if each else Kind.FULL for each in facts["hybrid_layer_pattern"]]
    if _flags(facts.get("attn_type_list")):
        return [Kind.FULL if each else Kind.STATE for each in facts["attn_type_list"]]
    return []


def _by_ratios(facts: Facts, count: int) -> list[Any]:
    """DeepSeek V4: 0 is a window alone, 4 has an index, 128 has none."""
    if _flags(told := facts.get("compress_ratios")):
        kinds = {0: Kind.WINDOW, 1: Kind.WINDOW, 4: Kind.COMPRESSED}
        return [kinds.get(each, Kind.VERY_COMPRESSED) for each in told or []]
    if facts.get("read_as") != "deepseekv4":
        return []
    pairs = [Kind.COMPRESSED if place % 2 else Kind.VERY_COMPRESSED for place in range(max(count - 2, 0))]
    return [Kind.VERY_COMPRESSED] * min(count, 2) + pairs


def _by_list(facts: Facts, count: int) -> list[Any]:
    """The numbers of the layers with full attention: from 1 in Kimi, from 0 in Bamba and LFM2."""
    told = facts.get("linear_attn_config")
    full = told.get("full_attn_layers") if isinstance(told, dict) else None
    if isinstance(full, list) and full:
        return [Kind.FULL if place + 1 in full else Kind.STATE for place in range(count)]
    for name, kind, other in _LISTS:
        if isinstance(numbers := facts.get(name), list):
            return [kind if place in numbers else other for place in range(count)]
    if facts.get("read_as") == "kimilinear":
        return [Kind.FULL if place and place % 4 == 0 else Kind.STATE for place in range(count)]
    return []


_LISTS: Final = (
    ("attn_layer_indices", Kind.FULL, Kind.STATE),
    ("full_attn_idxs", Kind.FULL, Kind.CONVOLUTION),
    ("hybrid_layer_ids", Kind.FULL_AND_STATE, Kind.STATE),
)


def _by_interval(facts: Facts, count: int) -> list[Any]:
    if (interval := facts.get("full_attention_interval") or 0) > 0:
        return _every(interval, count, Kind.STATE)
    if (period := facts.get("attn_layer_period") or 0) > 0 and facts.get("read_as") == "jamba":
        offset = facts.get("attn_layer_offset") or 0
        return [Kind.FULL if place % period == offset else Kind.STATE for place in range(count)]
    if (group := facts.get("layer_group_size") or 0) > 1:  # Bailing with linear attention
        return _every(group, count, Kind.STATE)
    return []


def _by_rope(facts: Facts, count: int) -> list[Any]:
    """Llama 4: layers with a rotary embedding see a chunk; without a list every fourth is without one."""
    if not facts.get("attention_chunk_size"):
        return []
    if _flags(roped := facts.get("no_rope_layers")):
        return [Kind.CHUNK if each else Kind.FULL for each in roped or []]
    return _every(facts.get("no_rope_layer_interval") or 4, count, Kind.CHUNK)


def _by_window(facts: Facts, count: int) -> list[Any]:
    """A window and how often it is left out: never, by a period, by letters, by a list."""
    if not window(facts) or facts.get("use_sliding_window") is False:
        return []
    by_number = facts.get("max_window_layers") is not None and not facts.get("sliding_window_pattern")
    if facts.get("use_sliding_window") or by_number:  # Qwen2: the first layers keep every token
        full = min(facts.get("max_window_layers") or 0, count)
        return [Kind.FULL] * full + [Kind.WINDOW] * (count - full)
    if isinstance(facts.get("sliding_window"), list):  # Mistral: null is a layer without one
        return [Kind.WINDOW if each else Kind.FULL for each in facts["sliding_window"]]
    if period := facts.get("global_attn_every_n_layers") or 0:  # ModernBERT: the first of each period
        if facts.get("read_as") != "modernbert":
            return _every(period, count, Kind.WINDOW)
        return [Kind.WINDOW if place % period else Kind.FULL for place in range(count)]
    return _by_pattern(facts.get("sliding_window_pattern"), count)


def _by_pattern(pattern: Any, count: int) -> list[Any]:
    if isinstance(pattern, str) and config.number(pattern) is None:
        return [_LETTERS.get(letter, Kind.FULL) for letter in pattern.lower()]
    if _flags(pattern):
        return [Kind.WINDOW if each else Kind.FULL for each in pattern]
    if isinstance(pattern, list) and pattern:
        return pattern
    period = config.number(pattern) or 0
    return _every(period, count, Kind.WINDOW) if period > 0 else []


def _by_family(facts: Facts, count: int) -> list[Any]:
    """What the family's code does where its config says nothing."""
    family = str(facts.get("read_as") or "")
    if family in _WHOLE:
        return [_WHOLE[family]]
    if (found := families.pattern(family)) is not None:
        return list(found)
    if facts.get("use_sliding_window") is False or not window(facts):
        return []
    return [Kind.WINDOW]


def _flags(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) in (int, bool) for each in value)


def _every(period: int, count: int, otherwise: Kind) -> list[Any]:
    """The last of each period keeps everything."""
    return [otherwise if (place + 1) % period else Kind.FULL for place in range(count)]


_RULES: Final[tuple[Callable[[Facts, int], list[Any]], ...]] = (
    _by_blocks,
    _by_name,
    _by_repeats,
    _by_stars,
    _by_numbers,
    _by_ratios,
    _by_list,
    _by_interval,
    _by_rope,
    _by_window,
    _by_family,
)
