"""Takes the usage event out again that the gateway asked for and the client did not."""

import re

import msgspec

HELD_BYTES = 16 * 1024
"""An event longer than this is no usage event: it is let through as it comes."""

_END = re.compile(rb"\n\n|\r\n\r\n")
_ENDS = (b"\n\n", b"\r\n\r\n")
_LONGEST_END = 4
_LIKELY = re.compile(rb'"choices"\s*:\s*\[\s*\]').search


class _Event(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Event).decode


class Strip:
    """Between tap and client: removes the events with empty `choices` and a `usage` object, and nothing else.

    Whole events go on at once; at most one incomplete event is held back.
    """

    __slots__ = ("_held", "_passing")

    def __init__(self) -> None:
        self._held = b""
        self._passing = False

    def feed(self, data: bytes) -> bytes:
        """What of `data`, and of what was held, may go on; maybe nothing yet."""
        if not self._held and data.endswith(_ENDS) and (b'"usage"' not in data or _LIKELY(data) is None):
            return data  # the rule: whole events without usage
        data = self._held + data
        start = at = 0
        kept: list[bytes] = []
        for end in _END.finditer(data):
            at = end.end()
            if self._passing or not _is_usage(data[start:at]):
                kept.append(data[start:at])
            self._passing = False
            start = at
        rest = data[at:]
        self._passing = self._passing or len(rest) > HELD_BYTES
        if self._passing:  # an end may be split, so its first bytes stay
            kept.append(rest[: 1 - _LONGEST_END])
            rest = rest[1 - _LONGEST_END :]
        self._held = rest
        return b"".join(kept)

    def finish(self) -> bytes:
        """What was held when the stream ended: an event without its end, unless that one is about usage too."""
        rest, self._held = self._held, b""
        return rest if self._passing or not _is_usage(rest) else b""


def _is_usage(event: bytes) -> bool:
    if _LIKELY(event) is None:
        return False
    lines = event.splitlines()
    try:
        piece = _decode(b"\n".join(line[5:] for line in lines if line.startswith(b"data:")))
    except msgspec.DecodeError:  # also its ValidationError: another shape
        return False
    return piece.choices == [] and piece.usage is not None
