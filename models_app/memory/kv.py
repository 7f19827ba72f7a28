"""KV memory on each GPU: what grows with every token, what a sequence holds whatever its length, and what the engine
reserves for one sequence. Pure.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

from models_app.catalogue.layers import Role, Shape, Store
from models_app.catalogue.states import State
from models_app.memory import kv_dtypes

SINGLE: Final = 4


@dataclass(frozen=True, slots=True)
class Engine:
    """What decides the size of an entry and of a reservation, of the engine and its flags."""

    tensor_parallel: int = 1
    width: int = 2
    dtype: str = "auto"
    block: int = 16
    batched: int = 8192
    """Tokens that may be under way at once: as many batches as run side by side."""
    state_width: int | None = None
    states: int = 1
    """Copies of a recurrent state for one sequence: two with prefix caching, one more for each drafted token."""


def grow(shape: Shape, engine: Engine) -> int:
    """Bytes of each token in layers that keep every token."""
    return int(sum((_token(each, engine) for each in _stores(shape) if not each.window), Fraction()))


def fixed(shape: Shape, engine: Engine) -> int:
    """Bytes of a long sequence in its windows and states."""
    windows = sum((_token(each, engine) * each.window for each in _stores(shape) if each.window), Fraction())
    return int(windows) + sum(state_bytes(each, engine) for each in _states(shape))


def sequence(shape: Shape, engine: Engine, length: int) -> int:
    """Bytes that the engine reserves for one sequence of this length: whole blocks, windows with the tokens that are
    under way, layers of several kinds in groups of one size.
    """
    layers = Counter(_Reserved.of(each, engine, length) for each in _stores(shape))
    states = Counter(state_bytes(each, engine) for each in _states(shape))
    if not states and len({(each.blocks, each.full) for each in layers}) <= 1:
        return sum(each.blocks * each.page * count for each, count in layers.items())
    return _grouped(layers, states, engine, length)


def state_bytes(state: State, engine: Engine) -> int:
    """Bytes of one layer's state on each GPU."""
    width = engine.tensor_parallel
    convolution = state.convolution
    if state.groups and state.groups % width:  # each GPU needs the groups of its heads
        convolution += (width - state.groups) * state.grouped if state.groups < width else 0
    wide = engine.state_width or (SINGLE if state.wide else engine.width)
    return -(-convolution // width) * engine.width + -(-state.recurrent // width) * wide


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What a layer's store takes: how many blocks, and the bytes of one. `full`: it keeps every token."""

    full: bool
    blocks: int
    page: int
    tokens: int
    one_more: int
    latent: bool

    @classmethod
    def of(cls, store: Store, engine: Engine, length: int, block: int = 0) -> "_Reserved":
        block = block or engine.block
        tokens, one_more = length, 0
        if store.window and store.chunked:
            tokens = min(store.window + engine.batched, length)
        elif store.window:
            tokens, one_more = min(store.window - 1 + engine.batched, length), 1
        page = int(-(-_token(store, engine) * block // 1))
        latent = store.role != Role.HEADS
        return cls(not store.window, -(-tokens // block) + one_more, page, tokens, one_more, latent)

    def blocks_of(self, block: int) -> int:
        return -(-self.tokens // block) + self.one_more


def _grouped(layers: Counter[_Reserved], states: Counter[int], engine: Engine, length: int) -> int:
    """Layers of several kinds share one pool of pages of one size, and are put into groups of as many layers."""
    block, page = engine.block, max((each.page for each in layers), default=0)
    if states and layers:  # a block is made as long as a state is large
        smallest = max(each.page for each in layers) // block or 1
        align = lcm(block, 128) if any(each.latent for each in layers) else block
        block = align * -(-max(states) // (align * smallest))
        page = smallest * block
    page = max(page, max(states, default=0))
    counts = Counter[tuple[bool, int]]()
    for each, count in layers.items():
        own = each.page * block // engine.block
        longer = block * (page // own) if own and page % own == 0 else block
        counts[each.full, each.blocks_of(longer)] += count
    for count in states.values():
        counts[False, -engine.states] += count
    fewest, most = min(counts.values()), max(counts.values())
    size = most if most < 1.5 * fewest else fewest
    groups = sum(-(-count // size) * abs(blocks) for (_, blocks), count in counts.items())
    return groups * size * page


def _token(store: Store, engine: Engine) -> Fraction:
    """Bytes of one token on each GPU. Heads are divided; what all heads share is on every GPU."""
    heads = -(-store.heads // engine.tensor_parallel) if store.role == Role.HEADS else store.heads
    return heads * kv_dtypes.entry_bytes(store, engine.dtype, engine.width) / store.each


def _stores(shape: Shape) -> list[Store]:
    return [each for layer in shape.layers for each in layer if isinstance(each, Store)]


def _states(shape: Shape) -> list[State]:
    return [each for layer in shape.layers for each in layer if isinstance(each, State)]
