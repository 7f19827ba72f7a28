"""Sizes of memory, as people write and read them: base 1024, in GiB."""

import math
import re
from collections.abc import Callable

GIB = 1024**3
MIB = 1024**2

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)$", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse(text: str) -> int:
    """Bytes from text such as 80GiB, 512M or 1073741824. Raises ValueError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: use for example 512MiB or 80GiB")
    number, unit = match.groups()
    whole, _, decimals = number.partition(".")
    power = _POWERS[unit.lower().rstrip("b").rstrip("i")]
    return int(whole + decimals) * (1 << 10 * power) // int("1" + "0" * len(decimals))


def shown(size_bytes: float | None) -> str:
    """`16 GiB`, `0.5 GiB` or, where a tenth of a GiB is too coarse, `40 MiB`; unknown is a dash."""
    return "-" if size_bytes is None else _written(size_bytes, round)


def needed(size_bytes: float) -> str:
    """As `shown`, rounded up: what does not fit never reads like what is free."""
    return _written(size_bytes, math.ceil)


def free(size_bytes: float) -> str:
    """As `shown`, rounded down; less than nothing is nothing."""
    return _written(max(size_bytes, 0), math.floor)


def _written(size_bytes: float, whole: Callable[[float], int]) -> str:
    tenths = whole(size_bytes * 10 / GIB)
    if 0 < abs(size_bytes) < GIB / 10:
        return f"{whole(size_bytes / MIB)} MiB"
    return f"{tenths // 10} GiB" if tenths % 10 == 0 else f"{tenths / 10:.1f} GiB"
