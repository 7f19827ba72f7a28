"""One failure, told once: the same traceback or warning again and again fills disks and hides everything else."""

import logging
import time
from dataclasses import dataclass
from types import TracebackType

AGAIN_SECONDS = 600.0
MOST = 1000


@dataclass(slots=True)
class _Told:
    at: float
    again: int = 0


class Repeats(logging.Filter):
    """Lets a warning or error pass once in ten minutes, and then says how often it came meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[object, ...], _Told] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is news."""
        if record.levelno < logging.WARNING:
            return True
        key, now = _key(record), time.monotonic()
        told = self._told.get(key)
        if told is not None and now - told.at < AGAIN_SECONDS:
            told.again += 1
            return False
        if told is not None and told.again:
            record.msg, record.args = f"{record.getMessage()} (and {told.again} times more since it was last told)", ()
        self._told.pop(key, None)  # so that the order is that of telling
        self._told[key] = _Told(now)
        if len(self._told) > MOST:
            self._told.pop(next(iter(self._told)))
        return True


class Answered(logging.Filter):
    """Django reports every 5xx as an error. A 503 without an exception is an answer of ours, such as a lack of room."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False drops the record: a 503 that was answered without an exception is nobody's fault."""
        return record.exc_info is not None or getattr(record, "status_code", None) != 503


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    """Of a traceback where it arose, whatever row it was about; else the words."""
    kind, _, traceback = record.exc_info or (None, None, None)
    if kind is None:
        return record.name, record.getMessage()
    return record.name, record.msg, kind, _place(traceback)


def _place(traceback: TracebackType | None) -> tuple[str, int] | None:
    place = None
    while traceback is not None:
        place = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return place
