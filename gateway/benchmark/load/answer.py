"""One call and what came back, piece by piece. Times are seconds of the monotonic clock."""

from typing import Any, ClassVar

import msgspec

from gateway.benchmark.load.plan import Kind

SHOWN_CHARACTERS = 200


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: Any = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)


class Answer:
    """What became of one call. A piece is an event with content, reasoning or a tool call: never the role alone.

    `gaps` holds, for each arrival after the first, the seconds since the one before and the tokens that came with it;
    the tokens are None where the engine does not count them as it goes. Pieces that came in one read are one arrival:
    to count a gap of 0 between them would halve the median of a busy connection.
    """

    __slots__ = (
        "_last_at",
        "_left",
        "_seen_tokens",
        "code",
        "completion_tokens",
        "done",
        "ended_at",
        "first_answer_at",
        "first_at",
        "first_tokens",
        "gaps",
        "last_at",
        "message",
        "pieces",
        "planned_at",
        "prompt_tokens",
        "sent_at",
        "status",
        "streams",
    )
    STREAMED: ClassVar[frozenset[Kind]] = frozenset({"chat", "completions"})

    def __init__(self, planned_at: float, kind: Kind = "chat") -> None:
        self.planned_at = planned_at
        self.streams = kind in self.STREAMED
        self.sent_at = planned_at
        self.status = 0
        self.code = ""
        """Empty once all came; else why not."""
        self.message = ""
        self.first_at: float | None = None
        self.first_answer_at: float | None = None
        self.last_at: float | None = None
        self.ended_at = planned_at
        self.pieces = 0
        self.first_tokens: int | None = None
        self.gaps: list[tuple[float, int | None]] = []
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.done = False
        self._left = b""
        self._seen_tokens: int | None = 0

    def read(self, body: bytes, now: float) -> None:
        """Some bytes of the body arrived. A stream is read line by line; anything else is kept until its end."""
        text = self._left + body if self._left else body
        if not self.streams or self.status != 200:
            self._left = text
            return
        lines = text.split(b"\n")
        self._left = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._take(line[5:].strip(), now)

    def end(self, now: float) -> None:
        """The answer came to the end that HTTP gives it."""
        self.ended_at = now
        if self.status != 200:
            self.code, self.message = _refusal(self._left, self.status)
        elif not self.streams:
            self._read_whole()
        elif not self.done and not self.code:
            self.code = "answer_incomplete"
        self._left = b""

    def fail(self, code: str, now: float, message: str = "") -> None:
        """The answer ended early; a failure that the engine told before stays."""
        self.ended_at = now
        self.code = self.code or code
        self.message = self.message or message[:SHOWN_CHARACTERS]

    @property
    def ok(self) -> bool:
        """Whether the whole answer came and was good."""
        return not self.code

    def _take(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = _event.decode(data)
        except msgspec.DecodeError as error:
            self.code, self.message = "unreadable_answer", str(error)[:SHOWN_CHARACTERS]
            return
        if event.error is not None:
            self.code, self.message = _told(event.error, "engine_failed")
            return
        tokens = self._count(event.usage)
        answers, reasons = _brings(event.choices)
        if answers or reasons:
            self._piece(now, tokens, answers=answers)

    def _count(self, usage: _Usage | None) -> int | None:
        """The tokens that came since the count before; None where this event does not say."""
        if usage is None:
            return None
        self.prompt_tokens = usage.prompt_tokens if usage.prompt_tokens is not None else self.prompt_tokens
        total = usage.completion_tokens
        if total is None:
            return None
        self.completion_tokens = total
        return total

    def _piece(self, now: float, total: int | None, *, answers: bool) -> None:
        """`total` is the engine's count up to and with this piece; a piece it did not count leaves the next unknown."""
        known = self._seen_tokens is not None and total is not None and total > self._seen_tokens
        tokens = total - self._seen_tokens if known and total is not None and self._seen_tokens is not None else None
        self._seen_tokens = total
        if self.last_at is None:
            self.first_at = now
            self.first_tokens = tokens
        elif now > self.last_at:
            self.gaps.append((now - self.last_at, tokens))
        elif self.gaps:
            gap, before = self.gaps[-1]
            self.gaps[-1] = gap, _sum(before, tokens)
        else:
            self.first_tokens = _sum(self.first_tokens, tokens)
        if answers and self.first_answer_at is None:
            self.first_answer_at = now
        self.last_at = now
        self.pieces += 1

    def _read_whole(self) -> None:
        try:
            event = _event.decode(self._left)
        except msgspec.DecodeError as error:
            self.code, self.message = "unreadable_answer", str(error)[:SHOWN_CHARACTERS]
            return
        if event.error is not None:
            self.code, self.message = _told(event.error, "engine_failed")
        self._count(event.usage)


def _brings(choices: list[_Choice]) -> tuple[bool, bool]:
    """Whether an event brings a part of the answer, and whether it brings reasoning."""
    answers = reasons = False
    for choice in choices:
        delta = choice.delta
        if choice.text or (delta is not None and (delta.content or delta.tool_calls)):
            answers = True
        elif delta is not None and (delta.reasoning_content or delta.reasoning):
            reasons = True
    return answers, reasons


def _refusal(body: bytes, status: int) -> tuple[str, str]:
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return f"http_{status}", body[:SHOWN_CHARACTERS].decode(errors="replace")
    error = said.get("error", said) if isinstance(said, dict) else said
    return _told(error, f"http_{status}")


def _told(error: Any, otherwise: str) -> tuple[str, str]:
    """The code and the words of an error as OpenAI's envelope has them."""
    if not isinstance(error, dict):
        return otherwise, str(error)[:SHOWN_CHARACTERS]
    code = error.get("code")
    named = code if isinstance(code, str) and code.isidentifier() else otherwise
    return named, str(error.get("message") or "")[:SHOWN_CHARACTERS]


def _sum(some: int | None, more: int | None) -> int | None:
    """Of tokens; unknown where one is."""
    return None if some is None or more is None else some + more
