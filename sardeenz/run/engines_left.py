"""Ends the engines of an installation whose workers are down."""

import time
from pathlib import Path

from gpus import ended, kvcached, processes


def count(installation: str) -> int:
    """Only engines of the installation that run on this host are counted."""
    return len(processes.find_all(installation))


def remember(installation: str) -> None:
    """Note that we end these engines, so that the next start takes none of them for one that failed."""
    ended.remember(processes.find_all(installation))


def stop(installation: str, segment_dir: Path, *, seconds: float) -> None:
    """TERM every engine, KILL what is left after `seconds`, and sweep their segments."""
    engines = processes.find_all(installation)
    ended.remember(engines)
    names = {name for each in engines.values() if (name := processes.variable(each.pid, "KVCACHED_IPC_NAME"))}
    for engine in engines.values():
        processes.terminate(engine)
    deadline = time.monotonic() + seconds
    while left := processes.find_all(installation):
        if time.monotonic() > deadline:
            for engine in left.values():
                processes.kill(engine)
        time.sleep(0.05)
    for name in names:
        kvcached.sweep(segment_dir, name)
