"""What the page about policies says, once more and without the product: by counting minutes on clocks of zones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Rule:
    """A window of every day: at times of day, or each time that a clock shows a minute of the hour."""

    name: str
    zone: str
    lasts: timedelta
    asks: Mapping[str, Mapping[str, Any]]
    """By deployment or by label."""
    times: tuple[tuple[int, int], ...] = ()
    minute: int = 0
    precedence: int = 0
    until: datetime | None = None

    @property
    def cron(self) -> str:
        """As the product is told."""
        if not self.times:
            return f"{self.minute} * * * *"
        (minute,) = {minute for _, minute in self.times}
        return f"{minute} {','.join(str(hour) for hour, _ in self.times)} * * *"

    def openings(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Every minute is looked at: a time of day is there at the first minute that shows it or a later one."""
        here, moment = ZoneInfo(self.zone), first
        shown: set[tuple[Any, tuple[int, int]]] = set()
        while moment <= last:
            local = moment.astimezone(here)
            for hour, minute in self.times:
                key = local.date(), (hour, minute)
                if key not in shown and (local.hour, local.minute) >= (hour, minute):
                    shown.add(key)
                    if moment > first + timedelta(days=1):  # the first day began somewhere in its middle
                        yield moment
            if not self.times and local.minute == self.minute:
                yield moment
            moment += MINUTE


@dataclass
class Calendar:
    """When each rule is open within some spans of time."""

    rules: tuple[Rule, ...]
    spans: tuple[tuple[datetime, datetime], ...]
    open: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    _last: tuple[datetime, list[tuple[Rule, datetime]]] | None = None

    def __post_init__(self) -> None:
        for rule in self.rules:
            found = [
                (moment, moment + rule.lasts if rule.until is None else min(moment + rule.lasts, rule.until))
                for first, last in self.spans
                for moment in rule.openings(first - timedelta(days=3), last)
                if rule.until is None or moment < rule.until
            ]
            self.open[rule.name] = sorted(set(found))

    def edges(self) -> list[datetime]:
        """Every opening and closing within the spans."""
        edges = {edge for both in self.open.values() for one in both for edge in one}
        return sorted(edge for edge in edges if any(first < edge < last for first, last in self.spans))

    def asked(self, deployment: str, label: str, now: datetime) -> dict[str, Any]:
        """What acts on a deployment: by precedence, a name before a label."""
        told = [
            (rule.precedence, key == deployment, opened, rule.asks[key])
            for rule, opened in self._open_at(now)
            for key in (deployment, label)
            if key in rule.asks
        ]
        acts: dict[str, Any] = {}
        for *_, values in sorted(told, key=lambda one: one[:3]):
            acts |= values
        return acts

    def _open_at(self, now: datetime) -> list[tuple[Rule, datetime]]:
        if self._last is None or self._last[0] != now:
            found = [
                (rule, opened)
                for rule in self.rules
                for opened, closed in self.open[rule.name]
                if opened <= now < closed
            ]
            self._last = now, found
        return self._last[1]


def utc(*clock: int) -> datetime:
    """An instant."""
    return datetime(*clock, tzinfo=UTC)  # type: ignore[misc, arg-type]
