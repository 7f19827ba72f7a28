"""The engines that all are compared on, each a process of its own."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.patience import free_port

ROOT = Path(__file__).resolve().parents[3]
MODEL = "bench"
START_SECONDS = 300.0
_COUNTERS = {
    "engine: calls": re.compile(r"^vllm:request_success_total\{.*\} (\S+)$", re.MULTILINE),
    "engine: prompt tokens": re.compile(r"^vllm:prompt_tokens_total\{.*\} (\S+)$", re.MULTILINE),
    "engine: output tokens": re.compile(r"^vllm:generation_tokens_total\{.*\} (\S+)$", re.MULTILINE),
}
_TIMES = {"ttft": "time_to_first_token", "itl": "inter_token_latency", "e2e": "e2e_request_latency"}
for _name, _metric in _TIMES.items():
    for _part in ("sum", "count"):
        _COUNTERS[f"{_name} {_part}"] = re.compile(rf"^vllm:{_metric}_seconds_{_part}\{{.*\}} (\S+)$", re.MULTILINE)


@contextmanager
def simulator() -> Iterator[str]:
    """First token after 200 ms, then one every 50 ms, whatever the load."""
    words = ["models_app.engines.simulator", "serve", MODEL, "--port", "PORT", "--served-model-name", MODEL]
    words += ["--load-seconds", "0", "--ttft-seconds", "0.2", "--tokens-per-second", "20"]
    with _running([sys.executable, "-m", *words], os.environ) as url:
        yield url


@contextmanager
def stream() -> Iterator[str]:
    """Pieces as fast as they are taken: the engine is never the limit."""
    with _running([sys.executable, "-m", "tests.bench.gateway.engine", "PORT"], os.environ) as url:
        yield url


@contextmanager
def real(vllm: Path, folder: Path) -> Iterator[str]:
    """vLLM on this machine's CPU, with the tiny model in this folder."""
    words = ["serve", str(folder), "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", "PORT"]
    words += ["--load-format", "dummy", "--enforce-eager", "--max-model-len", "2048", "--no-enable-prefix-caching"]
    words += ["--kv-cache-memory-bytes", str(256 * 2**20), "--distributed-executor-backend", "uni"]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    cores = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    with _running([str(vllm), *words], {**os.environ, **quiet, **cores}) as url:
        yield url


def counters(url: str) -> dict[str, float]:
    """What the engine counted since it began; nothing for one without metrics."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError:
        return {}
    return {name: sum(map(float, pattern.findall(text))) for name, pattern in _COUNTERS.items()}


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """What the engine counted between two looks, and its own mean times in milliseconds."""
    more = {name: value - before[name] for name, value in after.items()}
    counts = {name: value for name, value in more.items() if name.startswith("engine: ")}
    means = {f"{name} mean": more[f"{name} sum"] / more[f"{name} count"] * 1000 for name in _TIMES if more}
    return counts, means


@contextmanager
def _running(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [word.replace("PORT", str(port)) for word in argv],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, and knows no /health
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the engine does not answer: {process.args!r}")
