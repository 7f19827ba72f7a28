"""Processes of an earlier run of the same data directory: found by their marker, retired before a new run.

Engines carry no such marker and are not touched. Gateways are told to end and left to finish their streams.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gpus import processes
from sardeenz.run import embedded, services

RETIRE_SECONDS = 30.0


class Leftover(NamedTuple):
    """A process of service `name`; `started` tells it from a later one with the same pid."""

    pid: int
    started: float
    name: str
    parent: int


def find(data_dir: Path) -> list[Leftover]:
    """Every live process of this data directory's services but ourselves."""
    tag = services.tag(data_dir)
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        name = None if pid == os.getpid() else _service(pid, tag)
        if name and (started := processes.start_time(pid)) is not None:
            found.append(Leftover(pid, started, name, _parent(pid)))
    head = embedded.postmaster_pid(data_dir)
    if head and head not in {each.pid for each in found} and (started := processes.start_time(head)) is not None:
        found.append(Leftover(head, started, services.POSTGRES, _parent(head)))
    return found


def retire(data_dir: Path) -> list[str]:
    """End what an earlier run left, and return the names of the services found.

    1. The supervisor is killed, so that it starts nothing again.
    2. The head of every other service is asked to end.
    3. All but the gateways are waited for, and killed when the time is over.
    """
    found = find(data_dir)
    for each in (each for each in found if each.name == services.SUPERVISOR):
        _signal(each, signal.SIGKILL)
    rest = [each for each in found if each.name != services.SUPERVISOR]
    same = {(each.pid, each.name) for each in rest}
    for each in rest:
        if (each.parent, each.name) not in same:
            _signal(each, signal.SIGINT if each.name == services.POSTGRES else signal.SIGTERM)
    awaited = [each for each in rest if not each.name.startswith(services.GATEWAY)]
    deadline = time.monotonic() + RETIRE_SECONDS
    while any(processes.is_alive(each.pid, each.started) for each in awaited):
        if time.monotonic() > deadline:
            for each in awaited:
                _signal(each, signal.SIGKILL)
        time.sleep(0.05)
    return sorted({each.name for each in found})


def _service(pid: int, tag: str) -> str | None:
    with suppress(OSError):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
        if name := services.named(shown, tag):
            return name
    of, _, name = (processes.variable(pid, services.MARKER) or "").partition(":")
    return name if of == tag and processes.variable(pid, processes.MARKER) is None else None


def _parent(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _signal(each: Leftover, number: signal.Signals) -> None:
    if processes.is_alive(each.pid, each.started):
        with suppress(ProcessLookupError):
            os.kill(each.pid, number)
