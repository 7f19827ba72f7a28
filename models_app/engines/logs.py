"""Where an engine logs, and the bounded end of it."""

from pathlib import Path
from typing import Final

from django.conf import settings

from models_app.engines.progress import LoadProgress, progress

__all__ = ("TAIL_BYTES", "LoadProgress", "path", "progress", "read_from", "split", "tail")

TAIL_BYTES: Final = 256 * 1024


def path(replica_id: int, generation: int, deployment_name: str) -> Path:
    """The log of one start of a replica."""
    return Path(settings.LOG_DIR) / f"{deployment_name}-{replica_id}-{generation}.log"


def tail(log: Path, max_bytes: int = TAIL_BYTES) -> list[str]:
    """The last whole lines within `max_bytes`; empty when there is no log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - max_bytes, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = split(text)
    return lines[1:] if size > max_bytes else lines


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
