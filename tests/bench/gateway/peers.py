"""The others, each in an environment of its own under .venv-bench. One that cannot be had here is not measured."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.gateway.client import MODEL
from tests.bench.gateway.contestants import Contestant, wait
from tests.bench.gateway.machine import Cores, NotMeasured, Program
from tests.bench.gateway.ours import ROOT
from tests.patience import free_port

INSTALL_SECONDS = 1800
KEY = "sk-bench"
_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{engine}/v1
      api_key: none
general_settings:
  master_key: {key}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """What to install, and how to start it: `command(bin, port, engine_port, place)`."""

    name: str
    requirement: str
    distribution: str
    command: Callable[[Path, int, int, Path], Sequence[str | Path]]


def _litellm(programs: Path, port: int, engine_port: int, place: Path) -> Sequence[str | Path]:
    """One worker, a master key, nothing else: no database, no budgets, no callbacks."""
    config = place / "litellm.yaml"
    config.write_text(_LITELLM.format(model=MODEL, engine=engine_port, key=KEY))
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [programs / "litellm", "--config", config, *where, "--num_workers", "1", "--telemetry", "False"]


def _vllm_router(programs: Path, port: int, engine_port: int, place: Path) -> Sequence[str | Path]:
    """The Rust router of vllm-project/router: no keys, no limits, no metering."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    engine = ["--worker-urls", f"http://127.0.0.1:{engine_port}", "--policy", "round_robin"]
    return [programs / "vllm-router", *where, *engine, "--log-level", "error"]


def _production_stack(programs: Path, port: int, engine_port: int, place: Path) -> Sequence[str | Path]:
    """The FastAPI router of vllm-project/production-stack: no keys, no limits, no metering."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    engines = ["--service-discovery", "static", "--static-backends", f"http://127.0.0.1:{engine_port}"]
    return [programs / "vllm-router", *where, *engines, "--static-models", MODEL, "--routing-logic", "roundrobin"]


LITELLM = Peer("LiteLLM proxy", "litellm[proxy]", "litellm", _litellm)
VLLM_ROUTER = Peer("vllm-router (Rust)", "vllm-router", "vllm-router", _vllm_router)
# Not on PyPI, where `vllm-router` is the other one; both call their program so.
PRODUCTION_STACK = Peer(
    "production-stack router",
    "vllm-router @ git+https://github.com/vllm-project/production-stack",
    "vllm-router",
    _production_stack,
)
ALL = {"litellm": LITELLM, "vllm-router": VLLM_ROUTER, "production-stack": PRODUCTION_STACK}


@contextmanager
def peer(wanted: Peer, engine_port: int, cores: Cores, place: Path) -> Iterator[Contestant]:
    """Installed if need be, started and checked."""
    programs = installed(wanted)
    port = free_port()
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    environment.pop("PYTHONPATH", None)
    log = place / f"{programs.parent.name}.log"
    argv = wanted.command(programs, port, engine_port, place)
    with Program(argv, cores=cores.gateway, log=log, environment=environment) as program:
        version = version_of(wanted, programs)
        yield wait(Contestant(wanted.name, version, port, KEY, (program,), cores))


def installed(wanted: Peer) -> Path:
    """The folder of its programs; made on first use. NotMeasured when that fails."""
    slug = next(slug for slug, each in ALL.items() if each is wanted)
    home = ROOT / ".venv-bench" / slug
    stamp = home / ".installed"
    if not stamp.exists():
        _call([sys.executable, "-m", "venv", "--clear", home])
        _call([home / "bin" / "python", "-m", "pip", "install", "--quiet", wanted.requirement])
        stamp.touch()
    return home / "bin"


def version_of(wanted: Peer, programs: Path) -> str:
    """As its environment says."""
    ask = f"import importlib.metadata as about; print(about.version({wanted.distribution!r}))"
    return _call([programs / "python", "-c", ask]).strip()


def _call(argv: Sequence[str | Path]) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"`{argv[0]}` took longer than {INSTALL_SECONDS} s") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines()]
        why = [line for line in said if line.lower().startswith(("fatal:", "error:"))] or said[-1:]
        raise NotMeasured(f"cannot be installed: {why[0] if why else done.returncode}")
    return done.stdout
