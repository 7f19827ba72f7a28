"""Sees an answer's bytes go by: what it says it used, whether it says that it failed, when there was content."""

import re
import time
from collections import deque
from typing import Any

import msgspec

from gateway.errors import AnswerIncomplete, EngineFailed
from gateway.wire import usage
from gateway.wire.scan import Scan
from gateway.wire.usage import UNKNOWN, Said
from models_app.errors import EngineRefused

EVENT_BYTES = 1 << 20
"""What a longer event says of usage stays unknown."""
HEAD_BYTES = 2048
LAST_PIECES = 4

_ENDS = (b"\n\n", b"\r\n\r\n")
_END = re.compile(rb"\r?\n\r?\n")
_CHAT = b'"content":"'
_CHAT_LENGTH = len(_CHAT)
_CONTENT = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|delta|arguments|partial_json)": ?"[^"]'
).search
_RESPONSE_ID = re.compile(rb'"id": ?"([A-Za-z0-9_.-]{1,128})"').search
_ABORTED = re.compile(rb'"finish_reason": ?"abort"').search
_DONE = re.compile(
    rb'^data: ?\[DONE\]|"type": ?"(?:message_stop|error|response\.(?:completed|incomplete|failed|cancelled))"',
    re.MULTILINE,
).search
_FINISHED = re.compile(rb'"finish_reason": ?"|"choices": ?\[ ?\]').search


class _Nested(msgspec.Struct, gc=False):
    usage: Said | None = None


class _Event(msgspec.Struct, gc=False):
    """What may be told in an event; quoted inside generated text it is only text."""

    type: Any = None
    usage: Said | None = None
    error: Any = None
    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct, gc=False):
    usage: Said | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_nested = msgspec.json.Decoder(_Nested).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class WholeTap:
    """Of an answer that is one JSON object. Values of the class, so that it costs next to nothing."""

    content_at: float | None = None
    pieces = 0
    gap_seconds: float | None = None
    longest_gap_seconds: float | None = None
    between_events = False
    usage = UNKNOWN
    lacks_end = False
    _first = b""
    _scan: Scan | None = None
    _aborted = False

    def see(self, data: bytes) -> bool:
        """Called for every piece on its way to the client."""
        if not self._first:
            self._first = data
            return True
        if self._scan is None:
            self._scan = Scan()
            self._scan.feed(self._first)
        self._scan.feed(data)
        self._aborted = self._aborted or _ABORTED(data) is not None
        return True

    def end(self, *, expected: bool) -> str | None:
        """The answer is complete; the code of its failure, if it says itself that it failed."""
        answer = self._answer()
        if answer is None:
            return None
        if answer.usage is not None:
            self.usage = usage.of(answer.usage)
        if answer.error is not None:
            return _failure(answer.error)
        aborted = self._aborted or (b'"abort"' in self._first and _ABORTED(self._first))
        return AnswerIncomplete.code if aborted else None

    def _answer(self) -> _Answer | None:
        try:
            if self._scan is None:
                return _decode_answer(self._first)
            values = self._scan.values
            said = usage.decode(values[b"usage"]) if b"usage" in values else None
            return _Answer(said, msgspec.json.decode(values[b"error"]) if b"error" in values else None)
        except (msgspec.DecodeError, UnicodeDecodeError):  # no JSON, or usage of another kind
            return None

    def response_id(self) -> str | None:
        """The first id in the answer: that of a stored response."""
        return _response_id(self._first)


class StreamTap:
    """Of a stream of events."""

    content_at: float | None = None
    pieces = 0
    usage = UNKNOWN
    lacks_end = False
    """Known at the end: whether the stream has no end of its own."""
    _said: Said | None = None
    _failure: str | None = None
    _longest = 0.0
    _last_at = 0.0
    _first = b""
    _missed = False

    def __init__(self) -> None:
        self._held = bytearray()
        """An event whose end is to come."""
        self._last: deque[bytes] = deque(maxlen=LAST_PIECES)

    def see(self, data: bytes) -> bool:
        """Called for every piece on its way to the client: searches, and parses only what may tell something.

        True when these are whole events that tell nothing of usage.
        """
        # A plain search finds what most pieces hold three times as fast as the expression that knows every dialect.
        place = data.find(_CHAT) + _CHAT_LENGTH
        if (place >= _CHAT_LENGTH and data[place : place + 1] not in b'"') or _CONTENT(data):
            now = time.monotonic()
            if self.content_at is None:
                self.content_at = now
            elif now - self._last_at > self._longest:
                self._longest = now - self._last_at
            self._last_at = now
            self.pieces += 1
        if not self._held and data.endswith(_ENDS) and b'"usage"' not in data and b'"error"' not in data:
            self._last.append(data)
            return True
        self._look(data)
        return False

    @property
    def gap_seconds(self) -> float | None:
        """Mean time between pieces of content; None with fewer than two."""
        if self.content_at is None or self.pieces < 2:
            return None
        return (self._last_at - self.content_at) / (self.pieces - 1)

    @property
    def longest_gap_seconds(self) -> float | None:
        """This is the longest time in seconds between pieces of content; None means fewer than two pieces."""
        return self._longest if self.pieces > 1 else None

    @property
    def between_events(self) -> bool:
        """Whether the last byte ended an event, so that another may follow."""
        return not self._held

    def response_id(self) -> str | None:
        """The first id in the answer: that of a stored response."""
        return _response_id(b"".join((*self._last, self._held)))

    def end(self, *, expected: bool) -> str | None:
        """The answer is complete; the code of its failure, if it says that it failed, or lacks the end it should have.

        `expected` is whether a stream was asked for that has an end of its own.
        """
        if self._held and not self._missed:
            self._events(bytes(self._held))
        if self._said is not None:
            self.usage = usage.of(self._said)
        if self._failure is not None:
            return self._failure
        last = b"".join((*self._last, self._held))
        self.lacks_end = expected and not self._missed and not self._complete(last)
        return AnswerIncomplete.code if self.lacks_end or _ABORTED(last) else None

    def _complete(self, last: bytes) -> bool:
        """By the dialect's own mark; or by its usage, behind the last of its content."""
        return _DONE(last) is not None or (self._said is not None and _FINISHED(last) is not None)

    def _look(self, data: bytes) -> None:
        """Pieces that are no whole events are put together first."""
        held = self._held
        start = max(0, len(held) - 3)
        held += data
        end = max(0 if (place := held.rfind(each, start)) < 0 else place + len(each) for each in _ENDS)
        if not end:
            if len(held) > EVENT_BYTES:
                self._missed = True
                del held[:-3]
            return
        events = bytes(held[:end])
        del held[:end]
        self._last.append(events)
        self._events(events)

    def _events(self, data: bytes) -> None:
        if b'"usage"' in data or b'"error"' in data:
            for event in _END.split(data):
                if b'"usage"' in event or b'"error"' in event:
                    self._event(event)

    def _event(self, event: bytes) -> None:
        answer = read_event(event)
        if answer is None:
            return
        for said in (answer.usage, _nested(answer.message), _nested(answer.response)):
            if said is not None:
                anthropic = self._said is not None and said.prompt_tokens is None
                self._said = usage.merged(self._said, said) if self._said is not None and anthropic else said
        if (failure := failure_of(answer)) is not None:
            self._failure = failure


def read_event(event: bytes) -> _Event | None:
    """What an event tells; None when it is no JSON object, or of another kind."""
    lines = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
    try:
        return _decode_event(b"\n".join(lines) if lines else event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def failure_of(event: _Event) -> str | None:
    """The code of the failure that an event tells."""
    if event.error is not None:
        return _failure(event.error)
    return EngineFailed.code if event.type in ("error", "response.failed") else None


def first_failure(data: bytes) -> str | None:
    """The code of the failure that the first event tells; comments are no events."""
    for event in _END.split(data):
        if event and not event.startswith(b":"):
            answer = read_event(event)
            return None if answer is None else failure_of(answer)
    return None


def has_event(data: bytes) -> bool:
    """Whether a whole event is there, comments aside."""
    *whole, _ = _END.split(data)
    return any(event and not event.startswith(b":") for event in whole)


def _nested(data: msgspec.Raw | msgspec.UnsetType) -> Said | None:
    if data is msgspec.UNSET:
        return None
    try:
        return _decode_nested(data).usage
    except msgspec.DecodeError:
        return None


def _failure(error: Any) -> str:
    """A code of 4xx is the caller's fault, as a status of 4xx would be."""
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return EngineRefused.code if len(code) == 3 and code.startswith("4") else EngineFailed.code


def _response_id(data: bytes) -> str | None:
    match = _RESPONSE_ID(data, 0, HEAD_BYTES)
    return match[1].decode() if match else None
