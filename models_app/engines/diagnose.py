"""Why an engine failed, in words: an ordered table of log patterns; the first row found near the end of the log wins.

Nearer causes come before their consequences: a missing library before the import that failed for it, and every known
cause before the last exception. The patterns are what vLLM 0.17 to 0.30, torch and kvcached 0.1.6 print.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OUT_OF_MEMORY: Final = frozenset({"gpu_out_of_memory", "gpu_memory_short"})
"""Codes that may be a neighbour's doing."""
LAST_LINES: Final = 400
"""Two tracebacks, of the core and of the API server, fit; what a long-lived engine once met does not."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A stable code, what happened, and what to do. `permanent`: a restart cannot mend it."""

    code: str
    message: str
    hint: str
    permanent: bool = False

    @property
    def words(self) -> str:
        """Both in sentences: what an engine wrote itself may lack its full stop."""
        stop = "" if self.message.endswith(".") else "."
        return f"{self.message}{stop} {self.hint}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, and a message whose parts in brackets use the pattern's named groups."""

    code: str
    pattern: str
    message: str
    hint: str
    permanent: bool = False


RULES: Final = (
    Rule(
        "gpu_out_of_memory",
        r"(?:OutOfMemoryError: )?CUDA out of memory\.?(?: Tried to allocate (?P<size>[\d.]+ \w+)\.)?"
        r"(?:.*?(?:of which |GPU \d+ has )(?P<free>[\d.]+ \w+) (?:is )?free)?"
        r"|OutOfMemoryError|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED",
        "The GPU ran out of memory[: {size} more were needed][, {free} were free].",
        "Something else holds the GPU, or the overhead is set too low: look at its memory bar, move a neighbour, or "
        "lower the longest context (--max-model-len) or --max-num-batched-tokens.",
    ),
    Rule(
        "gpu_memory_short",
        r"Free memory on device \S* ?\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired GPU "
        r"memory utilization \((?P<share>[\d.]+)",
        "Only[ {free} of {total}] GiB of the GPU were free; without kvcached the engine claims a fixed[ {share}].",
        "Use a runtime with kvcached, or put a lower --gpu-memory-utilization into the extra arguments.",
    ),
    Rule(
        "sleep_raced",
        r"Memory usage increased after sleeping",
        "A neighbour took memory of the GPU while the engine fell asleep, which vLLM treats as fatal.",
        "It starts again by itself; programs outside Sardeenz should not share the GPU.",
    ),
    Rule(
        "kvcached_unsupported",
        r"KVCachedConfigError:?\s*(?P<text>.*)",
        "kvcached refused this engine[: {text}].",
        "Use vLLM 0.17 to 0.30 in the runtime (0.22 to 0.27 with VLLM_USE_V2_MODEL_RUNNER=0), or turn kvcached off "
        "for it.",
        True,
    ),
    Rule(
        "kvcached_broken",
        r"Unexpected error applying \w+: (?P<text>.*)",
        "kvcached could not take hold of vLLM, for an import failed[: {text}].",
        "The runtime's packages do not fit together: reinstall vLLM and kvcached in its environment.",
        True,
    ),
    Rule(
        "kvcached_missing",
        r"No module named 'kvcached(?P<text>[^']*)'|Failed to patch vllm: (?P<names>.*)",
        "kvcached did not take hold of vLLM[: {names}].",
        "Install kvcached into the runtime's own environment, where its .pth file starts it, or turn it off.",
        True,
    ),
    Rule(
        "kv_cache_too_small",
        r"max seq(?:uence)? len(?:gth)? \((?P<given>\d+)\).*?larger than the (?:available KV|maximum number of tokens)"
        r"(?:.*?estimated maximum model length is (?P<fits>\d+))?"
        r"|No available memory for the cache blocks",
        "One request of full length[ ({given} tokens)] does not fit in the KV cache[; {fits} tokens would].",
        "Lower the longest context (--max-model-len), or raise the KV cap.",
        True,
    ),
    Rule(
        "max_model_len_too_long",
        r"User-specified max_model_len \((?P<given>\d+)\) is greater than the derived max_model_len "
        r"\(?(?:\w+=)?(?P<limit>\d*)",
        "The longest context[ of {given} tokens] is more than the model allows[ ({limit})].",
        "Lower the longest context (--max-model-len).",
        True,
    ),
    Rule(
        "tensor_parallel_invalid",
        r"number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<degree>\d+)\)"
        r"|must be divisible by (?:the )?tensor[ _]parallel",
        "The model's[ {heads}] attention heads cannot be divided over[ {degree}] GPUs.",
        "Set tensor parallel to a divisor of the number of heads.",
        True,
    ),
    Rule(
        "architecture_unsupported",
        r"Model architectures? \[?(?P<name>[^\]]{0,80}?)\]? (?:are|is) not supported|has no vLLM implementation"
        r"|does not recognize this architecture|model type `(?P<kind>[^`]*)` but Transformers does not",
        "This vLLM does not know the model's architecture[ {name}][ {kind}].",
        "Use a runtime with a newer vLLM.",
        True,
    ),
    Rule(
        "remote_code_refused",
        r"trust_remote_code=True",
        "The model brings Python code of its own, which is not run unless you say so.",
        "Read that code; if you trust it, put --trust-remote-code into the extra arguments.",
        True,
    ),
    Rule(
        "model_gated",
        r"GatedRepoError|Access to model (?P<name>\S+) is restricted|401 Client Error|403 Client Error",
        "The model[ {name}] may only be downloaded by accounts that were granted access.",
        "Accept its licence on its page and set HF_TOKEN in the runtime's environment.",
        True,
    ),
    Rule(
        "hub_offline",
        r"OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled"
        r"|We couldn't connect to 'https://[^']*'",
        "The model's files are not on this node, and the hub cannot be asked.",
        "Download the model first, or allow the runtime to reach the hub (HF_HUB_OFFLINE, proxies).",
        True,
    ),
    Rule(
        "model_missing",
        r"RepositoryNotFoundError|RevisionNotFoundError|is not a local folder|Invalid repository ID or local directory"
        r"|No such file or directory: '(?P<path>[^']*(?:config\.json|safetensors|tokenizer)[^']*)'"
        r"|Cannot find any model weights|Weight files referenced in index but missing|404 Client Error",
        "The model's files were not found[: {path}].",
        "Check the model's source and revision, or download it first.",
        True,
    ),
    Rule(
        "weights_damaged",
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization"
        r"|Following weights were not initialized|size mismatch for",
        "The model's weight files are incomplete, or do not belong to its config.json.",
        "Download the model again.",
        True,
    ),
    Rule(
        "port_taken",
        r"[Aa]ddress already in use",
        "Another program took the engine's port.",
        "It starts again on another port; set SARDEENZ_ENGINE_PORTS to a range of your own if it recurs.",
    ),
    Rule(
        "driver_mismatch",
        r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|undefined symbol"
        r"|no kernel image is available|(?P<library>lib(?:cu\w+|nv\w+|torch\w*)\.so[.\d]*): cannot open shared object",
        "The runtime's CUDA or torch does not match the driver, the GPU or its own libraries[ ({library})].",
        "Install a runtime built for this driver and GPU.",
        True,
    ),
    Rule(
        "no_gpu",
        r"No CUDA GPUs are available|Found no NVIDIA driver|Failed to infer device type|NVML_ERROR|NVMLError"
        r"|no CUDA-capable device|Torch not compiled with CUDA|invalid device ordinal"
        r"|invalid literal for int\(\) with base 10: '(?:GPU|MIG)-",
        "The engine cannot use its GPU.",
        "Check nvidia-smi on the node, and that the runtime is a CUDA build; MIG slices need a newer vLLM.",
    ),
    Rule(
        "gpu_failed",
        r"(?P<text>Xid|uncorrectable ECC error|CUDA error: an illegal memory access|CUDA error: unspecified launch"
        r"|device-side assert|GPU is lost|fallen off the bus)",
        "The GPU reported a fault[: {text}].",
        "Look at dmesg and nvidia-smi -q; if it recurs on one GPU, disable that GPU.",
    ),
    Rule("disk_full", r"No space left on device", "The disk, or shared memory, is full.", "Free some space."),
    Rule(
        "host_out_of_memory",
        r"Cannot allocate memory|MemoryError|DefaultCPUAllocator: can't allocate|cudaHostAlloc|CUDA error: out of host",
        "The host ran out of RAM.",
        "Fewer engines asleep at level 1, or a lower SARDEENZ_SLEEP_RAM, leaves more.",
    ),
    Rule(
        "executable_missing",
        r"cannot start (?P<path>.*?): (?:No such file|Permission denied|Exec format)|bad interpreter",
        "The runtime's executable[ {path}] does not exist or cannot be run.",
        "Correct the runtime's executable.",
        True,
    ),
    Rule(
        "permission_denied",
        r"(?:PermissionError|Permission denied)(?:.*?: (?P<path>'[^']+'))?",
        "The engine may not read or write what it needs[: {path}].",
        "Check the owner and mode of the model's files and of the engine's cache folders.",
        True,
    ),
    Rule(
        "bad_argument",
        r"error: (?P<text>unrecognized arguments.*|argument .*|ambiguous option.*|the following arguments.*)",
        "The engine does not accept its arguments[: {text}].",
        "Correct the deployment's extra arguments.",
        True,
    ),
    Rule(
        "import_failed",
        r"(?:ModuleNotFoundError|ImportError): (?P<text>.*)",
        "The runtime's environment is broken[: {text}].",
        "Reinstall vLLM in its environment.",
        True,
    ),
    Rule(
        "engine_core_timeout",
        r"Timed out waiting for engine (?:core )?processes|EngineCore.*did not start within",
        "The engine's own processes took too long to start.",
        "A busy disk or host is the usual cause; VLLM_ENGINE_READY_TIMEOUT_S in the environment waits longer.",
    ),
    Rule(
        "engine_part_died",
        r"(?:[Ee]ngine core|Worker|EngineCore)\S* proc(?:ess)?\b.*died",
        "One of the engine's processes died without a word.",
        "The kernel may have killed it for want of host RAM: look at dmesg and the sleepers' budget.",
    ),
    Rule(
        "engine_exception",
        r"(?:^|[\s.])(?P<text>[A-Z]\w*(?:Error|Exception): .+)",
        "[{text}]",
        "The engine's log tells more.",
    ),
)
"""In the order they are tried."""

KVCACHED_OFF: Final = Diagnosis(
    "kvcached_not_engaged",
    "kvcached did not take hold of this engine: its KV memory is taken at the start and never given back.",
    "Install kvcached into the runtime's own site-packages, with its .pth file, for a vLLM of 0.17 to 0.30.",
)
"""An engine whose runtime has kvcached, and that serves without a segment."""

_COMPILED = [(rule, re.compile(rule.pattern)) for rule in RULES]
# What every failure ends with, whatever it was, and warnings that are none.
_CONSEQUENCES = re.compile(
    r"Engine core initialization failed|See root cause above|EngineDeadError|EngineCore (?:encountered|failed)"
    r"|leaked (?:shared_memory|semaphore)"
)
_PREFIX = re.compile(r"^(?:\(\w+(?:\s\w+)* pid=\d+\)\s*)?(?:(?:INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\]\s*)?")
_OPTIONAL = re.compile(r"\[([^\]]*)\]")


def diagnose(lines: Sequence[str], exit_code: int | None) -> Diagnosis:
    """The most telling cause in the log's end; a killed or silent engine is explained by its exit code."""
    plain = [_PREFIX.sub("", line).strip() for line in lines[-LAST_LINES:]]
    telling = [line for line in reversed(plain) if line and not _CONSEQUENCES.search(line)]
    killed = _signal(exit_code)
    if killed in (signal.SIGKILL, signal.SIGTERM):  # whoever did that, it was nothing the engine could write about
        return _killed(killed)
    for rule, pattern in _COMPILED:
        for line in telling:
            if match := pattern.search(line):
                return _explain(rule, match)
    if killed is not None:
        return _killed(killed)
    return _silent(plain, exit_code)


def _explain(rule: Rule, match: re.Match[str]) -> Diagnosis:
    stripped = {name: _bare(text or "") for name, text in match.groupdict().items()}
    found = {name: text for name, text in stripped.items() if text}
    return Diagnosis(rule.code, _fill(rule.message, found)[:500], rule.hint, rule.permanent)


def _bare(text: str) -> str:
    """Without the quotes around it and the full stop after it."""
    text = text.strip(" .")
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


def _fill(message: str, found: dict[str, str]) -> str:
    """The message with its groups; a part in brackets is left out when a group of it found nothing."""

    def part(optional: re.Match[str]) -> str:
        try:
            return optional[1].format(**found)
        except KeyError:
            return ""

    return _OPTIONAL.sub(part, message)


def _signal(exit_code: int | None) -> int | None:
    """The signal that ended it: negative from waitpid, 128 and more from a shell."""
    number = None if exit_code is None else -exit_code if exit_code < 0 else exit_code - 128
    return number if number is not None and 0 < number < signal.NSIG else None


def _killed(number: int) -> Diagnosis:
    if number == signal.SIGKILL:
        hint = "If nobody did this, the kernel did: host RAM ran out. Look at dmesg and the sleepers' budget."
        return Diagnosis("engine_killed", "The engine was killed (SIGKILL).", hint)
    if number == signal.SIGTERM:
        return Diagnosis("engine_terminated", "Something outside Sardeenz asked the engine to end (SIGTERM).", "")
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return Diagnosis("engine_crashed", f"The engine was ended by {name}.", "The engine's log tells more.")


def _silent(lines: Sequence[str], exit_code: int | None) -> Diagnosis:
    last = next((line for line in reversed(lines) if line), "")[:300]
    how = "for a reason unknown" if exit_code is None else f"with exit code {exit_code}"
    said = f"; its last line: {last}" if last else "; it wrote nothing"
    return Diagnosis("engine_exited", f"The engine ended {how}{said}", "The engine's log may tell more.")
