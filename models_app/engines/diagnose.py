"""Why an engine failed, in words: an ordered table of log patterns. The first row that matches the newest lines wins."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A stable code, what happened, and what to do. `permanent`: a restart cannot mend it."""

    code: str
    message: str
    hint: str
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern; `message` may use the pattern's named groups."""

    code: str
    pattern: str
    message: str
    hint: str
    permanent: bool = False


RULES = (
    Rule(
        "gpu_out_of_memory",
        r"CUDA out of memory\.?(?: Tried to allocate (?P<size>[\d.]+ \w+))?|OutOfMemoryError|out of memory: needed",
        "The GPU ran out of memory {size}while loading.",
        "Another process may hold the GPU: look at its memory bar. Lower max_model_len or move a neighbour.",
    ),
    Rule(
        "kvcached_unsupported",
        r"KVCachedConfigError:?\s*(?P<text>.*)",
        "kvcached refused this vLLM: {text}.",
        "Use vLLM 0.17 to 0.30 in the runtime, or turn kvcached off for it.",
        True,
    ),
    Rule(
        "kv_cache_too_small",
        r"max seq(?:uence)? len.*larger than the maximum number of tokens|needed, which is larger than the available KV",
        "One request of full length does not fit in the KV cache.",
        "Lower max_model_len, or raise kv_cap_bytes.",
        True,
    ),
    Rule(
        "max_model_len_too_long",
        r"User-specified max_model_len \((?P<given>\d+)\) is greater than the derived max_model_len",
        "max_model_len {given} is longer than the model allows.",
        "Lower max_model_len.",
        True,
    ),
    Rule(
        "architecture_unsupported",
        r"Model architectures? (?P<name>\[?.{0,80}?\]?) (?:are|is) not supported|has no vLLM implementation",
        "This vLLM does not know the model's architecture {name}.",
        "Use a runtime with a newer vLLM.",
        True,
    ),
    Rule(
        "model_gated",
        r"GatedRepoError|401 Client Error|Access to model .* is restricted",
        "The model may only be downloaded by accounts that were granted access.",
        "Accept its licence and set HF_TOKEN in the runtime's environment.",
        True,
    ),
    Rule(
        "model_missing",
        r"LocalEntryNotFoundError|RepositoryNotFoundError|OfflineModeIsEnabled|is not a local folder"
        r"|No such file or directory: '(?P<path>[^']*(?:config\.json|safetensors)[^']*)'|Cannot find any model weights"
        r"|Invalid repository ID or local directory",
        "The model's files were not found {path}.",
        "Check the model's source, or download it first.",
        True,
    ),
    Rule(
        "port_taken",
        r"[Aa]ddress already in use",
        "Another program took the engine's port.",
        "It starts again on another port; set SARDEENZ_ENGINE_PORTS to a range of your own if it recurs.",
    ),
    Rule(
        "no_gpu",
        r"No CUDA GPUs are available|Found no NVIDIA driver|Failed to infer device type|NVML_ERROR|no CUDA-capable device",
        "The engine sees no GPU.",
        "Check nvidia-smi on the node, and that the driver matches the runtime's CUDA.",
    ),
    Rule(
        "driver_too_old",
        r"CUDA driver version is insufficient|The NVIDIA driver on your system is too old|undefined symbol",
        "The runtime's CUDA or torch does not match the driver or its own libraries.",
        "Install a runtime built for this driver.",
        True,
    ),
    Rule("disk_full", r"No space left on device", "The disk, or shared memory, is full.", "Free some space."),
    Rule(
        "permission_denied",
        r"[Pp]ermission denied:? ?(?P<path>'[^']*')?",
        "The engine may not read or execute {path}.",
        "Check the owner and mode of the model's files and the runtime's executable.",
        True,
    ),
    Rule(
        "executable_missing",
        r"cannot start (?P<path>[^:]*): No such file",
        "The runtime's executable {path} does not exist.",
        "Correct the runtime's executable.",
        True,
    ),
    Rule(
        "bad_argument",
        r"error: (?P<text>unrecognized arguments.*|argument .*|invalid choice.*|the following arguments.*)",
        "The engine does not accept its arguments: {text}.",
        "Correct the deployment's extra_args.",
        True,
    ),
    Rule(
        "import_failed",
        r"(?:ModuleNotFoundError|ImportError): (?P<text>.*)",
        "The runtime's environment is broken: {text}.",
        "Reinstall vLLM in its environment.",
        True,
    ),
    Rule("engine_error", r"(?P<text>\w*(?:Error|Exception): .+)", "{text}", "The engine's log tells more."),
)

_COMPILED = [(rule, re.compile(rule.pattern)) for rule in RULES]
_PREFIX = re.compile(r"^\(\w+ pid=\d+\)\s*|^(?:INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\]\s*")


def diagnose(lines: Sequence[str], exit_code: int | None) -> Diagnosis:
    """The most telling cause in the log's end; a killed or silent engine is explained by its exit code."""
    for rule, pattern in _COMPILED:
        for line in reversed(lines):
            if match := pattern.search(line):
                return _explain(rule, match)
    if exit_code is not None and exit_code < 0:
        return _killed(-exit_code)
    last = _PREFIX.sub("", lines[-1]).strip()[:300] if lines else "it wrote nothing"
    code = "unknown" if exit_code is None else str(exit_code)
    return Diagnosis("engine_exited", f"The engine ended with exit code {code}; its last line: {last}", "")


def _explain(rule: Rule, match: re.Match[str]) -> Diagnosis:
    groups = {
        name: f"({text.strip()}) " if name in ("size", "path", "name") and text else (text or "").strip(" .")
        for name, text in match.groupdict().items()
    }
    message = re.sub(r"\s+([.,])", r"\1", re.sub(r"\s+", " ", rule.message.format(**groups)))
    return Diagnosis(rule.code, message[:500], rule.hint, rule.permanent)


def _killed(number: int) -> Diagnosis:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        hint = "If nobody did this, the kernel did: host RAM ran out. Look at dmesg and the sleepers' budget."
        return Diagnosis("engine_killed", "The engine was killed (SIGKILL).", hint)
    return Diagnosis("engine_crashed", f"The engine was ended by {name}.", "The engine's log tells more.")
