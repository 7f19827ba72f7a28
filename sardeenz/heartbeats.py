"""Who is there: every service says so in Redis once a second, so that whoever falls silent is missed.

The clock of the writer and that of the reader may be stepped: a word from the future is as good as none.
"""

import json
import os
import socket
import threading
import time
from typing import Any, NamedTuple, cast

from django.conf import settings
from redis import RedisError

from sardeenz.redis import client, key

PERIOD_SECONDS = 1.0
SILENT_SECONDS = 5.0
FORGET_SECONDS = 24 * 3600.0
TICKS = "ticks"
"""Not a process: the regular task that wakes every worker up."""

NAME = key("services")


class Word(NamedTuple):
    """What one service said last."""

    node: str
    name: str
    pid: int
    at: float
    """Unix time."""

    def silent(self, now: float) -> bool:
        """Whether it should have spoken since."""
        return abs(now - self.at) > SILENT_SECONDS


def service_name(otherwise: str) -> str:
    """What this process is called among an installation's services."""
    told = os.environ.get("SUPERVISOR_PROCESS_NAME") or os.environ.get("SARDEENZ_SERVICE", "").rpartition(":")[2]
    return told or otherwise


def field(name: str) -> dict[Any, Any]:
    """The entry of a service of this node, as of now."""
    word = {"pid": os.getpid(), "host": socket.gethostname(), "at": time.time()}
    return {f"{settings.NODE}/{name}": json.dumps(word)}


def say(name: str) -> None:
    """Be heard once. A Redis that is away hears nobody, which is known otherwise."""
    try:
        client().hset(NAME, mapping=field(name))
    except (RedisError, OSError):
        pass


def leave(name: str) -> None:
    """End in order: nobody is to miss this service."""
    try:
        client().hdel(NAME, f"{settings.NODE}/{name}")
    except (RedisError, OSError):
        pass


def heard() -> list[Word]:
    """The last word of everybody who did not leave. Raises RedisError."""
    words, now = [], time.time()
    for name, text in cast("dict[str, str]", client().hgetall(NAME)).items():
        said = json.loads(text)
        node, _, service = name.partition("/")
        word = Word(node, service, int(said["pid"]), float(said["at"]))
        if abs(now - word.at) > FORGET_SECONDS:
            client().hdel(NAME, name)
        else:
            words.append(word)
    return sorted(words)


class Heartbeat:
    """Speaks for a process whose main thread may be busy for a while."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True, name="heartbeat")

    def start(self) -> None:
        """Until `stop`, or the end of the process."""
        self._thread.start()

    def stop(self) -> None:
        """The process ends in order."""
        self._end.set()
        self._thread.join(PERIOD_SECONDS)
        leave(self._name)

    def _speak(self) -> None:
        while not self._end.is_set():
            say(self._name)
            self._end.wait(PERIOD_SECONDS)
