"""What callers may ask of a deployment: by its engine's flags, else its architecture, else its source's name."""

from collections.abc import Sequence

from models_app.models import Deployment

CHAT = ("chat", "completions")
EMBEDDINGS = ("embeddings",)
RANKING = ("classification", "rerank")
SPEECH = ("transcription",)
VISION = "vision"

_TASKS = {
    "embed": EMBEDDINGS,
    "embedding": EMBEDDINGS,
    "classify": RANKING,
    "score": RANKING,
    "reward": RANKING,
    "transcription": SPEECH,
}
"""By the value of `--convert` or `--task`."""
_NAMES = (
    (("rerank",), RANKING),
    (("embed", "bge-", "e5-", "gte-"), EMBEDDINGS),
    (("whisper",), SPEECH),
)
"""By what the last part of a source's name holds or begins with, where no architecture is known."""
_NOT_SEEING = ("Audio", "Voxtral", "Speech", "T5", "Bart", "Florence")


def capabilities(deployment: Deployment) -> tuple[str, ...]:
    """As far as can be told before it is asked; engines refuse what they do not have."""
    flags = deployment.extra_args
    architecture = " ".join(deployment.model.facts.get("architectures") or ())
    name = deployment.model.source.rstrip("/").rpartition("/")[2].lower()
    kind = _by_flags(flags) or (_by_architecture(architecture) if architecture else _by_name(name))
    if kind != CHAT:
        return kind
    offered = list(CHAT)
    if _sees(architecture) if architecture else ("vision" in name or "-vl" in name):
        offered.append(VISION)
    if "Voxtral" in architecture:
        offered += SPEECH
    if "--enable-auto-tool-choice" in flags:
        offered.append("tools")
    if any(flag.startswith("--reasoning-parser") for flag in flags):
        offered.append("reasoning")
    return tuple(offered)


def _by_flags(flags: Sequence[str]) -> tuple[str, ...] | None:
    value = _value(flags, "--convert") or _value(flags, "--task")
    if value in _TASKS:
        return _TASKS[value]
    return EMBEDDINGS if _value(flags, "--runner") == "pooling" else None


def _value(flags: Sequence[str], name: str) -> str | None:
    for place, flag in enumerate(flags):
        given, equals, value = flag.partition("=")
        if given == name:
            return value if equals else next(iter(flags[place + 1 : place + 2]), None)
    return None


def _by_architecture(architecture: str) -> tuple[str, ...]:
    if architecture.endswith(("Classification", "RewardModel")):
        return RANKING
    if "Whisper" in architecture:
        return SPEECH
    if "Embedding" in architecture or (architecture.endswith("Model") and "Ultravox" not in architecture):
        return EMBEDDINGS
    return CHAT


def _by_name(name: str) -> tuple[str, ...]:
    for words, kind in _NAMES:
        if any(name.startswith(word) or (not word.endswith("-") and word in name) for word in words):
            return kind
    return CHAT


def _sees(architecture: str) -> bool:
    if any(word in architecture for word in _NOT_SEEING):
        return False
    return architecture.endswith("ForConditionalGeneration") or any(word in architecture for word in ("VL", "Vision"))
