"""kvcached's shared-memory segments: the only place that knows their layout. Needs no Django.

A segment is a file of exactly 24 bytes, three little-endian int64: limit, used, prealloc, in bytes per GPU of the
engine. The engine writes used and prealloc; the limit is ours after the start. Every access takes `flock`.
"""

import errno
import fcntl
import os
import re
import shutil
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpus.errors import SegmentBusy, SegmentMissing

PREFIX = "srdz_"
SOCKET_ROOT = Path("/tmp")  # kvcached does not honour TMPDIR
_LAYOUT = struct.Struct("<qqq")
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_READ_LOCK_SECONDS = 0.02
_WRITE_LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """What one engine's KV memory is allowed and holds on each of its GPUs."""

    ipc_name: str
    limit_bytes: int
    used_bytes: int
    prealloc_bytes: int

    @property
    def mapped_bytes(self) -> int:
        """Physical memory held by the KV cache."""
        return self.used_bytes + self.prealloc_bytes

    @property
    def shrinking(self) -> bool:
        """The limit was lowered below what is in use; it takes effect as the engine frees pages."""
        return self.used_bytes > self.limit_bytes


def read(directory: Path | str, ipc_name: str) -> Segment | None:
    """The segment, or None while the engine has none."""
    try:
        descriptor = os.open(_named(directory, ipc_name), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return None
    try:
        # An engine stopped while it holds the lock must not stop the node's loop. Reading aligned words without the
        # lock can at worst show `used` and `prealloc` of two neighbouring instants.
        _lock(descriptor, fcntl.LOCK_SH, _READ_LOCK_SECONDS)
        record = os.pread(descriptor, _LAYOUT.size + 1, 0)
    finally:
        os.close(descriptor)
    return Segment(ipc_name, *_LAYOUT.unpack(record)) if len(record) == _LAYOUT.size else None


def read_all(directory: Path | str, prefix: str = PREFIX) -> list[Segment]:
    """Every segment whose name starts with `prefix`, by name."""
    try:
        names = sorted(path.name for path in Path(directory).iterdir() if path.name.startswith(prefix))
    except FileNotFoundError:
        return []
    found = (read(directory, name) for name in names if _NAME.match(name))
    return [segment for segment in found if segment is not None]


def create(directory: Path | str, ipc_name: str, limit_bytes: int) -> None:
    """Make the segment as an engine does at its start."""
    path = _path(directory, ipc_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with _exclusive(descriptor, ipc_name):
            os.ftruncate(descriptor, _LAYOUT.size)
            os.pwrite(descriptor, _LAYOUT.pack(limit_bytes, 0, 0), 0)
    finally:
        os.close(descriptor)


def set_limit(directory: Path | str, ipc_name: str, limit_bytes: int) -> None:
    """Ask the engine to hold no more than this; it obeys at its next allocation.

    kvcached ignores a limit of 0 and does not check the upper end: never pass more than the limit first seen at
    the engine's start, beyond which it has no address space.
    """
    if limit_bytes <= 0:
        raise ValueError(f"kvcached ignores a limit of {limit_bytes} bytes")
    _rewrite(directory, ipc_name, limit_bytes=limit_bytes)


def write(
    directory: Path | str, ipc_name: str, *, used_bytes: int | None = None, prealloc_bytes: int | None = None
) -> None:
    """Publish what an engine holds; what is not given stays."""
    _rewrite(directory, ipc_name, used_bytes=used_bytes, prealloc_bytes=prealloc_bytes)


def sweep(directory: Path | str, ipc_name: str) -> None:
    """Remove what a dead engine left: its segment and the sockets of its tensor-parallel workers."""
    _path(directory, ipc_name).unlink(missing_ok=True)
    shutil.rmtree(socket_dir(ipc_name), ignore_errors=True)


def socket_dir(ipc_name: str) -> Path:
    """Where kvcached puts the sockets of tensor-parallel workers."""
    digest = uuid.uuid5(uuid.NAMESPACE_DNS, ipc_name).hex[:8]
    return SOCKET_ROOT / f"kvcached-tp-{ipc_name}-{digest}"


def _rewrite(
    directory: Path | str,
    ipc_name: str,
    *,
    limit_bytes: int | None = None,
    used_bytes: int | None = None,
    prealloc_bytes: int | None = None,
) -> None:
    wanted = (limit_bytes, used_bytes, prealloc_bytes)
    try:
        descriptor = os.open(_path(directory, ipc_name), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise SegmentMissing(f"there is no segment {ipc_name}", ipc_name=ipc_name) from error
    except PermissionError as error:
        raise SegmentMissing(f"segment {ipc_name} belongs to another user", ipc_name=ipc_name) from error
    try:
        with _exclusive(descriptor, ipc_name):
            record = os.pread(descriptor, _LAYOUT.size + 1, 0)
            if len(record) != _LAYOUT.size:
                raise SegmentMissing(f"{ipc_name} is not a segment of kvcached", ipc_name=ipc_name)
            held = _LAYOUT.unpack(record)
            os.pwrite(descriptor, _LAYOUT.pack(*(h if w is None else w for h, w in zip(held, wanted, strict=True))), 0)
    finally:
        os.close(descriptor)


@contextmanager
def _exclusive(descriptor: int, ipc_name: str) -> Iterator[None]:
    if not _lock(descriptor, fcntl.LOCK_EX, _WRITE_LOCK_SECONDS):
        raise SegmentBusy(f"segment {ipc_name} stays locked by another process", ipc_name=ipc_name)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lock(descriptor: int, kind: int, seconds: float) -> bool:
    """Take the lock within `seconds`, or answer False. Polls, for `flock` knows no timeout."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.001)


def _path(directory: Path | str, ipc_name: str) -> Path:
    return Path(_named(directory, ipc_name))


def _named(directory: Path | str, ipc_name: str) -> str:
    """The same as text: a node's loop opens a hundred segments a second, and a Path costs more than that."""
    if not _NAME.match(ipc_name):
        raise ValueError(f"{ipc_name!r} is not the name of a segment")
    return f"{directory}/{ipc_name}"
