"""How many bytes a model will take per GPU, before it was ever loaded: config.json and safetensors headers. Pure.

Used for placement until a load measured it, and never shown as usage. What is not known is said, with the reason, and
no figure is made up for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from models_app.catalogue import config, layers
from models_app.catalogue.folder import facts as read_folder
from models_app.catalogue.layers import Shape
from models_app.memory import flags, kv, kv_dtypes, parameters
from models_app.memory.kv import Engine

GIB: Final = 2**30
PAGE_BYTES: Final = 2 * 2**20
DEFAULT_OVERHEAD_BYTES: Final = 2 * GIB  # context 0.5, graphs and activations up to 1.5 (engines' published ranges)
DEFAULT_KV_FLOOR_BYTES: Final = GIB
FLOOR_TOKENS: Final = 4096
"""The KV floor holds one sequence of so many tokens, or of the longest where that is shorter."""
CONTEXT_BYTES: Final = GIB // 2  # CUDA context and libraries: 0.3 to 0.6 GiB
GRAPHS_BYTES: Final = GIB // 2  # CUDA graphs: 0.1 to 2 GiB
LIVE_VECTORS: Final = 14  # 8 to 20 hidden vectors of a batch exist at once
LIVE_LOGITS: Final = 3  # rows of 4-byte logits that exist at once: with it, 3.3 GiB for 8B where 3.3 GiB were measured

FLOATS: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of an element as it is stored; every one of these is loaded in the engine's own width."""
MOST_BYTES: Final = 2**50  # a pebibyte: what comes out larger was computed from nonsense


@dataclass(frozen=True, slots=True)
class Estimate:
    """All sizes are for one GPU, also where several GPUs share a replica. None is unknown: `unknown` says why."""

    weights_bytes: int
    kv_bytes_per_token: int
    """What grows without bound with every token; 0 where it is unknown."""
    overhead_bytes: int
    kv_floor_bytes: int | None
    grow_bytes: int | None = None
    fixed_bytes: int | None = None
    """What one sequence holds whatever its length: its windows and recurrent states."""
    unknown: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    """Where `weights`, `overhead`, `grow`, `fixed` come from, in words."""
    shape: Shape = field(default_factory=Shape)
    engine: Engine = field(default_factory=Engine)

    def sequence_bytes(self, length: int) -> int | None:
        """What the engine reserves for one sequence of so many tokens; None where that is unknown."""
        return None if self.fixed_bytes is None else _sane(kv.sequence(self.shape, self.engine, max(length, 1)))

    def concurrency(self, kv_bytes: int, length: int) -> int | None:
        """How many sequences of this length fit at once into so much KV memory; None where that is unknown."""
        each = self.sequence_bytes(length)
        return None if not each else max(kv_bytes, 0) // each


def facts(folder: Path | str) -> dict[str, Any]:
    """What a local model folder tells: its config's telling fields and, with weight files, their bytes.

    Raises ValueError, saying in words why no engine could load the folder.
    """
    return read_folder(Path(folder))


def estimate(
    told: dict[str, Any],
    *,
    tensor_parallel: int = 1,
    max_model_len: int | None = None,
    kind: str = "",
    version: str = "",
    extra_args: Sequence[str] = (),
    draft: dict[str, Any] | None = None,
) -> Estimate | None:
    """Bytes per GPU from a model's facts or its config; None when these do not even tell its size.

    `draft` are the facts of a model that drafts tokens for it, loaded beside it.
    """
    told = config.facts(told)
    weights, weights_source = _weights(told, extra_args)
    if not weights or weights > MOST_BYTES:
        return None
    speculation = flags.speculation(extra_args)
    shape = _with_drafts(layers.of(told), told, speculation, draft)
    dtype = kv_dtypes.chosen(flags.value(extra_args, "--kv-cache-dtype"), told)
    engine = flags.engine(kind, extra_args, dtype=dtype, tensor_parallel=tensor_parallel)
    if draft is not None:
        more, _ = _weights(config.facts(draft), ())
        weights, weights_source = weights + (more or 0), f"{weights_source}, and those of the model that drafts tokens"
    unknown = shape.unknown or kv_dtypes.unknown(dtype, version)
    grow = None if unknown else _sane(kv.grow(shape, engine))
    fixed = None if unknown or shape.stateless else _sane(kv.fixed(shape, engine))
    made = Estimate(
        weights_bytes=-(-int(weights) // tensor_parallel),
        kv_bytes_per_token=grow or 0,
        overhead_bytes=_overhead(told, extra_args) if kind == "vllm-cuda" else DEFAULT_OVERHEAD_BYTES,
        kv_floor_bytes=None,
        grow_bytes=grow,
        fixed_bytes=fixed,
        unknown=unknown or shape.stateless,
        sources=_sources(told, shape, engine, unknown) | {"weights": weights_source},
        shape=shape,
        engine=engine,
    )
    length = min(max_model_len or told.get("max_position_embeddings") or FLOOR_TOKENS, FLOOR_TOKENS)
    return _with_floor(made, length, int(told.get("num_hidden_layers") or 0))


def kv_bytes_per_token(told: dict[str, Any], *, tensor_parallel: int = 1, dtype_bytes: int = 2) -> int:
    """KV bytes one token takes on each GPU, in layers that keep every token; 0 when the shape is unknown."""
    return kv.grow(layers.of(config.facts(told)), Engine(tensor_parallel=tensor_parallel, width=dtype_bytes))


def _with_floor(made: Estimate, length: int, count: int) -> Estimate:
    """One sequence's reservation, and never less than the pages that stay mapped: the null page and two reserved."""
    sequence = made.sequence_bytes(length)
    floor = max(sequence, 3 * PAGE_BYTES * count) if sequence else None
    return Estimate(**{name: getattr(made, name) for name in made.__slots__} | {"kv_floor_bytes": floor})


def _with_drafts(
    shape: Shape, told: dict[str, Any], speculation: dict[str, Any], draft: dict[str, Any] | None
) -> Shape:
    """The shape with the layers that draft tokens: the model's own last ones, or those of another model."""
    if shape.unknown or not speculation:
        return shape
    if draft is not None:
        other = layers.of(config.facts(draft))
        unknown = other.unknown and f"the model that drafts tokens: {other.unknown}"
        notes = [*shape.notes, "the model that drafts tokens keeps keys and values of its own"]
        return Shape(shape.layers + other.layers, notes, unknown, shape.stateless or other.stateless)
    if speculation.get("model") and "mtp" not in str(speculation.get("method")):
        return Shape(shape.layers, shape.notes, "the files of the model that drafts tokens cannot be read here")
    count = told.get("num_nextn_predict_layers") or 0
    attending = [layer for layer in shape.layers if layer]
    if "mtp" in str(speculation.get("method")) and count and attending:
        return Shape([*shape.layers, *[attending[-1]] * count], [*shape.notes, f"{count} layers draft tokens"])
    return shape


def _weights(told: dict[str, Any], extra_args: Sequence[str]) -> tuple[int, str]:
    """Bytes of all weights once they are loaded, and where that comes from."""
    width = flags.width(extra_args)
    if stored := _loaded(told, width):
        return _online(told, stored, extra_args), told.get("weights_from") or "the headers of the weight files"
    found = parameters.stored_bytes(told, width) or 0
    return _online(told, found, extra_args), "the parameters that the config's shape makes; there are no weight files"


def _loaded(told: dict[str, Any], width: int) -> int:
    """Bytes of the weight files once they are loaded; quantised ones stay as they are stored."""
    stored, by_dtype = int(told.get("weights_bytes") or 0), told.get("weights_by_dtype")
    if not isinstance(by_dtype, dict) or told.get("quantization_config"):
        return stored
    return sum(int(size * width // FLOATS.get(dtype, width)) for dtype, size in by_dtype.items())


def _online(told: dict[str, Any], size: int, extra_args: Sequence[str]) -> int:
    """What is left when the engine itself quantises plain weights; embeddings and the output stay as they are."""
    share = flags.quantised_share(extra_args)
    if share is None or told.get("quantization_config"):
        return size
    copies = 1 if told.get("tie_word_embeddings") else 2
    plain = min(copies * (told.get("vocab_size") or 0) * (told.get("hidden_size") or 0) * 2, size)
    return int(plain + (size - plain) * share)


def _overhead(told: dict[str, Any], extra_args: Sequence[str]) -> int:
    """CUDA context, graphs, the activations of one full batch, and the logits of as many sequences as may run."""
    batch = flags.batch("vllm-cuda", extra_args)
    activations = batch * int(told.get("hidden_size") or 4096) * 2 * LIVE_VECTORS
    logits = flags.sequences(extra_args) * int(told.get("vocab_size") or 0) * 4 * LIVE_LOGITS
    if activations + logits > MOST_BYTES:
        return DEFAULT_OVERHEAD_BYTES
    return CONTEXT_BYTES + GRAPHS_BYTES + activations + logits


def _sane(size: int) -> int | None:
    return size if size <= MOST_BYTES else None


def _sources(told: dict[str, Any], shape: Shape, engine: Engine, unknown: str) -> dict[str, str]:
    """Where each figure comes from."""
    overhead = "a usual engine's context, graphs and activations; the first load measures it"
    if unknown:
        return {"overhead": overhead, "grow": f"unknown, because {unknown}", "fixed": f"unknown, because {unknown}"}
    kept = " and ".join(_kept(shape, growing=True)) or "no layer"
    name = f"{told.get('model_type') or 'the config'}"
    grow = f"{kept} of {len(shape.layers)} layers, by the fields of {name}, KV cache dtype {engine.dtype}"
    held = " and ".join(_kept(shape, growing=False))
    fixed = f"{held}, by the same fields" if held else "no layer has a window or a recurrent state"
    if shape.stateless:
        fixed = f"unknown, because {shape.stateless}"
    notes = "".join(f"; {note}" for note in shape.notes)
    return {"overhead": overhead, "grow": grow + notes, "fixed": fixed}


def _kept(shape: Shape, *, growing: bool) -> list[str]:
    """`16 with full attention`, `48 with a recurrent state`."""
    words = [layers.words(each) for layer in shape.layers for each in layer if layers.grows(each) == growing]
    return [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
