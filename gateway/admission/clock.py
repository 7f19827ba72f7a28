"""When a call began, and where its time went."""

import time


class CallClock:
    """`began` is of `time.monotonic`; the rest are sums over everything that was tried for the call."""

    __slots__ = ("began", "gpu_seconds", "queue_seconds", "wake_seconds")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.wake_seconds = 0.0
        self.queue_seconds = 0.0
        self.gpu_seconds = 0.0
