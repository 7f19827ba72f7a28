"""What differs between vLLM versions: a table, not ifs. A version is compared by its first three numbers."""

import re
from dataclasses import dataclass, field

KVCACHED_FIRST, KVCACHED_LAST = (0, 17, 0), (0, 30, 999)


@dataclass(frozen=True, slots=True)
class Quirk:
    """Variables that versions `first` to `last` (both included) need."""

    first: tuple[int, int, int]
    last: tuple[int, int, int]
    why: str
    environment: dict[str, str] = field(default_factory=dict)
    kvcached_only: bool = True


QUIRKS = (
    Quirk(
        (0, 22, 0),
        (0, 27, 999),
        "kvcached has no adapter for Model Runner V2 in these versions and refuses to start",
        {"VLLM_USE_V2_MODEL_RUNNER": "0"},
    ),
)


def parse(version: str) -> tuple[int, int, int] | None:
    """(0, 30, 0) of `0.30.0+cpu`; None when there is no version to read."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def kvcached_supports(version: str) -> bool:
    """Whether kvcached 0.1.6 patches this vLLM; an unknown version is taken on trust."""
    numbers = parse(version)
    return numbers is None or KVCACHED_FIRST <= numbers <= KVCACHED_LAST


def environment(version: str, *, kvcached: bool) -> dict[str, str]:
    """The variables this version needs."""
    numbers = parse(version)
    found: dict[str, str] = {}
    for quirk in QUIRKS:
        if numbers is not None and quirk.first <= numbers <= quirk.last and (kvcached or not quirk.kvcached_only):
            found |= quirk.environment
    return found
