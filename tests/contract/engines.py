"""The engines under contract, started as child processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.patience import free_port, until

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-of-the-contract"
NAMES = ("sprat", "sprat-alias")
MAX_MODEL_LEN = 2048
_COMMON = (
    "--max-model-len",
    str(MAX_MODEL_LEN),
    "--max-num-seqs",
    "4",
    "--host",
    "127.0.0.1",
    "--shutdown-timeout",
    "20",
)
_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of engine: how to start it, and how long that may take."""

    name: str
    program: tuple[str, ...]
    flags: tuple[str, ...]
    environment: dict[str, str]
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Engine:
    """One that runs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @contextmanager
    def client(self, key: str | None = KEY) -> Iterator[httpx2.Client]:
        """HTTP to it."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=self.url, headers=headers, timeout=60) as client:
            yield client

    def lines(self) -> list[str]:
        """Its log."""
        return self.log.read_text(errors="replace").splitlines()

    def gauge(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        with self.client() as client:
            text = client.get("/metrics").text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith(f"vllm:{name}{{")]
        assert lines, f"no series {name}"
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


def simulator() -> Target:
    """The double."""
    program = (sys.executable, "-m", "models_app.engines.simulator")
    return Target("simulator", program, ("--load-seconds", "0.2"), {"PYTHONPATH": str(ROOT)}, 20)


def vllm(executable: str) -> Target:
    """The real one, on the CPU."""
    flags = ("--load-format", "dummy", "--enforce-eager", "--kv-cache-memory-bytes", "33554432")
    return Target("vllm", (executable,), (*flags, "--distributed-executor-backend", "uni"), _CPU, 300)


@contextmanager
def running(target: Target, model: Path, folder: Path, *flags: str, **environment: str) -> Iterator[Engine]:
    """Start an engine, wait until it answers, and end it."""
    port = free_port()
    log = folder / f"{target.name}-{port}.log"
    argv = [*target.program, "serve", str(model), "--served-model-name", *NAMES, "--port", str(port)]
    variables = {"VLLM_API_KEY": KEY, "VLLM_SERVER_DEV_MODE": "1", **target.environment, **environment}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*argv, *_COMMON, *target.flags, *flags],
            env={**kept, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        )
    engine = Engine(f"http://127.0.0.1:{port}", process, log)
    try:
        until(lambda: answers(engine), "the engine answers", target.start_seconds)
        yield engine
    finally:
        end(process)


def answers(engine: Engine) -> bool:
    """Whether /health says yes; fails at once when the process has ended."""
    assert engine.process.poll() is None, "\n".join(engine.lines()[-30:])
    try:
        return httpx2.get(f"{engine.url}/health", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and all it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
