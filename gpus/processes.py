"""Engines as the operating system knows them: started, found again, signalled, reaped. Needs no Django.

An engine is every process that carries our marker in its environment, and everything in the session of such a
process that leads one. The marker is `<installation>:<replica id>:<generation>`. A zombie is dead.

Start times are seconds since the host booted, exactly as the kernel says: they tell a process from a later one with
the same pid, and never change with the wall clock.
"""

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gpus.errors import SpawnFailed

MARKER: Final = "SARDEENZ_REPLICA"
URL: Final = "SARDEENZ_ENGINE_URL"
PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
VISIBLE_SECONDS = 5.0
DYING_SECONDS = 2.0
STAT_BYTES = 4096
"""More than a line of 52 numbers and a name can be."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A live engine. `marker` is `<replica id>:<generation>`; `starts` holds the start time of each of `pids`.

    `led`: the process that we started lives. Where it is gone `pid` is one of those it left behind.
    """

    marker: str
    pid: int
    started: float
    pids: tuple[int, ...]
    url: str | None
    starts: tuple[float, ...] = ()
    led: bool = True


@dataclass(frozen=True, slots=True)
class HostMemory:
    """RAM of the host, or of our cgroup where that is less."""

    total_bytes: int
    available_bytes: int


class _Stat(NamedTuple):
    pid: int
    state: str
    parent: int
    session: int
    started: float
    image: tuple[int, bytes, bytes]  # pid, start, address of the environment: a new program, a new address

    @property
    def alive(self) -> bool:
        return self.state not in "ZXx"


class _Marks(NamedTuple):
    marker: str | None
    url: str | None


_UNMARKED = _Marks(None, None)
_marks: dict[tuple[int, bytes, bytes], _Marks] = {}
_children: dict[int, subprocess.Popen[bytes]] = {}


def marker_of(installation: str, replica_id: int, generation: int) -> str:
    """The value of SARDEENZ_REPLICA for one start of a replica."""
    return f"{installation}:{replica_id}:{generation}"


def spawn(argv: Sequence[str], *, environment: Mapping[str, str], log_path: Path | str, marker: str) -> int:
    """Start an engine in a session of its own, its output appended to `log_path`; it survives us.

    `environment` is all it gets, plus the whole `marker`. Raises SpawnFailed.
    """
    # SPT_NOENV keeps setproctitle, which vLLM's processes call, from overwriting the environment we search.
    variables = {**environment, MARKER: marker, "SPT_NOENV": "1"}
    try:
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        with open(log_path, "ab") as log:
            child = subprocess.Popen(
                list(argv),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        message = f"cannot start {argv[0]}: {error.strerror}"
        raise SpawnFailed(message, executable=argv[0], reason=str(error)) from error
    _children[child.pid] = child
    _wait_visible(child.pid, marker)
    return child.pid


def _wait_visible(pid: int, marker: str) -> None:
    """Until the new program shows its marker, or is gone.

    The kernel closes the pipe that Popen waits for before it lays out the new environment: for that moment, which a
    busy machine stretches, the engine would look as if it were not there.
    """
    deadline = time.monotonic() + VISIBLE_SECONDS
    while start_time(pid) is not None and time.monotonic() < deadline:
        if variable(pid, MARKER) == marker:
            return
        time.sleep(0.001)


def reap() -> dict[int, int]:
    """Collect our dead children, without waiting: pid -> exit code, negative for a signal."""
    codes: dict[int, int] = {}
    for pid, child in list(_children.items()):
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # forked since: it is our parent's child, not ours
            found, status = pid, None
        if found == 0:
            continue
        child.returncode = 0 if status is None else os.waitstatus_to_exitcode(status)  # or Popen warns of a leak
        _children.pop(pid, None)
        if status is not None:
            codes[pid] = child.returncode
    return codes


def reap_dying(pids: Collection[int]) -> dict[int, int]:
    """The same once those of our children that were seen dead have ended, or a moment has passed.

    The kernel shows a process as a zombie while its other threads still end, and gives out its exit code after them.
    """
    codes, deadline = reap(), time.monotonic() + DYING_SECONDS
    while any(pid in _children for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)
        codes |= reap()
    return codes


def find_all(installation: str) -> dict[str, EngineProcess]:
    """Every live engine of this installation by `<replica id>:<generation>`, in one pass over /proc."""
    stats = {stat.pid: stat for stat in _scan() if stat.alive}
    marks = {stat.pid: _read_marks(stat) for stat in stats.values()}
    groups: dict[str, set[int]] = defaultdict(set)
    led: dict[int, str] = {}
    for pid, found in marks.items():
        if found.marker is None or (name := _without(installation, found.marker)) is None:
            continue
        groups[name].add(pid)
        if stats[pid].session == pid:
            led[pid] = name
    for pid, stat in stats.items():
        if stat.session in led and marks[pid].marker is None:
            groups[led[stat.session]].add(pid)
    return {name: _engine(name, [stats[pid] for pid in sorted(pids)], marks) for name, pids in groups.items()}


def terminate(engine: EngineProcess) -> None:
    """Ask the leader to end; it takes its children along."""
    if is_alive(engine.pid, engine.started):
        with suppress(ProcessLookupError):
            os.kill(engine.pid, signal.SIGTERM)


def kill(engine: EngineProcess) -> None:
    """End every process of the engine, and all that shares a process group with them."""
    starts = dict(zip(engine.pids, engine.starts, strict=False)) | {engine.pid: engine.started}
    ours = os.getpgrp()
    for pid in {engine.pid, *engine.pids}:
        started = start_time(pid)
        if started is None or starts.get(pid, started) != started:
            continue
        with suppress(ProcessLookupError):
            group = os.getpgid(pid)
            if group != ours:
                os.killpg(group, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int, started: float) -> bool:
    """Whether this very process still runs; a zombie does not."""
    return start_time(pid) == started


def start_time(pid: int) -> float | None:
    """When the process started, in seconds since boot; None when it is gone or a zombie."""
    stat = _stat(pid)
    return stat.started if stat is not None and stat.alive else None


def identity(pid: int | None = None) -> str:
    """Names a process, ourselves unless told, for whoever sees the same pids: boot, pid namespace, pid, start."""
    pid = pid or os.getpid()
    return f"{_place()} {pid} {start_time(pid)}"


def is_gone(named: str) -> bool:
    """Whether the process of this `identity` is known to have ended; of what runs elsewhere nothing is known here."""
    place, _, process = named.partition(" ")
    pid, _, started = process.partition(" ")
    return pid.isdecimal() and place == _place() and str(start_time(int(pid))) != started


def _place() -> str:
    """Where pids mean what they mean here."""
    return f"{boot_id()}/{(PROC / 'self/ns/pid').readlink()}"


def boot_id() -> str:
    """Changes with every boot of the host."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def host_memory() -> HostMemory:
    """What the host, or our cgroup, has and could still give."""
    facts = _keyed(PROC / "meminfo", 1024)
    total, available = facts["MemTotal:"], facts["MemAvailable:"]
    with suppress(OSError, ValueError, KeyError):  # "max" or no cgroup v2: the host's numbers hold
        limit = int((CGROUP / "memory.max").read_text())
        cache = _keyed(CGROUP / "memory.stat", 1)
        held = int((CGROUP / "memory.current").read_text()) - cache["inactive_file"] - cache["active_file"]
        total, available = min(total, limit), min(available, max(limit - held, 0))
    return HostMemory(total, available)


def held_ram(pids: Iterable[int]) -> int | None:
    """Host RAM that these processes hold together, shared pages once (PSS); None where the kernel shows none of them.

    The kernel walks all their pages for it: for hundreds of GiB that takes seconds.
    """
    sizes = []
    for pid in pids:
        with suppress(OSError, ValueError, KeyError):
            sizes.append(_keyed(PROC / str(pid) / "smaps_rollup", 1024)["Pss:"])
    return sum(sizes) if sizes else None


def _keyed(path: Path, unit: int) -> dict[str, int]:
    """The numbers of a file whose lines are `name number`."""
    words = (line.split() for line in path.read_text().splitlines())
    return {line[0]: int(line[1]) * unit for line in words if len(line) > 1 and line[1].isdecimal()}


def _engine(name: str, stats: list[_Stat], marks: Mapping[int, _Marks]) -> EngineProcess:
    leader = _leader(stats)
    urls = [marks[leader.pid].url, *(marks[stat.pid].url for stat in stats)]
    return EngineProcess(
        marker=name,
        pid=leader.pid,
        started=leader.started,
        pids=tuple(stat.pid for stat in stats),
        url=next((url for url in urls if url), None),
        starts=tuple(stat.started for stat in stats),
        led=leader.session == leader.pid,
    )


def _leader(stats: list[_Stat]) -> _Stat:
    """The one that leads its session; else the one whose parent is outside; else the oldest."""
    pids = {stat.pid for stat in stats}
    return min(stats, key=lambda stat: (stat.session != stat.pid, stat.parent in pids, stat.started, stat.pid))


def _without(installation: str, marker: str) -> str | None:
    """`<replica id>:<generation>` of a marker of ours."""
    owner, _, name = marker.partition(":")
    replica_id, _, generation = name.partition(":")
    return name if owner == installation and replica_id.isdecimal() and generation.isdecimal() else None


def _scan() -> list[_Stat]:
    """Every process of the host; forgets the environments of those that are gone."""
    with os.scandir(PROC) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    stats = [stat for pid in pids if (stat := _stat(pid)) is not None]
    images = {stat.image for stat in stats}
    for image in [image for image in list(_marks) if image not in images]:
        _marks.pop(image, None)
    return stats


def _stat(pid: int) -> _Stat | None:
    # Read once a second for every process of the host: Path and a text file would make it four times as dear.
    try:
        file = os.open(f"{PROC}/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        line = os.read(file, STAT_BYTES)
    except OSError:  # it ended meanwhile
        return None
    finally:
        os.close(file)
    words = line.rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    if len(words) < 20:
        return None
    # Between fork and exec a child still shows our environment, with the pid and start time it will keep: the
    # address of the environment (field 50) changes with exec, so what was read before is not believed after.
    image = (pid, words[19], words[47] if len(words) > 47 else b"")
    return _Stat(pid, words[0].decode(), int(words[1]), int(words[3]), int(words[19]) / _TICKS, image)


def _read_marks(stat: _Stat) -> _Marks:
    known = _marks.get(stat.image)
    if known is not None:
        return known
    # An environment still empty is one the kernel has not laid out yet; where it has no address either (a thread of
    # the kernel, or another user's process) what is laid out later has one, and so is another image.
    nowhere = stat.image[2] == b"0"
    try:
        raw = (PROC / str(stat.pid) / "environ").read_bytes()
    except PermissionError:  # another user's: never ours
        raw = b""
    except OSError:
        if not nowhere:
            return _UNMARKED  # it just ended
        raw = b""  # a thread of the kernel: that it has none is asked once, for a host may have thousands
    found = _Marks(_value(raw, MARKER), _value(raw, URL))
    if raw or nowhere:
        _marks[stat.image] = found
    return found


def name(pid: int) -> str:
    """What the host calls a process, 15 characters at most; empty where it is not one of ours to see."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def variable(pid: int, name: str) -> str | None:
    """A variable that a process was started with; None where there is none, or no process that we may read."""
    try:
        return _value((PROC / str(pid) / "environ").read_bytes(), name)
    except OSError:
        return None


def _value(environ: bytes, name: str) -> str | None:
    prefix = name.encode() + b"="
    for entry in environ.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None
