"""An answer on its way to the client: each piece in the callback that brought it, so that no task is woken for it."""

from collections.abc import Callable

from gateway.call import Call
from gateway.strip import Strip


class Relay:
    """Takes the pieces of one answer. `remember` notes who made it, once its id went by, where it is to be stored."""

    __slots__ = ("_call", "_remember", "_reply", "_stream", "_strip", "_tap")

    def __init__(self, call: Call, strip: Strip | None, remember: Callable[[], None] | None) -> None:
        self._call = call
        self._reply = call.reply
        self._tap = call.tap
        self._stream = call.stream
        self._strip = strip
        self._remember = remember

    def __call__(self, data: bytes) -> bool:
        """Pass a piece on. False when the client has enough for now."""
        reply = self._reply
        self._tap.see(data, stream=self._stream)
        if not reply.relayed:
            self._begin()
        return reply.write(data if self._strip is None else self._strip.feed(data))

    def end(self, data: bytes) -> None:
        """Pass the last piece on."""
        if data:
            self._tap.see(data, stream=self._stream)
        if not self._reply.relayed:
            self._begin()
        self._reply.finish(data if self._strip is None else self._strip.feed(data) + self._strip.finish())

    def _begin(self) -> None:
        """Before the first byte leaves: the client may ask for the response as soon as it has its id."""
        self._reply.relayed = True
        self._call.heard()
        if self._remember is not None:
            self._remember()
