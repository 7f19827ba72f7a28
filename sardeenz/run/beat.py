"""Celery's beat on the clock that only goes forward.

Its own schedulers compare wall clocks, and keep the last runs in a file: one written by a clock that was an hour ahead
silences every tick for that hour. Here nothing is kept: a start runs everything once, a step of the clock nothing.
"""

import time
from collections.abc import Callable
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from sardeenz import heartbeats


class SteadyScheduler(Scheduler):
    """Every entry at its interval of seconds, and a word each second that beat is there."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def install_default_entries(self, data: Any) -> None:
        """None: Celery's own clean-up is for results, and we keep none."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due; the seconds until there is something to do again."""
        heartbeats.say(heartbeats.service_name("beat"))
        entries: dict[str, ScheduleEntry] = self.schedule
        for name, entry in entries.items():
            now = self.clock()
            if self._due.get(name, now) <= now:
                self._due[name] = now + self.app.conf.beat_schedule[name]["schedule"]
                self.apply_entry(entry, producer=self.producer)
        soonest = min((self._due[name] for name in entries), default=self.clock()) - self.clock()
        return min(max(soonest, 0.0), heartbeats.PERIOD_SECONDS)

    def close(self) -> None:
        """Beat's heartbeat is removed when beat ends in order, so that no page calls beat silent."""
        heartbeats.leave(heartbeats.service_name("beat"))
        super().close()
