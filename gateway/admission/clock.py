"""When a call began, and where its time went."""

import time
from typing import Any

from gateway.metering.trail import MESSAGE_LETTERS, MOST_STEPS, REFUSED, Step


class CallClock:
    """`began` is of `time.monotonic`; the rest are sums over everything that was tried for the call."""

    __slots__ = ("began", "gpu_seconds", "queue_seconds", "trail", "wake_seconds")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.wake_seconds = 0.0
        self.queue_seconds = 0.0
        self.gpu_seconds = 0.0
        self.trail: list[Step] | None = None
        """What the call waited for, or asked in vain; None for most calls, which wait for nothing."""

    def keep(self, what: str, began: float, deployment: str, **known: Any) -> float:
        """A step that began then has ended now, after the seconds returned; of very many the first ones are kept."""
        seconds = time.monotonic() - began
        step = Step(what, began - self.began, seconds, deployment, **known)
        if self.trail is None:
            self.trail = [step]
        elif len(self.trail) < MOST_STEPS:
            self.trail.append(step)
        return seconds

    def refuse(self, deployment: str, code: str, message: str) -> None:
        """The last step of a call that gets no answer."""
        after = time.monotonic() - self.began
        step = Step(REFUSED, after, 0.0, deployment, code=code, message=message[:MESSAGE_LETTERS])
        self.trail = [*(self.trail or ()), step]
