"""What loads, wakes, sleeps, drains and stops took lately: the visits to states that the history tells of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from statistics import median

from django.db.models import F

from models_app.models import Replica, Transition
from models_app.states import State

RECENT = 5000
"""So many entries of the history are looked at."""
LAST = 5
"""The median of so many visits counts."""

Visit = tuple[str, State, State]
Entry = tuple[int, str, str, str, datetime]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds; None where nobody has measured them."""

    load: float | None = None
    wake: float | None = None
    sleep: float | None = None
    """From the first to the last moment of its drain and sleep."""
    stop: float | None = None
    drain: float | None = None

    def filled(self, other: "Costs") -> "Costs":
        """The same, with what `other` knows besides."""
        unknown = [each.name for each in fields(self) if getattr(self, each.name) is None]
        return replace(self, **{name: getattr(other, name) for name in unknown})


UNKNOWN = Costs()


@dataclass(frozen=True, slots=True)
class Learnt:
    """The last visits to states, by deployment's name."""

    visits: Mapping[Visit, list[float]] = field(default_factory=dict)

    def of(self, name: str, row: Replica | None = None, *, level: int = 1) -> Costs:
        """What to expect of a deployment's replica, of this one where it has a row."""
        profile = row.profile if row is not None else {}
        slept = row is None or level != 1 or profile.get("first_sleep_of") == row.generation
        first = None if slept else profile.get("first_sleep_seconds")
        return Costs(
            load=self._seconds(name, State.STARTING, State.READY, profile.get("load_seconds")),
            wake=self._seconds(name, State.WAKING, State.READY, profile.get("wake_seconds")),
            sleep=first or self._seconds(name, State.DRAINING, State.SLEEPING, profile.get("sleep_seconds")),
            stop=self._seconds(name, State.STOPPING, State.STOPPED, None),
            drain=self._seconds(name, State.DRAINING, State.STOPPING, None),
        )

    def _seconds(self, name: str, old: State, new: State, measured: float | None) -> float | None:
        known = self.visits.get((name, old, new))
        return median(known[-LAST:]) if known else measured


def learnt() -> Learnt:
    """As the newest entries of the history tell it."""
    entries = Transition.objects.exclude(old=F("new")).filter(replica__isnull=False).order_by("-id")
    told = entries.values_list("replica", "deployment_name", "old", "new", "at")[:RECENT]
    return Learnt(visits(reversed(list(told))))


def visits(entries: Iterable[Entry]) -> dict[Visit, list[float]]:
    """Seconds in each state by deployment's name, from where, and to where; the oldest visit first."""
    entered: dict[int, tuple[str, datetime]] = {}
    seconds: dict[Visit, list[float]] = defaultdict(list)
    for replica, name, old, new, at in entries:
        state, since = entered.get(replica, ("", at))
        if state and state == old:
            seconds[name, State(old), State(new)].append((at - since).total_seconds())
        entered[replica] = new, at
    return dict(seconds)
