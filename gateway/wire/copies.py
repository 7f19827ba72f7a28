"""A client's answer, copied as it goes out for calls that are captured: all of it, or both its ends."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

END_BYTES = 512 << 10
"""Of an answer, at its beginning and as much at its end. A stream says about 50 bytes for each of text."""


class Kept(NamedTuple):
    """What was kept of some bytes: all in `head`, or both ends and how many are missing between them."""

    head: bytes
    tail: bytes = b""
    missing_bytes: int = 0


class Copy:
    """What one client is told, as far as it is kept. `resize` hears how much that is, and may make it give up."""

    __slots__ = (
        "_asked",
        "_capturing",
        "_head",
        "_resize",
        "_tail",
        "_tail_bytes",
        "given_up",
        "kept_bytes",
        "size_bytes",
    )

    def __init__(
        self, capturing: frozenset[int], asked: tuple[int, ...], resize: Callable[["Copy", int], None]
    ) -> None:
        self._capturing = capturing
        self._asked = asked
        self._resize = resize
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.size_bytes = 0
        self.kept_bytes = 0
        self.given_up = False

    def see(self, data: bytes) -> None:
        """A piece on its way to the client."""
        left = max(END_BYTES - self.size_bytes, 0)
        self.size_bytes += len(data)
        if self.given_up or not data:
            return
        if left:
            self._head.append(data[:left])
        if len(data) > left:
            self._tail.append(data[max(left, len(data) - END_BYTES) :])
            self._tail_bytes += len(self._tail[-1])
            while self._tail_bytes - len(self._tail[0]) >= END_BYTES:
                self._tail_bytes -= len(self._tail.popleft())
        self._resize(self, min(self.size_bytes, END_BYTES) + self._tail_bytes)

    def give_up(self) -> None:
        """Let go of what was kept."""
        self.given_up = True
        self._head.clear()
        self._tail.clear()
        self._resize(self, 0)

    def keeper(self, last_asked: int | None) -> int | None:
        """Whose call it is: of the deployments asked, up to the last, the last that captures."""
        end = self._asked.index(last_asked) + 1 if last_asked in self._asked else len(self._asked)
        return next((each for each in reversed(self._asked[:end]) if each in self._capturing), None)

    def kept(self) -> Kept:
        """All of it, or both its ends."""
        head, tail = b"".join(self._head), b"".join(self._tail)
        missing = self.size_bytes - len(head) - len(tail)
        return Kept(head, tail, missing) if missing else Kept(head + tail)
