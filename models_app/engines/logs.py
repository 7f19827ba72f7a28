"""Where an engine logs, and the bounded end of it.

Engines append to their file themselves, so that their words survive us. What grows too large is cut under their hands:
its end is copied to a second file, then the first begins anew. A line written between the two is lost.
"""

import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from django.conf import settings

from models_app.engines.progress import LoadProgress, progress

__all__ = ("TAIL_BYTES", "LoadProgress", "bound", "path", "progress", "prune", "read_from", "split", "tail")

TAIL_BYTES: Final = 256 * 1024
STARTS_KEPT: Final = 5
"""Logs of so many starts of a replica stay."""
GONE_SECONDS: Final = 24 * 3600.0
"""The logs of a replica that is gone stay so long after their last word."""
_NAME: Final = re.compile(r".+-(\d+)-(\d+)\.log(?:\.1)?")


def path(replica_id: int, generation: int, deployment_name: str) -> Path:
    """The log of one start of a replica."""
    return Path(settings.LOG_DIR) / f"{deployment_name}-{replica_id}-{generation}.log"


def tail(log: Path, max_bytes: int = TAIL_BYTES) -> list[str]:
    """The last whole lines within `max_bytes`, over the cut of one that was too large; empty when there is no log."""
    raw, whole = _end(log, max_bytes)
    if whole and len(raw) < max_bytes:
        before, whole = _end(_earlier(log), max_bytes - len(raw))
        raw = before + raw
    lines = split(raw.decode(errors="replace"))
    return lines if whole else lines[1:]


def _end(log: Path, max_bytes: int) -> tuple[bytes, bool]:
    """The end of a file, and whether that is all of it."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - max_bytes, 0))
            return file.read(max_bytes), size <= max_bytes
    except FileNotFoundError:
        return b"", True


def _earlier(log: Path) -> Path:
    """Where the end of a log went that was too large."""
    return log.with_name(f"{log.name}.1")


def bound(log: Path, max_bytes: int) -> bool:
    """Let the log of a running engine begin anew when it is larger; its last quarter stays beside it."""
    try:
        if log.stat().st_size <= max_bytes:
            return False
        with log.open("rb") as old, _earlier(log).open("wb") as kept:
            old.seek(-(max_bytes // 4), os.SEEK_END)
            old.readline()
            shutil.copyfileobj(old, kept)
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def prune(replica_ids: Callable[[], Iterable[int]]) -> list[Path]:
    """Remove the logs of replicas that are long gone, and of a replica's starts all but the last few.

    The rows are read after the files: a row is older than its log.
    """
    found: dict[int, dict[Path, int]] = defaultdict(dict)
    for log in Path(settings.LOG_DIR).glob("*.log*"):
        if (match := _NAME.fullmatch(log.name)) and log.is_file():
            found[int(match[1])][log] = int(match[2])
    known, removed = set(replica_ids()), []
    for replica_id, logs in found.items():
        starts = sorted(set(logs.values()), reverse=True)[:STARTS_KEPT]
        removed += [
            log for log, start in logs.items() if (start not in starts if replica_id in known else _is_old(log))
        ]
    for log in removed:
        log.unlink(missing_ok=True)
    return removed


def _is_old(log: Path) -> bool:
    try:
        return time.time() - log.stat().st_mtime > GONE_SECONDS
    except FileNotFoundError:
        return False


def read_from(log: Path, offset: int, max_bytes: int = TAIL_BYTES) -> tuple[str, int]:
    """What was written since `offset`, whole lines only, and the offset to go on from. A bar's redraw is a line."""
    try:
        with log.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            raw = file.read(max_bytes)
    except FileNotFoundError:
        return "", 0
    whole = max(raw.rfind(b"\n"), raw.rfind(b"\r")) + 1
    if whole == 0 and len(raw) == max_bytes:
        whole = len(raw)  # a line longer than we read at once: better cut than never shown
    return raw[:whole].decode(errors="replace"), offset + whole


def split(text: str) -> list[str]:
    """Lines of a log; of a progress bar only what was last drawn."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n") if line.strip()]
