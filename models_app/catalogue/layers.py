"""What each layer of a model keeps of a sequence, in elements, so that nobody counts memory that is not taken. Pure.

An entry is the key and value of one head, a latent vector, or a key of an index: of one token, or of several.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from models_app.catalogue import config, families, kinds, states
from models_app.catalogue.kinds import Kind
from models_app.catalogue.states import State

Facts = dict[str, Any]

INDEX_SCALE_BYTES: Final = 4  # of each token's key of a sparse attention's index, beside 8 bits an element
_ENCODERS: Final = ("bert", "roberta", "xlmroberta", "modernbert", "nomicbert", "distilbert", "electra")
"""They read a whole text at once, and keep nothing of it."""


class Role(Enum):
    """What an entry of a layer's cache stands for."""

    HEADS = "heads"  # key and value of each head
    LATENT = "latent"  # one vector for all heads: MLA
    LATENT_V4 = "latent of DeepSeek V4"
    INDEX = "index"  # a key in 8 bits and its scale
    INDEX_V4 = "index of DeepSeek V4"  # the same, but as wide as the cache where that is not in 8 bits


@dataclass(frozen=True, slots=True)
class Store:
    """Entries of one layer. A window of 0 keeps every token; `each` tokens share an entry."""

    role: Role
    heads: int
    key: int
    value: int
    window: int = 0
    chunked: bool = False
    each: int = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What every layer keeps. `unknown` says why nothing can be said, `stateless` why no state can."""

    layers: list[list[Store | State]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: str = ""
    stateless: str = ""


def of(facts: Facts) -> Shape:
    """The shape by a model's facts."""
    if why := _unknown(facts):
        return Shape(unknown=why)
    if facts.get("read_as") in _ENCODERS:
        return Shape(notes=["an encoder keeps nothing of a text it has read"])
    found = kinds.of(facts)
    if found.unknown:
        return Shape(unknown=found.unknown)
    layers, notes = found.layers, list(found.notes)
    if not kinds.window(facts) and _WINDOWED & set(layers):
        layers = [_UNWINDOWED.get(kind, kind) for kind in layers]
        notes.append("the length of the window is not told: windowed layers count as full attention")
    if facts.get("read_as", "") == "":
        notes.append("the config names no architecture: its fields alone were read")
    mixed = bool(_WINDOWED & set(layers))
    kept = [_layer(facts, place, kind, mixed=mixed) for place, kind in enumerate(layers)]
    if any(store.key <= 0 for layer in kept for store in layer if isinstance(store, Store)):
        return Shape(unknown="the config does not tell how many heads there are, or how wide they are")
    lacking = [kind for place, kind in enumerate(layers) if kind in _STATEFUL and not _has_state(kept[place])]
    why = "the config does not tell how large the state of its recurrent layers is" if lacking else ""
    return Shape(kept, notes, stateless=why)


def at(facts: Facts, name: str, place: int) -> int:
    """A number that may be told for each layer; 0 where it is not known."""
    value = _own(facts, place).get(name)
    value = facts.get(name) if config.number(value) is None else config.number(value)
    if isinstance(value, list):
        return int(value[place]) if place < len(value) else 0
    return int(value or 0)


_WINDOWED: Final = {Kind.WINDOW, Kind.WINDOW_AND_STATE}
_UNWINDOWED: Final = {Kind.WINDOW: Kind.FULL, Kind.WINDOW_AND_STATE: Kind.FULL_AND_STATE}
_STATEFUL: Final = {Kind.STATE, Kind.CONVOLUTION, Kind.FULL_AND_STATE, Kind.WINDOW_AND_STATE}


def _unknown(facts: Facts) -> str:
    """Why the shape cannot be told; empty where it can."""
    family = str(facts.get("read_as") or "")
    if field_ := facts.get("unread"):
        return f"{field_} of the config is not a whole number"
    if facts.get("is_encoder_decoder"):
        return "it has an encoder and a decoder, whose memory is not computed"
    if family and not families.is_known(family):
        name = next((each for each in (facts.get("model_type"), *_names(facts)) if isinstance(each, str) and each), "")
        return f"the architecture {name} is not known here"
    if family in _ENCODERS:
        return ""
    if not facts.get("num_hidden_layers"):
        return "the config does not tell how many layers there are"
    return ""


def _names(facts: Facts) -> list[Any]:
    found = facts.get("architectures")
    return found if isinstance(found, list) else []


def _layer(facts: Facts, place: int, kind: Kind, *, mixed: bool) -> list[Store | State]:
    if kind in (Kind.COMPRESSED, Kind.VERY_COMPRESSED) or facts.get("read_as") == "deepseekv4":
        return list(_deepseek_v4(facts, place, kind))
    found: list[Store | State] = []
    if kind in (Kind.STATE, Kind.FULL_AND_STATE, Kind.WINDOW_AND_STATE) and (state := states.of(facts)):
        found.append(state)
    if kind == Kind.CONVOLUTION and (state := states.short_convolution(facts)):
        found.append(state)
    if kind not in (Kind.STATE, Kind.CONVOLUTION, Kind.NOTHING):
        found += _attention(facts, place, kind, mixed=mixed)
    return found


def _has_state(layer: list[Store | State]) -> bool:
    return any(isinstance(each, State) for each in layer)


def _attention(facts: Facts, place: int, kind: Kind, *, mixed: bool) -> list[Store]:
    window = _window(facts, kind, place)
    chunked = kind == Kind.CHUNK
    if _latent(facts):
        wide = facts["kv_lora_rank"] + (facts.get("qk_rope_head_dim") or 0)
        found = [Store(Role.LATENT, 1, wide, 0, window, chunked)] * _attentions(facts)
        return found + ([Store(Role.INDEX, 1, facts["index_head_dim"], 0)] if _indexed(facts, place) else [])
    heads, key, value = _heads(facts, place, windowed=window > 0, mixed=mixed)
    found = [Store(Role.HEADS, heads, key, value, window, chunked)]
    return found + ([Store(Role.INDEX, 1, facts["index_head_dim"], 0)] if _indexed(facts, place) else [])


def _latent(facts: Facts) -> bool:
    """Whether all heads share one vector. MiniCPM 3 computes so too, but keeps each head's keys and values."""
    return bool(facts.get("kv_lora_rank")) and facts.get("read_as") != "minicpm3" and facts.get("use_mla") is not False


def _attentions(facts: Facts) -> int:
    """How many attentions one layer has: LongCat has two."""
    return 2 if facts.get("read_as") == "longcatflash" else 1


def _window(facts: Facts, kind: Kind, place: int) -> int:
    if kind == Kind.CHUNK:
        return int(facts.get("attention_chunk_size") or 0)
    if kind not in _WINDOWED:
        return 0
    told = facts.get("sliding_window")
    if isinstance(told, list) and place < len(told) and config.number(told[place]):
        return int(config.number(told[place]) or 0)
    return config.number(_own(facts, place).get("sliding_window")) or kinds.window(facts)


def _heads(facts: Facts, place: int, *, windowed: bool, mixed: bool) -> tuple[int, int, int]:
    """KV heads, and the width of a key and of a value. Where layers are mixed, some families give the windowed ones,
    others the full ones, heads of their own.
    """
    query_heads = at(facts, "num_attention_heads", place)
    heads = _kv_heads(facts, place) or query_heads
    key = at(facts, "head_dim", place) or (at(facts, "hidden_size", place) // query_heads if query_heads else 0)
    if facts.get("read_as") == "minicpm3":
        key = (facts.get("qk_nope_head_dim") or 0) + (facts.get("qk_rope_head_dim") or 0)
    if facts.get("read_as") in _DOUBLED and query_heads:
        key = 2 * at(facts, "hidden_size", place) // query_heads
    value = key if facts.get("read_as") in (*_DOUBLED, "minicpm3") else at(facts, "v_head_dim", place) or key
    if mixed and not windowed:  # Gemma 4
        if facts.get("attention_k_eq_v") is not False:
            heads = at(facts, "num_global_key_value_heads", place) or heads
        if wide := at(facts, "global_head_dim", place) or _FULL_WIDTH.get(str(facts.get("read_as")), 0):
            key = value = wide
    elif windowed:  # MiMo, Step
        own = facts.get("attention_other_setting")
        own = own if isinstance(own, dict) else {}
        heads = at(facts, "swa_num_key_value_heads", place) or config.number(own.get("num_attention_groups")) or heads
        key = at(facts, "swa_head_dim", place) or config.number(own.get("head_dim")) or key
        value = at(facts, "swa_v_head_dim", place) or config.number(own.get("head_dim")) or value
    own = _own(facts, place)
    if wide := config.number(own.get("head_dim")) or 0:
        key = value = wide
    heads = config.number(own.get("num_key_value_heads")) or heads
    return (heads, key, value) if query_heads else (heads, 0, 0)


_DOUBLED: Final = ("zamba", "zamba2")
"""They attend to a layer's input and the first layer's together."""
_FULL_WIDTH: Final = {"gemma4": 512, "gemma4unified": 512}


def _own(facts: Facts, place: int) -> dict[str, Any]:
    """What is told of this layer alone: an object by number, or a list."""
    told = facts.get("per_layer_config")
    if isinstance(told, list):
        told = told[place] if place < len(told) else None
    elif isinstance(told, dict):
        told = told.get(str(place))
    return told if isinstance(told, dict) else {}


def _kv_heads(facts: Facts, place: int) -> int:
    """Of this layer, by its block where each has its own; 0 where it is not told."""
    blocks = kinds.attention_blocks(facts)
    block = blocks[place] if place < len(blocks) else {}
    if (group := config.number(block.get("n_heads_in_group")) or 0) > 0:
        return max(at(facts, "num_attention_heads", place) // group, 1)
    if (heads := config.number(block.get("num_key_value_heads")) or 0) > 0:
        return heads
    if facts.get("multi_query") and not facts.get("new_decoder_architecture"):  # Falcon, StarCoder
        return 1
    own = facts.get("attn_config")  # MPT, DBRX
    if isinstance(own, dict) and (heads := config.number(own.get("kv_n_heads")) or 0):
        return heads
    return at(facts, "num_key_value_heads", place)


def _indexed(facts: Facts, place: int) -> bool:
    """Whether this layer has an index of its own. GLM 5 shares one among several layers."""
    if not facts.get("index_head_dim"):
        return False
    own, pattern = facts.get("indexer_types"), facts.get("index_topk_pattern")
    if isinstance(own, list) and place < len(own):
        return bool(own[place] == "full")
    if isinstance(pattern, str | list) and place < len(pattern):
        return pattern[place] in ("F", "full")
    offset = facts.get("index_skip_topk_offset")
    return max(place - (2 if offset is None else offset) + 1, 0) % max(facts.get("index_topk_freq") or 1, 1) == 0


def _deepseek_v4(facts: Facts, place: int, kind: Kind) -> list[Store]:
    """A window of single entries in every layer; then entries for several tokens, and an index of these."""
    wide = at(facts, "head_dim", place)
    found = [Store(Role.LATENT_V4, 1, wide, 0, kinds.window(facts) or 128)]
    if kind not in (Kind.COMPRESSED, Kind.VERY_COMPRESSED):
        return found
    rates = facts.get("compress_rates")
    rates = rates if isinstance(rates, dict) else {}
    if kind == Kind.COMPRESSED:
        each = config.number(rates.get("compressed_sparse_attention")) or 4
        index = Store(Role.INDEX_V4, 1, facts.get("index_head_dim") or 0, 0, each=each)
        return [*found, Store(Role.LATENT_V4, 1, wide, 0, each=each), *([index] if index.key else [])]
    each = _ratio(facts, place) or config.number(rates.get("heavily_compressed_attention")) or 128
    return [*found, Store(Role.LATENT_V4, 1, wide, 0, each=each)]


def _ratio(facts: Facts, place: int) -> int:
    told = facts.get("compress_ratios")
    return config.number(told[place]) or 0 if isinstance(told, list) and place < len(told) else 0


def grows(kept: Store | State) -> bool:
    """Whether it gets larger with every token."""
    return isinstance(kept, Store) and not kept.window


def words(kept: Store | State) -> str:
    """What a layer keeps, for people: it follows a number of layers."""
    if isinstance(kept, State):
        return "with a recurrent state"
    if kept.window:
        return f"with {'chunks' if kept.chunked else 'a window'} of {kept.window:,} tokens"
    if kept.role in (Role.INDEX, Role.INDEX_V4):
        return "with an index"
    one = {Role.HEADS: "with full attention", Role.LATENT: "with a latent vector"}.get(
        kept.role, "with a latent vector"
    )
    return f"{one} for every {kept.each} tokens" if kept.each > 1 else one
