"""Whether the runner itself kept up: a late clock or a busy core makes an engine look slow."""

import time
from typing import TypedDict

LATE_SECONDS = 0.05
BUSY_RATIO = 0.9


class Health(TypedDict):
    """The runner's own part in what was measured."""

    send_lag_p99_seconds: float | None
    """Of open loops: from the planned time to the moment of sending."""
    cpu_ratio: float
    """Of one core, while calls were made."""
    degraded: list[str]
    """Why the figures may be the runner's; empty where it kept up."""


class Watch:
    """CPU time of this process from its making to `health`."""

    def __init__(self) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()

    def cpu_ratio(self) -> float:
        """Of one core, so far."""
        elapsed = time.monotonic() - self._began
        return (time.process_time() - self._cpu) / elapsed if elapsed > 0 else 0.0


def judge(send_lag_p99_seconds: float | None, cpu_ratio: float) -> Health:
    """Why the runner was the limit, if it was."""
    reasons = []
    if send_lag_p99_seconds is not None and send_lag_p99_seconds > LATE_SECONDS:
        late = send_lag_p99_seconds * 1000
        reasons.append(f"one call in a hundred was sent {late:.0f} ms late or more: the runner could not keep up")
    if cpu_ratio > BUSY_RATIO:
        reasons.append(f"the runner used {cpu_ratio:.0%} of a core: what it measured may be its own delay")
    return Health(send_lag_p99_seconds=send_lag_p99_seconds, cpu_ratio=cpu_ratio, degraded=reasons)
