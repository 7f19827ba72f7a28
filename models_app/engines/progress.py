"""What a load is doing and has taught us, as the engine's log lines tell. Pure; needs no Django.

Lines carry prefixes such as `(EngineCore pid=71)`, so patterns search, never anchor; progress bars use carriage
returns. The patterns hold for vLLM 0.26 to 0.30 and kvcached 0.1.6.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from models_app.spec import LoadFacts

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
    (r"KV cache size: [\d,]+ tokens", "KV cache ready", 0.80),
    (r"Capturing CUDA graphs", "capturing graphs", 0.85),
    (r"Graph capturing finished|init engine \(profile", "warming up", 0.92),
    (r"Starting vLLM server on|Starting vLLM API server", "opening the port", 0.97),
    (r"Application startup complete", "first answer", 0.99),
)
"""Milestones of a load in order: pattern, words for people, share of the whole."""

_PHASES = [(re.compile(pattern), words, ratio) for pattern, words, ratio in PHASES]
_BARS: Final = (
    # pattern of a bar's percentage, the share where the bar begins, and where it ends
    (re.compile(r"Loading \w+ checkpoint shards:\s+(\d+)% Completed"), 0.15, 0.49),
    (re.compile(r"Capturing CUDA graphs.*?:\s+(\d+)%"), 0.85, 0.91),
)
_FACTS: Final[dict[str, tuple[re.Pattern[str], int | None]]] = {
    "weights_bytes": (re.compile(r"Model loading took ([\d.]+) GiB"), GIB),
    "weights_seconds": (re.compile(r"Loading weights took ([\d.]+) seconds"), None),
    "graphs_bytes": (re.compile(r"Graph capturing finished in .*? took ([\d.]+) GiB"), GIB),
    "kv_bytes": (re.compile(r"Available KV cache memory: ([\d.]+) GiB"), GIB),
    "kv_tokens": (re.compile(r"KV cache size: ([\d,]+) tokens"), 1),
    "max_concurrency": (re.compile(r"Maximum concurrency for .*?: ([\d.]+)x"), None),
    "init_seconds": (re.compile(r"init engine \(.*?\) took ([\d.]+) s"), None),
}
_KVCACHED: Final = re.compile(r"Using kvcached process-local KV capacity: (?P<budget>[^;]*)")
_KVCACHED_BYTES: Final = {
    "kv_bytes": re.compile(r"available=([\d.]+) (bytes|GiB)"),
    "activation_bytes": re.compile(r"torch_peak=([\d.]+) (bytes|GiB)"),
}


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is. `facts` holds the bytes, seconds and tokens its lines told."""

    phase: str = ""
    ratio: float = 0.0
    facts: LoadFacts = field(default_factory=LoadFacts)


def progress(lines: Iterable[str]) -> LoadProgress:
    """The furthest milestone the lines reached; it never goes back."""
    phase, ratio = "", 0.0
    facts: dict[str, Any] = {}
    for line in lines:
        for pattern, words, share in _PHASES:
            if share > ratio and pattern.search(line):
                phase, ratio = words, share
        ratio = max(ratio, _bar(line, ratio))
        facts |= _facts(line)
    return LoadProgress(phase, ratio, cast(LoadFacts, facts))


def _bar(line: str, ratio: float) -> float:
    """The share a progress bar shows, while its phase is on."""
    for pattern, begin, end in _BARS:
        if begin <= ratio <= end and (match := pattern.search(line)):
            return begin + (end - begin) * int(match[1]) / 100
    return 0.0


def _facts(line: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (pattern, unit) in _FACTS.items():
        if match := pattern.search(line):
            number = float(match[1].replace(",", ""))
            found[name] = number if unit is None else int(number * unit)
    if capacity := _KVCACHED.search(line):
        for name, pattern in _KVCACHED_BYTES.items():
            if match := pattern.search(capacity["budget"]):
                found[name] = int(float(match[1]) * (GIB if match[2] == "GiB" else 1))
    if "Successfully patched vllm" in line:
        found["kvcached_engaged"] = True
    return found
