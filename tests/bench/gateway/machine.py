"""The machine as the benchmark sees it: cores, programs pinned to them, and what those programs use, from /proc."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NotMeasured(Exception):
    """A contestant cannot take part here; the message says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. Nothing else is pinned by us; whatever runs besides shows as `others` in the results."""

    gateway: tuple[int, ...]
    load: tuple[int, ...]

    @classmethod
    def found(cls, gateways: int = 1) -> "Cores":
        """The first `gateways` cores for the contestant, the rest for load and engine; all for all if too few."""
        have = sorted(os.sched_getaffinity(0))
        if len(have) < 2:
            raise NotMeasured("at least two cores are needed: one for the contestant, one for engine and load")
        first, rest = tuple(have[:gateways]), tuple(have[gateways:])
        return cls(first, rest) if len(rest) >= gateways else cls(first, tuple(have))


class Program:
    """One program on given cores, in a process group of its own: what it starts in turn ends with it."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cores: Sequence[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
        stdin: socket.socket | None = None,
    ) -> None:
        pinned = ["taskset", "-c", ",".join(map(str, cores)), *map(str, argv)]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                pinned,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL if stdin is None else stdin.fileno(),
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    @property
    def last_words(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace").strip()[-500:]

    @property
    def pids(self) -> list[int]:
        """It and what it started."""
        found = [self._process.pid]
        for pid in found:
            try:
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
        return found


def _cpu_seconds(pid: int) -> float:
    """What a process has used, its threads with it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _busy_seconds(cores: Sequence[int]) -> float:
    """Neither idle nor waiting for a disk; time that a hypervisor took counts as busy."""
    wanted = {f"cpu{core}" for core in cores}
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name in wanted:
            busy += sum(map(int, numbers[:3])) + sum(map(int, numbers[5:8]))
    return busy / _TICKS


@dataclass(frozen=True, slots=True)
class Use:
    """What was used while something was measured. Shares are of one core; `others` is what we did not start."""

    seconds: float
    cpu_seconds: float
    cpu_share: float
    others_share: float
    load_share: float
    rss_bytes: int


class Watch:
    """Reads the clocks of a contestant's programs and of the cores at `begin` and `end`."""

    def __init__(self, programs: Sequence[Program], cores: Cores) -> None:
        self._programs = programs
        self._cores = cores
        self._began: tuple[float, float, float, float]
        self.use: Use

    def _read(self) -> tuple[float, float, float, float]:
        cpu = sum(_cpu_seconds(pid) for pid in self._pids())
        return time.monotonic(), cpu, _busy_seconds(self._cores.gateway), _busy_seconds(self._cores.load)

    def _pids(self) -> list[int]:
        return [pid for program in self._programs for pid in program.pids]

    def begin(self) -> None:
        self._began = self._read()

    def end(self) -> None:
        seconds, cpu, gateway, load = (now - then for now, then in zip(self._read(), self._began, strict=True))
        self.use = Use(
            seconds=seconds,
            cpu_seconds=cpu,
            cpu_share=cpu / seconds,
            others_share=max(0.0, gateway - cpu) / seconds,
            load_share=load / seconds / len(self._cores.load),
            rss_bytes=self.rss_bytes(),
        )

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return sum(map(_rss_bytes, self._pids()))
