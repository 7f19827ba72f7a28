"""Waiting for another process: poll with a deadline, never sleep and hope."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(question: Callable[[], T], *, seconds: float = 20.0) -> T:
    """The first true answer; fails the test when none comes."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.01)
    return answer
