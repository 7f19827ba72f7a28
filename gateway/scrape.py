"""One page of metrics for all processes behind one port: a scrape reaches any of them and must tell of all.

Each process keeps a file in one folder. It writes its own before it answers a scrape, so what was once shown is never
taken back: sums grow until the folder is removed, through restarts and without Redis or PostgreSQL. While a process
lives it locks a file beside its own; whoever gets that lock has found a process that ended, and adds its counters to
those of the others that did.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway import exposition
from gateway.metering.tally import Sums
from gateway.outage import Outage
from sardeenz.locks import locked

PUBLISH_SECONDS = 5.0

_ENDED = "ended"


class Ended(msgspec.Struct):
    """The counters of processes that are gone, and which they were: none is counted twice."""

    sums: Sums = msgspec.field(default_factory=Sums)
    names: list[str] = msgspec.field(default_factory=list)


Kept = TypeVar("Kept", Sums, Ended)


class Scrape:
    """This process's part of the page, and the page."""

    def __init__(self, folder: Path, gateway_id: str, own: Callable[[], Sums]) -> None:
        self.outage = Outage("sharing metrics")
        self._folder = folder
        self._name = gateway_id
        self._own = own
        self._lock: int | None = None
        self._publishing = asyncio.Lock()

    async def page(self) -> bytes:
        """All processes' numbers as Prometheus text; this process's alone where the folder cannot be used."""
        async with self._publishing:
            sums = own = self._own()
            with self.outage.watch():
                sums = await asyncio.to_thread(self._exchange, msgspec.msgpack.encode(own))
        return exposition.text(sums)

    async def keep_publishing(self) -> None:
        """Write our numbers every few seconds: a process that is killed loses no more than that."""
        while True:
            await self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def publish(self) -> None:
        """Write them now; also the last thing to do."""
        async with self._publishing:  # an older state never replaces a newer one
            with self.outage.watch():
                await asyncio.to_thread(self._write, msgspec.msgpack.encode(self._own()))

    def _write(self, said: bytes) -> None:
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / f"{self._name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _replace(self._folder / f"{self._name}.sums", said)

    def _exchange(self, said: bytes) -> Sums:
        self._write(said)
        with _alone(self._folder):
            ended = _read(self._folder / _ENDED, Ended)
            sums = Sums()
            gone: list[Path] = []
            for path in self._folder.glob("*.sums"):
                if path.stem in ended.names or _has_ended(path):
                    gone.append(path)
                else:
                    sums.add(_read(path, Sums))
            _bury(self._folder, ended, gone)
        sums.add(ended.sums)
        return sums


def _bury(folder: Path, ended: Ended, gone: list[Path]) -> None:
    """Move counters of ended processes into the common file, then remove theirs; safe to be killed anywhere between."""
    if not gone:
        return
    for path in gone:
        if path.stem not in ended.names:
            last = _read(path, Sums)
            last.gauges.clear()
            last.waits.clear()
            ended.sums.add(last)
    ended.names = [path.stem for path in gone]
    _replace(folder / _ENDED, msgspec.msgpack.encode(ended))
    for path in gone:
        path.with_suffix(".lock").unlink(missing_ok=True)
        path.unlink()


def _read(path: Path, kind: type[Kept]) -> Kept:
    """What was written there; nothing where another version wrote what we cannot read."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return kind()


def _has_ended(path: Path) -> bool:
    """Whether the process that wrote it no longer holds its lock."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _alone(folder: Path) -> AbstractContextManager[bool]:
    """One reader at a time: two would bury the same process twice."""
    return locked(folder / f"{_ENDED}.lock")


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
