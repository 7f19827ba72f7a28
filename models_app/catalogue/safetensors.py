"""What a safetensors file holds, by its header; the data itself is never read.

The format: eight bytes that give the header's length, the header as JSON, then the tensors one after the other without
a gap until the end of the file. The library refuses a file that is a byte too short or too long, and so do we.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from models_app.catalogue.reading import Unusable, beginning

HEADER_LIMIT: Final = 100 * 10**6  # the library's own
_LENGTH: Final = 8


def bytes_by_dtype(file: Path) -> dict[str, int]:
    """Bytes of its tensors, by their dtype as the header writes it. Raises Unusable for a file that is not whole."""
    told, start = _of_file(file)
    found_tensors = tensors(file.name, told)
    end = found_tensors[-1][1] if found_tensors else 0
    size = file.stat().st_size
    if size < start + end:
        raise Unusable(f"{file.name} is not complete: it ends before its last tensor; download it again")
    if size > start + end:
        raise Unusable(f"{file.name} is damaged: it goes on after its last tensor; download it again")
    found: dict[str, int] = {}
    for first, last, dtype in found_tensors:
        found[dtype] = found.get(dtype, 0) + last - first
    return found


def header_length(name: str, raw: bytes) -> int:
    """How long the header is, by the first eight bytes. Raises Unusable."""
    if not raw:
        raise Unusable(f"{name} is empty; download it again")
    size = int.from_bytes(raw, "little")
    if len(raw) < _LENGTH or not 0 < size <= HEADER_LIMIT:
        raise Unusable(f"{name} is not a safetensors file")
    return size


def header(name: str, text: bytes, size: int) -> dict[str, Any]:
    """The header of this length. Raises Unusable."""
    if len(text) < size:
        raise Unusable(f"{name} is not complete: it ends within its header; download it again")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{name} is not a safetensors file") from error
    if not isinstance(found, dict):
        raise Unusable(f"{name} has a header that is not safetensors'")
    return found


def tensors(file: str, header: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Begin, end and dtype of each tensor, in the order of the data. Raises Unusable where they leave gaps."""
    found = sorted(_tensors(file, header))
    if any(one[1] != other[0] for one, other in pairwise(found)) or (found and found[0][0] != 0):
        raise Unusable(f"{file} has a header that is not safetensors'")
    return found


def _of_file(file: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the data begins."""
    size = header_length(file.name, beginning(file, _LENGTH))
    return header(file.name, beginning(file, _LENGTH + size)[_LENGTH:], size), _LENGTH + size


def _tensors(file: str, header: dict[str, Any]) -> list[tuple[int, int, str]]:
    found = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        told = tensor if isinstance(tensor, dict) else {}
        offsets, dtype = _offsets(told.get("data_offsets")), told.get("dtype")
        if offsets is None or not isinstance(dtype, str) or len(dtype) > 16:
            raise Unusable(f"{file} has a header that is not safetensors'")
        found.append((*offsets, dtype))
    return found


def _offsets(value: Any) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value):
        begin, end = value
        return (begin, end) if 0 <= begin <= end else None
    return None
