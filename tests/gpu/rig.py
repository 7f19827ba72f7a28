"""The machine under acceptance: its device, the engines started on it, and how to wait for either.

Engines are launched, found, signalled and swept by Sardeenz's own code; it needs no Django and no database for that.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpus import kvcached, processes, simulated
from gpus.readings import DeviceReading
from models_app.engines import command, progress
from tests.gpu.client import CallFailed, Client

try:
    from gpus import nvml
except ImportError:  # no pynvml there: nvidia-smi tells enough
    nvml = None

MIB = 2**20
GIB = 2**30
_PASSED = ("PYTHONPATH", "HF_HUB_OFFLINE", "VLLM_")
"""What of our environment every engine gets."""
_SHARE = ("--gpu-memory-utilization", "0.3")
"""Without kvcached vLLM refuses to start unless its share, 0.9 by itself, is free."""


class Failed(Exception):
    """Something was not as it has to be."""


class CannotStart(Failed):
    """An engine did not come up, so that nothing else can be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run."""

    out: Path
    model: str
    executable: str = ""
    version: str = ""
    simulation: str = ""
    extra_args: tuple[str, ...] = ()
    max_model_len: int = 8192
    kv_cap_bytes: int = 16 * GIB
    start_seconds: float = 300
    prompt_characters: int = 3000
    requests: int = 8
    tokens: int = 64
    burst_kv_bytes: int = 9 * GIB
    burst_peak: float = 24
    burst_slope: float = 3
    burst_tokens: int = 256


@dataclass(slots=True)
class Engine:
    """One that runs."""

    number: int
    client: Client
    log: Path
    ipc_name: str
    pid: int
    elastic: bool = True
    launched: float = 0.0
    limit_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    start_seconds: float = 0.0


class Rig:
    """The device and its engines."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.installation = f"acc{os.getpid():x}"
        self.engines: list[Engine] = []
        self.last_launch: dict[str, Any] = {}
        self._place = Path(tempfile.mkdtemp(prefix="acceptance-"))
        self._made = 0
        self.segments = self._place / "shm" if settings.simulation else Path("/dev/shm")
        (self._place / "shm").mkdir()
        self.baseline_bytes = self.read().memory_used_bytes

    def read(self) -> DeviceReading:
        """The device now."""
        if self.settings.simulation:
            return simulated.read_all(self._place, "acceptance", self.settings.simulation)[0]
        return _smi() if nvml is None else nvml.read_all()[0]

    def used_bytes(self) -> int:
        """Memory of the device in use, once it stands still for half a second."""
        pause = 0.05 if self.settings.simulation else 0.5
        last, now = -1, self.read().memory_used_bytes
        deadline = time.monotonic() + 20
        while abs(now - last) > 2 * MIB and time.monotonic() < deadline:
            time.sleep(pause)
            last, now = now, self.read().memory_used_bytes
        return now

    def segment(self, engine: Engine) -> kvcached.Segment:
        """What kvcached says of an engine. Raises Failed when it says nothing."""
        found = kvcached.read(self.segments, engine.ipc_name)
        if found is None:
            raise Failed(f"there is no segment {engine.ipc_name} in {self.segments}")
        return found

    def mapped_bytes(self) -> int:
        """Used and prealloc of every engine's segment."""
        return sum(self.segment(engine).mapped_bytes for engine in self.engines)

    def held_bytes(self, engine: Engine) -> int | None:
        """What the device says the engine's processes hold; None where it does not tell."""
        found = self.process(engine)
        pids = set(found.pids) if found else set()
        sizes = [each.memory_bytes for each in self.read().processes or () if each.pid in pids]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    def segments_left(self) -> list[str]:
        """Names of the segments of this run."""
        return [each.ipc_name for each in kvcached.read_all(self.segments, self._prefix)]

    def ensure(self, count: int) -> list[Engine]:
        """At least so many engines run. What is missing starts at the same time: minutes of a GPU are dear."""
        self._await([self._launch() for _ in range(count - len(self.engines))])
        return self.engines

    def start(self, count: int = 1, *, elastic: bool = True) -> list[Engine]:
        """Start more engines with our launch command and wait until they serve; without `elastic`, without kvcached."""
        started = [self._launch(elastic=elastic) for _ in range(count)]
        self._await(started)
        return started

    def _launch(self, *, elastic: bool = True) -> Engine:
        self._made += 1
        spec = self._spec(self._made, elastic=elastic)
        launch = command.build(spec)
        shown = {name: value for name, value in launch.environment.items() if "KEY" not in name and "TOKEN" not in name}
        self.last_launch = {"argv": launch.argv, "environment": shown}
        log = self.settings.out / f"engine-{self._made}.log"
        began = time.monotonic()
        pid = processes.spawn(launch.argv, environment=launch.environment, log_path=log, marker=spec.marker)
        client = Client(f"http://{spec.host}:{spec.port}", spec.api_key, spec.served_name)
        engine = Engine(self._made, client, log, spec.ipc_name, pid, elastic=elastic, launched=began)
        self.engines.append(engine)
        return engine

    def _await(self, started: list[Engine]) -> None:
        waiting = list(started)
        while waiting:
            for engine in [each for each in waiting if self._serves(each)]:
                waiting.remove(engine)
                self._note(engine)
            if waiting and time.monotonic() - waiting[0].launched > self.settings.start_seconds:
                raise CannotStart(f"not within {self.settings.start_seconds:g} s: engine {waiting[0].number} serves")
            time.sleep(0.05)

    def _note(self, engine: Engine) -> None:
        engine.start_seconds = time.monotonic() - engine.launched
        engine.facts = progress.progress(engine.log.read_text(errors="replace").split("\n")).facts
        if engine.elastic:
            engine.limit_bytes = self.segment(engine).limit_bytes

    def process(self, engine: Engine) -> processes.EngineProcess | None:
        """The engine in the process table."""
        return processes.find_all(self.installation).get(f"{engine.number}:1")

    def gone(self, engine: Engine) -> bool:
        """Whether no process of the engine lives."""
        processes.reap()
        return self.process(engine) is None

    def kill(self, engine: Engine) -> None:
        """SIGKILL, every process."""
        if found := self.process(engine):
            processes.kill(found)

    def stop(self, engine: Engine) -> float:
        """SIGTERM, then wait; the seconds it took."""
        began = time.monotonic()
        if found := self.process(engine):
            processes.terminate(found)
        self.until(lambda: self.gone(engine), "the engine ends after SIGTERM", 60)
        return time.monotonic() - began

    def release(self, engine: Engine) -> bool:
        """Sweep what a dead engine left; whether there was a segment."""
        left = engine.ipc_name in self.segments_left()
        kvcached.sweep(self.segments, engine.ipc_name)
        if engine in self.engines:
            self.engines.remove(engine)
        return left

    def clear(self) -> None:
        """End every engine that does not answer; the next point starts others."""
        for engine in list(self.engines):
            try:
                engine.client.complete("a", 1, timeout_seconds=20)
            except CallFailed:
                self._end(engine)

    def close(self) -> None:
        """Kill and sweep all that is left of this run."""
        for engine in self.engines:
            self.kill(engine)
        for engine in list(self.engines):
            self._end(engine)
        shutil.rmtree(self._place, ignore_errors=True)

    def _end(self, engine: Engine) -> None:
        self.kill(engine)
        self.until(lambda: self.gone(engine), "a killed engine ends", 30)
        self.release(engine)

    def until(self, ask: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait for a yes; the seconds it took. Raises Failed."""
        began = time.monotonic()
        while not ask():
            if time.monotonic() - began > seconds:
                raise Failed(f"not within {seconds:g} s: {what}")
            time.sleep(0.05)
        return time.monotonic() - began

    @property
    def _prefix(self) -> str:
        return f"srdz_{self.installation}_"

    def _serves(self, engine: Engine) -> bool:
        if self.gone(engine):
            end = engine.log.read_text(errors="replace").splitlines()[-15:]
            raise CannotStart("the engine ended while it started:\n" + "\n".join(end))
        return engine.client.healthy()

    def _spec(self, number: int, *, elastic: bool) -> command.LaunchSpec:
        settings, device = self.settings, self.read()
        kind = command.SIMULATOR if settings.simulation else command.CUDA
        return command.LaunchSpec(
            kind=kind,
            executable=sys.executable if settings.simulation else settings.executable,
            version=settings.version,
            kvcached=elastic,
            model_source=settings.model,
            revision="",
            served_name="acceptance",
            deployment_name="acceptance",
            extra_args=settings.extra_args if elastic or settings.simulation else (*settings.extra_args, *_SHARE),
            environment={name: value for name, value in os.environ.items() if name.startswith(_PASSED)},
            max_model_len=settings.max_model_len,
            tensor_parallel=1,
            sleep_enabled=True,
            kv_cap_bytes=settings.kv_cap_bytes if elastic else settings.burst_kv_bytes // 3,
            weights_bytes=None,
            overhead_bytes=None,
            gpu_uuids=(device.uuid,),
            gpu_indices=(device.index,),
            host="127.0.0.1",
            port=_free_port(),
            api_key=f"key-of-the-acceptance-{number}",
            ipc_name=f"{self._prefix}{number}",
            marker=processes.marker_of(self.installation, number, 1),
            simulated_dir=str(self._place),
            segment_dir=str(self.segments),
            simulated_gpus=settings.simulation,
            node="acceptance",
            inherited=os.environ,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _smi() -> DeviceReading:
    """The first device, from nvidia-smi."""
    wanted = "uuid,index,name,memory.total,memory.free,compute_cap"
    argv = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout
    uuid, index, name, total, free, capability = (word.strip() for word in answer.splitlines()[0].split(","))
    return DeviceReading(
        uuid=uuid,
        index=int(index),
        name=name,
        memory_total_bytes=int(total) * MIB,
        memory_used_bytes=(int(total) - int(free)) * MIB,
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        power_limit_watts=None,
        compute_capability=capability,
        parent_uuid="",
        simulated=False,
        processes=(),
    )
