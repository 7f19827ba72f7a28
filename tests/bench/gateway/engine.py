"""A fake engine, fast enough that the proxy in front of it is what is measured: `python -m tests.bench.gateway.engine`.

It answers every POST. `max_tokens` is the number of chunks of a stream; `pace=<chunks per second>` in the prompt
spreads them over time, without it they come as fast as they are taken. Each chunk's content is the monotonic clock in
nanoseconds, one for all processes of a machine, so whoever reads it knows how long the chunk was under way.

A plain epoll loop: half the cost per request of the same thing on asyncio, so that it shares a core with the load.
"""

import heapq
import json
import re
import select
import socket
import sys
import time

CHUNKS = 128
CHUNK_BYTES = 200
ANSWER_BYTES = 1024

_LENGTH = re.compile(rb"content-length: *(\d+)")
_CHUNKS = re.compile(rb'"max_tokens": *(\d+)')
_PACE = re.compile(rb"pace=(\d+)")
_STREAM = re.compile(rb'"stream": *true')
_USAGE = re.compile(rb'"include_usage": *true')
_COUNTS = {"prompt_tokens": 11, "completion_tokens": 42, "total_tokens": 53}
_CLOCK = b"#" * 19
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _answer() -> bytes:
    """A chat completion of ANSWER_BYTES, with its head."""
    text = (
        '{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,'
        '"message":{"role":"assistant","content":"%s"},"logprobs":null,"finish_reason":"stop"}],"usage":%s}'
    )
    usage = json.dumps(_COUNTS)
    body = (text % ("w" * (ANSWER_BYTES - len(text % ("", usage))), usage)).encode()
    return _whole(body)


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _framed(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(choices: bytes, more: bytes = b"") -> bytes:
    """One SSE event in the shape of a chat completion chunk."""
    head = b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench"'
    return b'%s,"choices":[%s]%s}\n\n' % (head, choices, more)


def _around_clock() -> tuple[bytes, bytes]:
    """What stands before and after the clock in a chunk of CHUNK_BYTES."""
    choice = b'{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":null%s}'
    short = len(_event(choice % (_CLOCK, b',"pad":""')))
    before, after = _framed(_event(choice % (_CLOCK, b',"pad":"%s"' % (b"-" * (CHUNK_BYTES - short))))).split(_CLOCK)
    return before, after


ANSWER = _answer()
BEFORE, AFTER = _around_clock()
LAST = _framed(_event(b'{"index":0,"delta":{},"finish_reason":"stop"}'))
USAGE = _framed(_event(b"", b',"usage":%s' % json.dumps(_COUNTS).encode()))
DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Connection:
    """One client. It is trusted to say the length of what it sends."""

    def __init__(self, engine: "Engine", client: socket.socket) -> None:
        self.engine = engine
        self.client = client
        self.stream: Stream | None = None
        self.unsent = b""
        self._read = b""

    def readable(self) -> None:
        """Take what came; the end of it ends us."""
        try:
            data = self.client.recv(262144)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.engine.drop(self)
            return
        self._read = self._read + data if self._read else data
        if self.stream is None:
            self.answer_next()

    def answer_next(self) -> None:
        """Answer the next request if it is whole."""
        data = self._read
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _LENGTH.search(data[:end].lower())
        size = end + (int(length[1]) if length else 0)
        if len(data) < size:
            return
        self._read = data[size:]
        if data.startswith(b"GET "):
            self.send(_whole(b'{"status":"ok"}'))
        elif data.find(b'"stream"', end, size) < 0 or _STREAM.search(data, end, size) is None:
            self.send(ANSWER)
        else:
            self.send(_SSE_HEAD)
            self.stream = Stream(self, data[end:size])
            self.stream.step()

    def send(self, data: bytes) -> None:
        """Send now, and keep what the socket does not take."""
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.client.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            return  # the end of it is read next
        if sent < len(data):
            self.unsent = data[sent:]
            self.engine.watch(self, writing=True)

    def writable(self) -> None:
        """Go on with what was kept."""
        data, self.unsent = self.unsent, b""
        self.send(data)
        if not self.unsent:
            self.engine.watch(self, writing=False)
            if self.stream is not None:
                self.stream.go_on()


class Stream:
    """One answer in chunks."""

    def __init__(self, connection: Connection, body: bytes) -> None:
        chunks, pace = _CHUNKS.search(body), _PACE.search(body)
        self._connection = connection
        self._left = int(chunks[1]) if chunks else CHUNKS
        self._seconds = 1 / int(pace[1]) if pace else 0.0
        self._usage = USAGE if _USAGE.search(body) else b""
        self._due = time.monotonic()

    def step(self) -> None:
        """Send a chunk, and see to it that the next one follows."""
        connection = self._connection
        if connection.stream is not self:
            return  # the client left
        if self._left:
            self._left -= 1
            connection.send(b"%s%019d%s" % (BEFORE, time.monotonic_ns(), AFTER))
            if self._seconds:
                self._due += self._seconds
                self._connection.engine.at(self._due, self)
            elif not connection.unsent:
                self.go_on()
        else:
            connection.stream = None
            connection.send(LAST + self._usage + DONE)
            connection.answer_next()

    def go_on(self) -> None:
        """Take the next turn, unless the clock gives it."""
        if not self._seconds:
            self._connection.engine.ready.append(self)


class Engine:
    """The loop."""

    def __init__(self, port: int) -> None:
        self.ready: list[Stream] = []
        self._due: list[tuple[float, int, Stream]] = []
        self._serial = 0
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._epoll.register(self._listener, select.EPOLLIN)

    def run(self) -> None:
        """Until killed."""
        listener = self._listener.fileno()
        while True:
            for number, events in self._epoll.poll(self._patience()):
                if number == listener:
                    self._accept()
                elif (connection := self._connections.get(number)) is not None:
                    if events & select.EPOLLOUT:
                        connection.writable()
                    if events & ~select.EPOLLOUT:
                        connection.readable()
            now, (ready, self.ready) = time.monotonic(), (self.ready, [])
            while self._due and self._due[0][0] <= now:
                ready.append(heapq.heappop(self._due)[2])
            for stream in ready:
                stream.step()

    def at(self, due: float, stream: Stream) -> None:
        """Give the stream its turn at this time of the monotonic clock."""
        self._serial += 1
        heapq.heappush(self._due, (due, self._serial, stream))

    def watch(self, connection: Connection, *, writing: bool) -> None:
        """Whether it waits to write."""
        if connection.client.fileno() in self._connections:
            self._epoll.modify(connection.client, select.EPOLLIN | (select.EPOLLOUT if writing else 0))

    def drop(self, connection: Connection) -> None:
        """Forget a client that left."""
        del self._connections[connection.client.fileno()]
        connection.stream = None
        connection.client.close()

    def _patience(self) -> float:
        """Seconds until somebody's turn. epoll counts milliseconds: paced chunks go in batches, as an engine's do."""
        if self.ready:
            return 0.0
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1.0

    def _accept(self) -> None:
        for _ in range(64):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[client.fileno()] = Connection(self, client)
            self._epoll.register(client, select.EPOLLIN)


if __name__ == "__main__":
    Engine(int(sys.argv[1])).run()
