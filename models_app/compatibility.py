"""What is known to break: a table of what an engine is made of, at which sleep, in which versions, and who says so.

A row with levels breaks at a sleep or its wake, one without breaks the engine itself. A version nobody told is taken
for a new one. `docs/compatibility.md` lists the same rows for people, and a test holds the two together.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from models_app import versions
from models_app.errors import KnownProblem
from models_app.flag_words import has, written
from models_app.models import Deployment, Replica
from models_app.versions import Version

_EVER: Final = (0, 0, 0)
_TO_29: Final = (0, 29, 999)


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine is made of, as far as anything is known to hang on it."""

    version: str
    kvcached: bool
    extra_args: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    """Of the model."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: `what` meets a sleep at one of `levels`, in versions `first` to `last`, both included; None is open.

    `field` is the deployment's to change, and `fix` says how.
    """

    code: str
    what: str
    levels: tuple[int, ...]
    first: Version
    last: Version | None
    concerns: Callable[[Setup], bool]
    breaks: str
    field: str
    fix: str
    source: str

    def meets(self, setup: Setup) -> bool:
        """Whether it concerns this engine in its version."""
        version = versions.parse(setup.version)
        young = version is not None and version < self.first
        old = self.last is not None and (version is None or version > self.last)
        return not young and not old and self.concerns(setup)

    @property
    def words(self) -> str:
        """What meets what, and what comes of it."""
        match self.levels:
            case ():
                asked = "at its start"
            case (1, 2):
                asked = "at any sleep"
            case levels:
                asked = f"at sleep level {levels[0]}"
        return f"{self.what} {asked}: {self.breaks}"


def _drafts(setup: Setup) -> bool:
    """Whether weights of their own draft tokens; n-grams and suffixes have none."""
    try:
        told = json.loads(written(setup.extra_args, "--speculative-config") or "{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and bool(told) and str(told.get("method")) not in ("ngram", "ngram_gpu", "suffix")


def _offloads(setup: Setup) -> bool:
    backend = written(setup.extra_args, "--kv-offloading-backend")
    sized = has(setup.extra_args, "--kv-offloading-size") and backend in ("", "native")
    return sized or "OffloadingConnector" in written(setup.extra_args, "--kv-transfer-config")


def _adapts(setup: Setup) -> bool:
    return has(setup.extra_args, "--enable-lora")


def _quantises_kv(setup: Setup) -> bool:
    """By the flag, or by what a quantised model's own config says."""
    flag = written(setup.extra_args, "--kv-cache-dtype").lower()
    if flag and flag != "auto":
        return "fp8" in flag or "int8" in flag or "fp4" in flag
    told = (setup.facts or {}).get("quantization_config")
    parts = [told, told.get("quantization")] if isinstance(told, dict) else []
    named = ("kv_cache_scheme", "kv_cache_quant_algo")
    return any(isinstance(part, dict) and any(part.get(name) for name in named) for part in parts)


def _is_gemma_4(setup: Setup) -> bool:
    names = (setup.facts or {}).get("architectures") or ()
    return any(str(name).startswith("Gemma4") and "ConditionalGeneration" in str(name) for name in names)


def _tells_of_kv(setup: Setup) -> bool:
    return setup.kvcached and has(setup.extra_args, "--kv-events-config")


_TOLD: Final = frozenset(("model", "runtime", "extra_args", "sleep_enabled", "ignore_known_problems"))
"""The fields of a deployment that problems hang on."""
_LEVEL_1: Final = "let it sleep at level 1, which keeps the weights"
PROBLEMS: Final = (
    Problem(
        "level_2_draft_weights",
        "a model that drafts tokens (--speculative-config)",
        (2,),
        _EVER,
        None,
        _drafts,
        "the drafting weights are not read again: every draft is rejected, at about half the speed",
        "extra_args",
        _LEVEL_1,
        "vllm-project/vllm#52479, open; 0.30 reads the main model's weights alone (read)",
    ),
    Problem(
        "level_2_kv_scales",
        "a quantised KV cache (--kv-cache-dtype fp8, or the model's own config)",
        (2,),
        _EVER,
        _TO_29,
        _quantises_kv,
        "its scales are lost and every answer is gibberish",
        "extra_args",
        f"{_LEVEL_1}, or use vLLM 0.30, which keeps the scales",
        "vllm-project/vllm#25800, #53508, #57163; 0.30 saves them as buffers (read)",
    ),
    Problem(
        "level_2_gemma_4",
        "Gemma 4 with pictures",
        (2,),
        _EVER,
        None,
        _is_gemma_4,
        "answers to pictures are gibberish from the first token on, those to text are not",
        "model",
        _LEVEL_1,
        "NVIDIA-NeMo/RL#2631, open; compare vllm-project/vllm#29341",
    ),
    Problem(
        "level_2_lora",
        "adapters (--enable-lora)",
        (2,),
        _EVER,
        _TO_29,
        _adapts,
        "reading the weights again fails, for adapters renamed them",
        "extra_args",
        f"{_LEVEL_1}, or use vLLM 0.30, which knows both names",
        "vllm-project/vllm#39934, fixed by #39935, which 0.30 has (read)",
    ),
    Problem(
        "sleep_lora",
        "adapters (--enable-lora)",
        (1,),
        (0, 27, 0),
        None,
        _adapts,
        "the wake was seen to switch adapters off without an error, and no version is known to be free of it",
        "sleep_enabled",
        "do not let it sleep, or do without --enable-lora",
        "vllm-project/vllm#53888, seen on 0.27.1",
    ),
    Problem(
        "sleep_kv_offload",
        "vLLM's own offloading of KV memory (--kv-offloading-size)",
        (1, 2),
        _EVER,
        _TO_29,
        _offloads,
        "the engine dies at its first request after the wake",
        "sleep_enabled",
        "do not let it sleep, do without --kv-offloading-size, or use vLLM 0.30, which waits for its copies first",
        "vllm-project/vllm#45268, seen on 0.22.1; 0.30 waits before it unmaps (read)",
    ),
    Problem(
        "kvcached_kv_events",
        "kvcached with KV events (--kv-events-config)",
        (),
        _EVER,
        None,
        _tells_of_kv,
        "kvcached 0.1.6 supports no KV events, and the engine ends",
        "extra_args",
        "do without --kv-events-config, or use a runtime without kvcached",
        "kvcached 0.1.6, integration/vllm/patches.py line 676 (read)",
    ),
)


class KnownProblemRow(TypedDict):
    """A known problem of a deployment as it is written now. `levels`: of sleep; none where the engine itself breaks."""

    code: str
    levels: list[int]
    words: str
    fix: str
    source: str


def of(setup: Setup) -> list[Problem]:
    """Every row that concerns it."""
    return [problem for problem in PROBLEMS if problem.meets(setup)]


def of_deployment(deployment: Deployment) -> list[Problem]:
    """As it is written now; reads its model and runtime."""
    runtime = deployment.runtime
    return of(Setup(runtime.version, runtime.kvcached, tuple(deployment.extra_args), deployment.model.facts))


def shown(deployment: Deployment) -> list[KnownProblemRow]:
    """For pages and programs, also where they are ignored."""
    return [
        {
            "code": one.code,
            "levels": list(one.levels),
            "words": one.words,
            "fix": one.fix,
            "source": one.source,
        }
        for one in of_deployment(deployment)
    ]


def may_sleep(deployment: Deployment) -> bool:
    """Whether its engines are launched with sleep mode: not where even level 1 is known to break them."""
    broken = not deployment.ignore_known_problems and any(1 in one.levels for one in of_deployment(deployment))
    return deployment.sleep_enabled and not broken


def unsafe(replica: Replica, level: int) -> Problem | None:
    """What is known to break when its engine sleeps at this level; None too where the deployment ignores that."""
    deployment, spec = replica.deployment, replica.spec
    if deployment.ignore_known_problems:
        return None
    setup = Setup(
        spec.get("version", ""),
        spec.get("kvcached", False),
        tuple(spec.get("extra_args", ())),
        deployment.model.facts,
    )
    return next((one for one in of(setup) if level in one.levels), None)


def check_deployment(deployment: Deployment) -> None:
    """Raise KnownProblem for what would break its engines, or their every sleep; not where that is ignored."""
    if deployment.ignore_known_problems:
        return
    for problem in of_deployment(deployment):
        if not problem.levels or (1 in problem.levels and deployment.sleep_enabled):
            raise refusal(problem)


def check_written(before: Deployment | None, changes: Mapping[str, Any]) -> None:
    """Raise KnownProblem for a deployment as it would be with these changes; what does not touch it is let be."""
    touched = _TOLD & set(changes)
    if before is not None and all(getattr(before, name) == changes[name] for name in touched):
        return
    kept = {name: getattr(before, name) for name in _TOLD - touched} if before is not None else {}
    check_deployment(Deployment(**kept, **{name: changes[name] for name in touched}))


def refusal(problem: Problem) -> KnownProblem:
    """In words: what breaks, who says so, what to change, and how to go on all the same."""
    breaks, advice = f"{problem.words} ({problem.source}).", f"To fix it: {problem.fix}; or ignore known problems"
    return KnownProblem(f"{breaks} {advice}", field=problem.field, problem=problem.code, source=problem.source)
