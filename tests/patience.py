"""Waiting for another process: poll with a deadline, never sleep and hope. And a port for it to listen on."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def until(ask: Callable[[], Found | None], what: str = "what was waited for", seconds: float = 120) -> Found:
    """Ask again and again until there is a true answer; fail with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
