"""Follows JSON that goes by in pieces, however large, and keeps what stands at a few of its outermost names."""

import re

KEPT_BYTES = 16 * 1024
"""An object longer than this is not kept."""
_NAME_BYTES = 32

_RUN = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL).match
"""All up to the next bracket, or to a string that ends in a later piece."""
_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL).match
_NAME = re.compile(rb'"(usage|error)"\s*+:\s*+\Z').search


class Scan:
    """Of an object that is valid JSON, `values` has the objects at `usage` and `error`: not those deeper inside."""

    __slots__ = ("_before", "_depth", "_name", "_quoted", "_rest", "_taken", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._depth = 0
        self._quoted = False
        self._rest = b""  # a backslash whose character comes with the next piece
        self._before = b""
        self._name = b""
        self._taken = bytearray()

    def feed(self, data: bytes) -> None:
        """Pieces come in order and may be cut anywhere, also inside a name or an escape."""
        data = self._rest + data
        self._rest = b""
        at = start = 0
        while at < len(data):
            if self._quoted:
                at = self._text(data, at)
                continue
            run = _RUN(data, at)
            at = run.end() if run else at
            if at == len(data):
                break
            if data[at : at + 1] == b'"':
                self._quoted = True
            elif data[at] in b"[{":
                start = self._opened(data, at, start)
            else:
                self._closed(data, at, start)
            at += 1
        whole = len(data) - len(self._rest)
        if self._name:
            self._take(data[start:whole])
        self._before = (self._before + data[max(0, whole - _NAME_BYTES) : whole])[-_NAME_BYTES:]

    def _text(self, data: bytes, at: int) -> int:
        """Past the rest of a string, if it ends here."""
        text = _TEXT(data, at)
        at = text.end() if text else at
        if data[at : at + 1] == b'"':
            self._quoted = False
        elif at < len(data):
            self._rest = data[at:]
            return len(data)
        return at + 1

    def _opened(self, data: bytes, at: int, start: int) -> int:
        """From where on what is kept is in this piece."""
        self._depth += 1
        if self._depth == 2 and data[at : at + 1] == b"{":
            name = _NAME((self._before + data[max(0, at - _NAME_BYTES) : at])[-_NAME_BYTES:])
            if name is not None:
                self._name, self._taken = name[1], bytearray()
                return at
        return start

    def _closed(self, data: bytes, at: int, start: int) -> None:
        self._depth -= 1
        if self._depth == 1 and self._name:
            self._take(data[start : at + 1])
            if self._name:
                self.values[self._name] = bytes(self._taken)
            self._name = b""

    def _take(self, data: bytes) -> None:
        self._taken += data
        if len(self._taken) > KEPT_BYTES:
            self._name = b""
