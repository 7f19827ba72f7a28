"""A whole installation as processes on this machine: workers, gateway, beat and control, killed and started at will."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TypeVar

import httpx2
from django.conf import settings

from gateway.access import keys
from gpus import discovery, kvcached, processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.models import Replica
from tests.e2e.nursery import Service, nursery
from tests.patience import free_port, until

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = ["sardeenz.run.serve_gateway"]
Found = TypeVar("Found")


class Stack:
    """Named processes of one installation. `kill` is SIGKILL; `start` starts what is not running."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self.sweep()  # of engines that other tests ended
        discovery.discover()
        self.gpus = list(GPU.objects.order_by("index"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.key = keys.create("e2e", ["inference"])[1]
        self.environment = environment
        self.logs = logs
        self.running: dict[str, Service] = {}
        celery = ["celery", "-A", "sardeenz"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--pool", "solo", "-l", "INFO"]
        self.commands = {
            f"gpu{gpu.index}": [*celery, "worker", "-Q", gpu.queue, "-n", f"{gpu.uuid}@%h", *quiet] for gpu in self.gpus
        }
        self.commands["control"] = [*celery, "worker", "-Q", "control,benchmarks", "-n", "control@%h", *quiet]
        self.commands["node"] = ["django", "run_node"]
        self.commands["beat"] = [*celery, "beat", "-s", str(logs / "beat")]
        self.commands["gateway"] = GATEWAY

    def start(self, *names: str) -> None:
        """Start these processes, or all."""
        for name in names or self.commands:
            if name not in self.running:
                self.running[name] = self.begin(name, self.commands[name])
        if "gateway" in self.running:
            until(self.answers, "the gateway answers")

    def begin(self, name: str, argv: list[str], port: int | None = None) -> Service:
        """One process; a gateway listens on the stack's port, or on another."""
        benchmarked = f"http://127.0.0.1:{self.port}"
        with open(self.logs / f"{name}.log", "ab") as log:
            return nursery(self.environment).start(argv, log, GATEWAY_PORT=port or self.port, BENCHMARK_URL=benchmarked)

    def answers(self) -> bool:
        """Whether the gateway serves its table."""
        try:
            headers = {"Authorization": f"Bearer {self.key}"}
            return httpx2.get(f"{self.url}/models", headers=headers, timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    def kill(self, *names: str) -> None:
        """SIGKILL these processes, or all, and wait until they are gone."""
        for name in names or list(self.running):
            child = self.running.pop(name)
            child.kill()
            child.wait()

    def stop(self) -> None:
        """End everything in order, the engines last."""
        for child in self.running.values():
            child.send_signal(signal.SIGTERM)
        for child in self.running.values():
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.running.clear()
        for engine in self.engines().values():
            processes.kill(engine)
        until(lambda: not self.engines(), "every engine is gone")
        self.sweep()

    def sweep(self) -> None:
        """Remove the KV segments of engines that are gone, none of which runs now."""
        for segment in kvcached.read_all(self.segments):
            kvcached.sweep(self.segments, segment.ipc_name)

    @property
    def segments(self) -> Path:
        """Where the engines' KV segments lie."""
        return Path(settings.SEGMENT_DIR)

    @staticmethod
    def port_is_free(port: int) -> bool:
        """Whether another program could listen there."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return probe.connect_ex(("127.0.0.1", port)) != 0

    def engines(self) -> dict[str, processes.EngineProcess]:
        """Every live engine of this installation by marker."""
        processes.reap()
        return processes.find_all(installation_id())


def state_of(replica: Replica) -> str:
    """Its state now; "gone" when the row is."""
    return Replica.objects.filter(pk=replica.pk).values_list("state", flat=True).first() or "gone"


def wait_for(replica: Replica, state: str, seconds: float = 120) -> Replica:
    """Wait until the replica is in `state` and fresh."""
    try:
        until(lambda: state_of(replica) == state, f"{replica.pk} becomes {state}", seconds)
    except AssertionError as error:
        now = Replica.objects.filter(pk=replica.pk).values("state", "goal", "reason", "message").first()
        raise AssertionError(f"{error}: {now}\n{tail()}") from error
    if state != "gone":
        replica.refresh_from_db()
    return replica


def tail() -> str:
    """The ends of the engines' logs, for a failure's message."""
    logs = sorted(Path(settings.LOG_DIR).glob("*.log"), key=os.path.getmtime)[-2:]
    return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in logs)
