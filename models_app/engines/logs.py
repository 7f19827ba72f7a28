"""Where an engine logs, the bounded end of it, and what a load is doing as its lines tell.

Lines carry prefixes such as `(EngineCore pid=71)`, so patterns search, never anchor; progress bars use carriage returns.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

TAIL_BYTES: Final = 256 * 1024
GIB: Final = 2**30

PHASES: Final = (
    (r"non-default args:", "starting", 0.02),
    (r"Resolved architecture:|Using max model len", "reading the config", 0.05),
    (r"Initializing a V1 LLM engine", "starting the engine core", 0.10),
    (r"Starting to load model", "loading weights", 0.15),
    (r"Loading weights took", "weights loaded", 0.50),
    (r"Model loading took", "weights on the GPU", 0.55),
    (r"Using cache directory:|Compiling a graph|Directly load the compiled graph", "compiling", 0.60),
    (r"Available KV cache memory|Using kvcached process-local KV capacity", "sizing the KV cache", 0.75),
    (r"GPU KV cache size|CPU KV cache size", "KV cache ready", 0.80),
    (r"Capturing CUDA graphs", "capturing graphs", 0.85),
    (r"Graph capturing finished|init engine \(profile", "warming up", 0.92),
    (r"Starting vLLM server on", "opening the port", 0.97),
    (r"Application startup complete", "first answer", 0.99),
)
"""Milestones of a load in order: pattern, words for people, share of the whole."""

_PHASES = [(re.compile(pattern), words, ratio) for pattern, words, ratio in PHASES]
_SHARDS = re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% Completed")
_FACTS = {
    "weights_bytes": (re.compile(r"Model loading took ([\d.]+) GiB"), GIB),
    "weights_seconds": (re.compile(r"Loading weights took ([\d.]+) seconds"), 1.0),
    "graphs_bytes": (re.compile(r"Graph capturing finished in .*? took ([\d.]+) GiB"), GIB),
    "kv_bytes": (re.compile(r"Available KV cache memory: ([\d.]+) GiB"), GIB),
    "kv_tokens": (re.compile(r"KV cache size: ([\d,]+) tokens"), 1),
    "init_seconds": (re.compile(r"init engine \(.*?\) took ([\d.]+) s"), 1.0),
}


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is. `facts` holds the bytes, seconds and tokens its lines told."""

    phase: str = ""
    ratio: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


def path(replica_id: int, generation: int, deployment_name: str) -> Path:
    """The log of one start of a replica."""
    return Path(settings.LOG_DIR) / f"{deployment_name}-{replica_id}-{generation}.log"


def tail(log: Path, max_bytes: int = TAIL_BYTES) -> list[str]:
    """The last whole lines within `max_bytes`; empty when there is no log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - max_bytes, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = split(text)
    return lines[1:] if size > max_bytes else lines


def read_from(log: Path, offset: int, max_bytes: int = TAIL_BYTES) -> tuple[str, int]:
    """What was written since `offset`, whole lines only, and the offset to go on from."""
    try:
        with log.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            raw = file.read(max_bytes)
    except FileNotFoundError:
        return "", 0
    whole = raw.rfind(b"\n") + 1
    if whole == 0 and len(raw) == max_bytes:
        whole = len(raw)  # a line longer than we read at once: better cut than never shown
    return raw[:whole].decode(errors="replace"), offset + whole


def split(text: str) -> list[str]:
    """Lines of a log; of a progress bar only what was last drawn."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n") if line.strip()]


def progress(lines: Iterable[str]) -> LoadProgress:
    """The furthest milestone the lines reached; it never goes back."""
    phase, ratio, facts = "", 0.0, {}
    for line in lines:
        for pattern, words, share in _PHASES:
            if share > ratio and pattern.search(line):
                phase, ratio = words, share
        if (shards := _SHARDS.search(line)) and 0.15 <= ratio < 0.5:
            ratio = max(ratio, 0.15 + 0.34 * int(shards[1]) / 100)
        facts |= _facts(line)
    return LoadProgress(phase, ratio, facts)


def _facts(line: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (pattern, unit) in _FACTS.items():
        if match := pattern.search(line):
            number = float(match[1].replace(",", ""))
            found[name] = number if isinstance(unit, float) else int(number * unit)
    if "Successfully patched vllm" in line:
        found["kvcached_engaged"] = True
    return found
