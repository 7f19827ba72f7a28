"""What one call came to: how it ended, and what it used."""

from gateway.errors import AnswerIncomplete
from gateway.wire.tap import StreamTap, WholeTap
from gateway.wire.usage import CHARGED, NOTHING, UNKNOWN, Usage


class CallAccount:
    """Begun anew with every engine that is asked."""

    __slots__ = ("_in_parts", "expects_end", "outcome", "tap")

    def __init__(self, in_parts: bool) -> None:
        self._in_parts = in_parts
        self.expects_end = False
        """Whether the answer is a stream that has an end of its own."""
        self.outcome = "ok"
        self.tap: StreamTap | WholeTap = StreamTap() if in_parts else WholeTap()

    def begin_anew(self) -> None:
        """Somebody else is asked instead."""
        self.outcome = "ok"
        self.tap = StreamTap() if self._in_parts else WholeTap()

    def judge(self) -> None:
        """The answer came to its end: whether it says itself that it failed.

        Raises AnswerIncomplete for a stream that lacks its end, for its client cannot know.
        """
        failure = self.tap.end(expected=self.expects_end)
        if failure is not None:
            self.outcome = failure
        if self.tap.lacks_end:
            raise AnswerIncomplete("the engine ended the stream before its answer was complete")

    def usage(self, sent: bool, status: int) -> Usage:
        """Tokens by the engine's own count; unknown where it could not say it."""
        if not sent or 400 <= status < 500:
            return NOTHING
        return self.tap.usage if self.outcome == "ok" else UNKNOWN

    def owed(self, usage: Usage) -> int | None:
        """Tokens to be charged: none for what an engine failed at, unknown while nobody has counted."""
        if self.outcome not in CHARGED:
            return 0
        return usage.total
