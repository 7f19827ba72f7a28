"""What differs between vLLM versions: tables, not ifs. A version is compared by its first three numbers.

A version nobody told is taken for a new one.
"""

from dataclasses import dataclass, field
from typing import Final

from models_app.versions import Version, parse

KVCACHED_FIRST: Final[Version] = (0, 17, 0)
KVCACHED_LAST: Final[Version] = (0, 30, 999)
SHUTDOWN_TIMEOUT_FIRST: Final[Version] = (0, 18, 0)
DEVICE_UUIDS_FIRST: Final[Version] = (0, 26, 0)  # read in 0.26's source; 0.20 ends with "invalid literal for int()"


@dataclass(frozen=True, slots=True)
class Quirk:
    """Variables that versions `first` to `last` (both included) need."""

    first: Version
    last: Version
    why: str
    environment: dict[str, str] = field(default_factory=dict)
    kvcached_only: bool = True


QUIRKS: Final = (
    Quirk(
        (0, 22, 0),
        (0, 27, 999),
        "kvcached has no adapter for Model Runner V2 in these versions and refuses to start",
        {"VLLM_USE_V2_MODEL_RUNNER": "0"},
    ),
)


def kvcached_supports(version: str) -> bool:
    """Whether kvcached 0.1.6 patches this vLLM."""
    numbers = parse(version)
    return numbers is None or KVCACHED_FIRST <= numbers <= KVCACHED_LAST


def has_shutdown_timeout(version: str) -> bool:
    """Whether `vllm serve` knows --shutdown-timeout; without it SIGTERM cuts running streams."""
    numbers = parse(version)
    return numbers is None or numbers >= SHUTDOWN_TIMEOUT_FIRST


def takes_device_uuids(version: str) -> bool:
    """Whether CUDA_VISIBLE_DEVICES may hold UUIDs; earlier versions insist on numbers."""
    numbers = parse(version)
    return numbers is None or numbers >= DEVICE_UUIDS_FIRST


def environment(version: str, *, kvcached: bool) -> dict[str, str]:
    """The variables this version needs."""
    numbers = parse(version)
    found: dict[str, str] = {}
    for quirk in QUIRKS:
        if numbers is not None and quirk.first <= numbers <= quirk.last and (kvcached or not quirk.kvcached_only):
            found |= quirk.environment
    return found
