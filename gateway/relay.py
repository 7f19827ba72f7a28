"""An answer on its way to the client: each piece in the callback that brought it, so that no task is woken for it."""

from collections.abc import Callable

from gateway.call import Call
from gateway.errors import AnswerIncomplete
from gateway.wire.strip import Strip


class Relay:
    """Takes the pieces of one answer. `remember` notes who made it, once its id went by, where it is to be stored."""

    __slots__ = ("_call", "_remember", "_reply", "_strip", "_tap")

    def __init__(self, call: Call, strip: Strip | None, remember: Callable[[], None] | None) -> None:
        self._call = call
        self._reply = call.reply
        self._tap = call.account.tap
        self._strip = strip
        self._remember = remember

    def __call__(self, data: bytes) -> bool:
        """Pass a piece on. False when the client has enough for now."""
        reply = self._reply
        plain = self._tap.see(data)
        if not reply.relayed:
            self._begin()
        return reply.write(data if plain or self._strip is None else self._strip.feed(data))

    def end(self, data: bytes) -> None:
        """Pass the last piece on. Raises AnswerIncomplete instead of ending a stream that lacks its end."""
        if data:
            self._tap.see(data)
        if not self._reply.relayed:
            self._begin()
        if self._strip is not None:
            data = self._strip.feed(data) + self._strip.finish()
        try:
            self._call.judge()
        except AnswerIncomplete:
            self._reply.write(data)
            raise
        self._reply.finish(data)

    def _begin(self) -> None:
        """Before the first byte leaves: the client may ask for the response as soon as it has its id."""
        self._reply.relayed = True
        self._call.stop_reminding()
        if self._remember is not None:
            self._remember()
