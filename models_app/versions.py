"""vLLM's version numbers: compared by their first three. Pure."""

import re
from functools import cache

Version = tuple[int, int, int]


@cache
def parse(version: str) -> Version | None:
    """(0, 30, 0) of `0.30.0+cpu`; None when there is no version to read."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
