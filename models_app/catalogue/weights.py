"""The weight files of a folder: those that vLLM would load, none missing, none half.

vLLM 0.30 with `--load-format auto`: consolidated*.safetensors if there is one, else *.safetensors, else *.bin, else
*.pt. An index beside them decides which of the files are read, and a file that it names and that is not there ends the
start. What an index says about sizes is not believed: it is copied from the model that this one was made from.
"""

import re
from pathlib import Path
from typing import Any, Final

from models_app.catalogue import safetensors
from models_app.catalogue.reading import Unusable, beginning, json_object

CONSOLIDATED: Final = "consolidated*.safetensors"
_INDEXES: Final = {
    CONSOLIDATED: "consolidated.safetensors.index.json",
    "*.safetensors": "model.safetensors.index.json",
    "*.bin": "pytorch_model.bin.index.json",
}
_NOT_WEIGHTS: Final = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?P<end>\.\w+)\Z")
_STORED: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def bytes_by_dtype(root: Path, told_dtype: str = "") -> dict[str, int]:
    """Bytes of all weights by dtype, empty without weight files. Raises Unusable where an engine could not load them.

    Pickled files do not tell their dtype in a header: all of one counts as `told_dtype`, the config's.
    """
    files = _files(root)
    found: dict[str, int] = {}
    for file in files:
        one = safetensors.bytes_by_dtype(file) if file.suffix == ".safetensors" else _pickled(file, told_dtype)
        for dtype, size in one.items():
            found[dtype] = found.get(dtype, 0) + size
    return found


def told(root: Path) -> str:
    """What is unusual about the weight files, for people: pickled, or there twice. Empty where nothing is."""
    files = _files(root)
    if files and files[0].suffix != ".safetensors":
        return f"the sizes of pickled files ({files[0].suffix}), which tell no more: safetensors are measured by tensor"
    others = [file for file in root.glob("*.safetensors") if file not in files]
    if files and files[0].match(CONSOLIDATED) and others:
        return "the headers of the consolidated files; the same weights lie there a second time, which is not loaded"
    return ""


def _files(root: Path) -> list[Path]:
    for pattern in (CONSOLIDATED, "*.safetensors", "*.bin", "*.pt"):
        files = sorted(file for file in root.glob(pattern) if file.name not in _NOT_WEIGHTS)
        named = _named(root / _INDEXES[pattern]) if pattern in _INDEXES else set()
        if pattern == CONSOLIDATED and not files:
            continue
        if files or named:
            _check_all_there(files, named)
            return [file for file in files if file.name in named] if named else files
    return []


def _named(index: Path) -> set[str]:
    """The files that an index names; none where it does not say."""
    if not index.is_file():
        return set()
    told: Any = json_object(index).get("weight_map")
    return {name for name in told.values() if isinstance(name, str)} if isinstance(told, dict) else set()


def _check_all_there(files: list[Path], named: set[str]) -> None:
    """Every file that the index names, or without one every shard that the names of the others count."""
    there = {file.name for file in files}
    wanted = named or {name for file in files for name in _siblings(file.name)}
    missing = sorted(wanted - there)
    if not missing:
        return
    example = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
    if named and not there & named and there:
        raise Unusable(f"the index names files that are not there ({example}): it belongs to another copy; remove it")
    raise Unusable(f"{len(missing)} of {len(wanted)} weight files are missing: {example}; download them again")


def _siblings(name: str) -> set[str]:
    """The shards that a shard's own name counts."""
    shard = _SHARD.match(name)
    if shard is None:
        return set()
    width, count = len(shard["number"]), int(shard["count"])
    if not 0 < count <= 10_000:
        return set()
    numbers = range(1, count + 1)
    return {f"{shard['stem']}-{number:0{width}}-of-{shard['count']}{shard['end']}" for number in numbers}


def _pickled(file: Path, told_dtype: str) -> dict[str, int]:
    if not beginning(file, 1):
        raise Unusable(f"{file.name} is empty; download it again")
    return {_STORED.get(told_dtype, "BF16"): file.stat().st_size}
