"""The command line and environment of one engine. Pure: the same specification gives the same launch.

Reference: vLLM 0.30 with kvcached 0.1.6. The engine gets a whitelist of our environment and nothing else of it: no
database address, no secret key, no foreign VLLM_* variable.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models_app.engines import quirks
from models_app.engines.reserved import CPU, CUDA, SIMULATOR, check_extra_args

__all__ = ("CPU", "CUDA", "SIMULATOR", "Launch", "LaunchSpec", "build", "check_extra_args", "uses_kvcached")

SHUTDOWN_SECONDS: Final = 10
CPU_KV_BYTES: Final = 1 << 30
ROOT: Final = Path(__file__).resolve().parents[2]

KEPT: Final = frozenset(
    """
    PATH HOME USER LOGNAME LANG LC_ALL TZ TMPDIR XDG_CACHE_HOME LD_LIBRARY_PATH LIBRARY_PATH CC CXX CUDA_HOME CUDA_PATH
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR
    FLASHINFER_WORKSPACE_DIR HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
    """.split()  # noqa: SIM905
)
KEPT_PREFIXES: Final = ("HF_", "HUGGING_FACE_", "NVIDIA_", "NCCL_")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """All that decides how an engine is launched."""

    kind: str
    executable: str
    version: str
    kvcached: bool
    model_source: str
    revision: str
    served_name: str
    deployment_name: str
    extra_args: Sequence[str]
    environment: Mapping[str, str]
    max_model_len: int | None
    tensor_parallel: int
    sleep_enabled: bool
    kv_cap_bytes: int | None
    weights_bytes: int | None
    overhead_bytes: int | None
    gpu_uuids: Sequence[str]
    gpu_indices: Sequence[int] = ()
    host: str
    port: int
    api_key: str
    ipc_name: str
    marker: str
    simulated_dir: str = ""
    segment_dir: str = "/dev/shm"
    simulated_gpus: str = ""
    node: str = ""
    inherited: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute, and the whole environment to execute it in."""

    argv: list[str]
    environment: dict[str, str]


def build(spec: LaunchSpec) -> Launch:
    """The launch of one engine."""
    argv = [*_program(spec), *_common(spec), *_own(spec), *spec.extra_args]
    return Launch(argv, _environment(spec))


def uses_kvcached(spec: LaunchSpec) -> bool:
    """Elastic KV memory: on CUDA and the simulator, where the runtime has it and the version is supported."""
    return spec.kvcached and spec.kind != CPU and quirks.kvcached_supports(spec.version)


def _program(spec: LaunchSpec) -> list[str]:
    if spec.kind == SIMULATOR:
        return [spec.executable or sys.executable, "-m", "models_app.engines.simulator"]
    return [spec.executable]


def _common(spec: LaunchSpec) -> list[str]:
    names = [spec.served_name] if spec.served_name == spec.deployment_name else [spec.served_name, spec.deployment_name]
    argv = ["serve", spec.model_source, "--host", spec.host, "--port", str(spec.port), "--served-model-name", *names]
    if spec.revision:
        argv += ["--revision", spec.revision]
    if spec.max_model_len is not None:
        argv += ["--max-model-len", str(spec.max_model_len)]
    if spec.tensor_parallel > 1:
        argv += ["--tensor-parallel-size", str(spec.tensor_parallel)]
    if quirks.has_shutdown_timeout(spec.version):
        argv += ["--shutdown-timeout", str(SHUTDOWN_SECONDS)]
    return [*argv, "--disable-uvicorn-access-log", "--enable-prompt-tokens-details"]  # cached tokens, in usage


def _own(spec: LaunchSpec) -> list[str]:
    """These arguments differ between a GPU engine, a CPU engine and the simulator."""
    argv: list[str] = []
    if spec.kind == CPU:  # it has no sleep allocator, and one process starts in half the time
        argv += ["--kv-cache-memory-bytes", str(spec.kv_cap_bytes or CPU_KV_BYTES)]
        return [*argv, "--distributed-executor-backend", "uni"]
    if spec.sleep_enabled:
        argv.append("--enable-sleep-mode")
    if spec.kv_cap_bytes is not None:
        argv += ["--kv-cache-memory-bytes", str(spec.kv_cap_bytes)]
    if spec.kind == SIMULATOR:
        argv += ["--weights-bytes", str(spec.weights_bytes)] if spec.weights_bytes is not None else []
        argv += ["--overhead-bytes", str(spec.overhead_bytes)] if spec.overhead_bytes is not None else []
    return argv


def _environment(spec: LaunchSpec) -> dict[str, str]:
    """Ours by whitelist, then the version's, the runtime's and the deployment's, then what nobody may change."""
    kept = {name: value for name, value in spec.inherited.items() if _keeps(name)}
    variables = kept | {"VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"} | _kind_defaults(spec)
    variables |= quirks.environment(spec.version, kvcached=uses_kvcached(spec)) | dict(spec.environment)
    return variables | _identity(spec) | _devices(spec)


def _identity(spec: LaunchSpec) -> dict[str, str]:
    """By what Sardeenz finds, reaches and accounts for this engine."""
    variables = {
        "SARDEENZ_REPLICA": spec.marker,
        "SARDEENZ_ENGINE_URL": f"http://{spec.host}:{spec.port}",
        "VLLM_API_KEY": spec.api_key,
        "VLLM_SERVER_DEV_MODE": "1",  # /sleep, /wake_up and /reset_prefix_cache exist only with it
    }
    if uses_kvcached(spec):
        variables |= {
            "ENABLE_KVCACHED": "true",
            "KVCACHED_AUTOPATCH": "1",
            "KVCACHED_IPC_NAME": spec.ipc_name,
            "KVCACHED_PAGE_PREALLOC_ENABLED": "true",  # without this thread limits are never looked at
        }
    if spec.kind == SIMULATOR:
        variables |= {
            "SARDEENZ_SIMULATED_DIR": spec.simulated_dir,
            "SARDEENZ_SIMULATED_GPUS": spec.simulated_gpus,
            "SARDEENZ_SEGMENT_DIR": spec.segment_dir,
            "SARDEENZ_NODE": spec.node,
            "PYTHONPATH": str(ROOT),
        }
    return variables


def _devices(spec: LaunchSpec) -> dict[str, str]:
    if spec.gpu_indices and not quirks.takes_device_uuids(spec.version):
        # NVML's indices are in PCI order, CUDA's own are not unless told.
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return order | {"CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in spec.gpu_indices)}
    return {"CUDA_VISIBLE_DEVICES": ",".join(spec.gpu_uuids)}


def _keeps(name: str) -> bool:
    return name in KEPT or name.startswith(KEPT_PREFIXES)


def _kind_defaults(spec: LaunchSpec) -> dict[str, str]:
    """What an operator may tune."""
    if spec.kind == CPU:
        return {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }
    if not uses_kvcached(spec):
        return {}
    return {
        "KVCACHED_CONTIGUOUS_LAYOUT": "false",  # the default costs 31 % of throughput on dense models
        "KVCACHED_MIN_RESERVED_PAGES": "1",
        "KVCACHED_MAX_RESERVED_PAGES": "2",
    }
