"""A whole installation, started as a person starts it, and the models that the clients ask."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
MIB = 2**20
_TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
_STORE = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}
_POOLING = ("--runner", "pooling", "--convert", "embed")
_CPU = ("--load-format", "dummy", "--enforce-eager", "--max-num-seqs", "4")
# Weights that are made up never end a run of blanks between two tokens of JSON: these forbid it, also in tool calls.
_TERSE = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
_PLAIN_CALLS = {"VLLM_ENFORCE_STRICT_TOOL_CALLING": "0"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of engine: its runtime, and what its two deployments need besides."""

    runtime: dict[str, Any]
    flags: tuple[str, ...]
    fields: dict[str, Any]
    chat_flags: tuple[str, ...] = _TOOLS
    environment: dict[str, str] = field(default_factory=dict)
    replicas: int = 1


SIMULATOR = Kind({"kind": "simulator"}, ("--load-seconds", "0.2"), {}, replicas=2)


def vllm(executable: str) -> Kind:
    """Real vLLM, on the CPU."""
    runtime = {"kind": "vllm-cpu", "executable": executable, "version": "0.30.0", "kvcached": False}
    return Kind(runtime, _CPU, {"kv_cap_bytes": 32 * MIB}, (*_TOOLS, *_TERSE), _PLAIN_CALLS)


@dataclass(frozen=True, slots=True)
class Site:
    """What a client is told: an address, a key, and what may be asked for."""

    root: str
    key: str
    kind: str
    chat: str
    embed: str

    @property
    def url(self) -> str:
        """The base of OpenAI's paths."""
        return f"{self.root}/v1"


class Installation:
    """One `sardeenz up` with a data directory of its own."""

    def __init__(self) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="srdz-clients-"))
        self._log = self.data_dir / "up.out"
        first = 31000 + os.getpid() % 100 * 10
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SARDEENZ_")}
        self._environment = inherited | {
            "SARDEENZ_DATA_DIR": str(self.data_dir),
            "SARDEENZ_WEB_PORT": str(_free_port()),
            "SARDEENZ_GATEWAY_PORT": str(_free_port()),
            "SARDEENZ_ENGINE_PORTS": f"{first}-{first + 9}",
            "SARDEENZ_GPUS": "simulated:2x80GiB",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it says that it is up."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [BIN / "sardeenz", "up"], cwd=ROOT, env=self._environment, stdout=log, stderr=log, process_group=0
            )
        _until(lambda: "Sardeenz is up" in self._said() or self._ended(), "it is up", 120)
        assert not self._ended(), self._said()

    def serve(self, name: str, kind: Kind, model: str) -> Site:
        """Deploy a model for chats and one for embeddings on engines of a kind, and wait until both are ready."""
        told = json.loads((self.data_dir / "cli.json").read_text())
        headers = {"Authorization": f"Bearer {told['token']}"}
        with httpx2.Client(base_url=f"{told['url']}/api/", headers=headers, timeout=30, trust_env=False) as api:
            _post(api, "models", name=name, source=model)
            runtime = kind.runtime["kind"]
            if runtime != "simulator":  # that one is there from the first start
                runtime = _post(api, "runtimes", name=f"clients-{runtime}", **kind.runtime)["name"]
            shared = {"model": name, "runtime": runtime, "max_model_len": 2048, "weights_bytes": 64 * MIB}
            chat: dict[str, Any] = {"extra_args": [*kind.flags, *kind.chat_flags], "replicas": kind.replicas}
            chat["environment"] = _STORE | kind.environment
            embed = {"extra_args": [*kind.flags, *_POOLING]}
            made = [
                _post(api, "deployments", name=f"{name}-{suffix}", **(shared | kind.fields | own))["id"]
                for suffix, own in (("chat", chat), ("embed", embed))
            ]
            for identity in made:
                _post(api, f"deployments/{identity}/deploy")
            _until(lambda: _ready(api, made, kind.replicas + 1), f"{name} is ready", 400)
        return Site(told["gateway_url"], told["api_key"], name, f"{name}-chat", f"{name}-embed")

    def stop(self) -> None:
        """End it as Ctrl-C does; whatever is left then is killed."""
        if self._process is not None and not self._ended():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(90)
            except subprocess.TimeoutExpired:
                self._process.kill()
        for pid in self._left():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _said(self) -> str:
        return self._log.read_text()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _left(self) -> list[int]:
        """Processes whose environment names our data directory."""
        mark = os.fsencode(self.data_dir)
        return [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and mark in _variables(entry)
        ]


def _variables(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:
        return b""


def _post(api: httpx2.Client, path: str, **fields: Any) -> dict[str, Any]:
    answer = api.post(path, json=fields)
    assert answer.is_success, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _ready(api: httpx2.Client, deployments: list[int], count: int) -> bool:
    rows = [row for row in api.get("replicas").json()["results"] if row["deployment"] in deployments]
    failed = [f"{row['reason']}: {row['message']}" for row in rows if row["state"] == "failed"]
    assert not failed, failed
    return [row["state"] for row in rows] == ["ready"] * count


def _until(ask: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
