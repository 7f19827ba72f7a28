"""When windows open and close: recurrences on a wall clock, decided as instants in UTC. Pure: the clock is an argument.

The library does the arithmetic of cron on a clock without a zone; what a change of the clocks means is decided here.

* Where the hour field is `*`, a window opens whenever the clock shows a matching time: twice in an hour that comes
  twice, and not at a time that is skipped. Otherwise it opens once a day for each time that it names: the first time of
  two, and where its time is skipped, when the skipped hour is over.
* A duration counts real seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from heapq import heappop, heappush
from itertools import islice, pairwise, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from models_app.policy.windows.zones import zone
from sardeenz.errors import InvalidSpec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_CRON_DAYS = dict(zip(DAYS, (1, 2, 3, 4, 5, 6, 0), strict=True))
_FARTHEST_SHIFT = timedelta(hours=26)
"""No clock of any zone was ever further from where it had been."""
_LOOK_BACK = (timedelta(hours=2), timedelta(days=2))
MOST_MERGED = 100
"""So many openings that each begin before the last one closed are followed one by one; after them, day by day."""
YEAR = timedelta(days=400)
"""What shows no gap in so long, with every month and both changes of the clocks in it, never closes."""
_ANY = datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)

Shift = Literal["", "skipped", "first_of_two", "second_of_two"]


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When something opens, and for how long. Either five cron fields, or days of the week with a time."""

    zone: str
    duration_seconds: float
    cron: str = ""
    weekdays: tuple[str, ...] = ()
    at: time | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def expression(self) -> str:
        """The openings as five cron fields, also where days and a time were given."""
        if self.cron or self.at is None:
            return self.cron
        days = ",".join(str(_CRON_DAYS[day]) for day in self.weekdays)
        return f"{self.at.minute} {self.at.hour} * * {days}"

    @property
    def every_hour(self) -> bool:
        """Whether it follows the clock through every hour, so that no hour of its own can be skipped or doubled."""
        return self.expression.split()[1] in ("*", "*/1")


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """One time that a window opens; `wall` is what its clock shows, or would show if it were not skipped."""

    opens_at: datetime
    closes_at: datetime
    wall: datetime
    shift: Shift = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A window at one instant: since when it is open and until when, or closed; and its next opening.

    One that is open and has no end never closes.
    """

    since: datetime | None
    until: datetime | None
    next: Opening | None

    @property
    def open(self) -> bool:
        return self.since is not None

    @property
    def edge(self) -> datetime | None:
        """When it opens or closes next; nothing where it never does."""
        return self.until if self.open else self.next.opens_at if self.next else None


def check(recurrence: Recurrence) -> None:
    """Raise InvalidSpec, in words and with the field at fault, where it cannot be read or never opens."""
    zone(recurrence.zone)
    if not recurrence.cron:
        return
    count = len(recurrence.cron.split())
    if count != len(FIELDS):
        seconds = "; windows open at whole minutes, so leave the seconds out" if count == len(FIELDS) + 1 else ""
        named = ", ".join(FIELDS)
        raise InvalidSpec(f"a cron expression has five fields ({named}), and this has {count}{seconds}", field="cron")
    try:
        CronSim(recurrence.cron, _ANY)
    except CronSimError as error:
        raise InvalidSpec(f"{_cron_words(str(error))} in {recurrence.cron!r}", field="cron") from error
    if next(_walls(recurrence.expression, _ANY), None) is None:
        raise InvalidSpec(f"no day of the next 50 years matches {recurrence.cron!r}", field="cron")


def _cron_words(text: str) -> str:
    """The library says which field is at fault; people are told what that field may hold."""
    may_be = {
        "minute": "0 to 59",
        "hour": "0 to 23",
        "day-of-month": "1 to 31, L for the last, in a month that has it",
        "month": "1 to 12 or JAN to DEC",
        "day-of-week": "0 to 7 or SUN to SAT",
    }
    field = text.lower().removeprefix("bad ")
    return f"the {field.replace('-', ' ')} is not one: {may_be[field]}" if field in may_be else text.lower()


def openings(recurrence: Recurrence, after: datetime) -> Iterator[Opening]:
    """Every opening later than `after`, in order; none outside the time for which the recurrence is valid."""
    first = after if recurrence.valid_from is None else max(after, recurrence.valid_from - timedelta(microseconds=1))
    last: datetime | None = None
    for opening in _in_order(recurrence, first):
        if recurrence.valid_until is not None and opening.opens_at >= recurrence.valid_until:
            return
        if opening.opens_at > first and opening.opens_at != last:
            last = opening.opens_at
            yield opening


def _in_order(recurrence: Recurrence, after: datetime) -> Iterator[Opening]:
    """By instant: the second of two equal wall times comes after later wall times of the first."""
    here = zone(recurrence.zone)
    held: list[Opening] = []
    for wall in _walls(recurrence.expression, after.astimezone(here).replace(tzinfo=None) - _FARTHEST_SHIFT):
        for opening in _instants(recurrence, wall):
            heappush(held, opening)
        reached = wall.replace(tzinfo=here).astimezone(UTC)
        while held and held[0].opens_at <= reached:
            yield heappop(held)
    while held:
        yield heappop(held)


def _walls(expression: str, after: datetime) -> Iterator[datetime]:
    """Matching times of a clock that is never changed, later than `after`."""
    yield from CronSim(expression, after)


def _instants(recurrence: Recurrence, wall: datetime) -> Iterator[Opening]:
    """When a clock of the zone shows `wall`: once, twice, or never."""
    here = zone(recurrence.zone)
    early = wall.replace(tzinfo=here).astimezone(UTC)
    late = wall.replace(tzinfo=here, fold=1).astimezone(UTC)
    if early == late:
        yield _opening(recurrence, early, wall)
    elif early < late:
        yield _opening(recurrence, early, wall, "first_of_two")
        if recurrence.every_hour:
            yield _opening(recurrence, late, wall, "second_of_two")
    elif not recurrence.every_hour:
        yield _opening(recurrence, _change_between(late, early, recurrence.zone), wall, "skipped")


def _opening(recurrence: Recurrence, at: datetime, wall: datetime, shift: Shift = "") -> Opening:
    closes_at = at + timedelta(seconds=recurrence.duration_seconds)
    if recurrence.valid_until is not None:
        closes_at = min(closes_at, recurrence.valid_until)
    return Opening(at, closes_at, wall, shift)


def _change_between(before: datetime, after: datetime, name: str) -> datetime:
    """The instant at which the clocks are changed, to the second."""
    here = zone(name)
    offset = before.astimezone(here).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before).total_seconds() // 2)
        before, after = (middle, after) if middle.astimezone(here).utcoffset() == offset else (before, middle)
    return after


def standing(recurrence: Recurrence, now: datetime) -> Standing:
    """How it stands at `now`: openings that begin before the last one closed are one."""
    last = _last_opening(recurrence, now)
    coming = openings(recurrence, now)
    if last is None or last.closes_at <= now:
        return Standing(None, None, next(coming, None))
    since, until = last.opens_at, last.closes_at
    merged = 0
    for opening in islice(coming, MOST_MERGED):
        if opening.opens_at > until:
            return Standing(since, until, opening)
        merged, until = merged + 1, max(until, opening.closes_at)
    closes_at = until if merged < MOST_MERGED else _closes(recurrence, until)
    return Standing(since, closes_at, next(openings(recurrence, closes_at), None) if closes_at is not None else None)


def _closes(recurrence: Recurrence, until: datetime) -> datetime | None:
    """When one that is open until then at least has its first gap; None where it never has one."""
    span, ends = timedelta(seconds=recurrence.duration_seconds), until + YEAR
    for first, last in _without_gaps(recurrence, until - timedelta(days=1), ends):
        if first > until:
            break
        until = max(until, last + span)
        if recurrence.valid_until is not None and until >= recurrence.valid_until:
            return recurrence.valid_until
    return None if until >= ends else until


def _without_gaps(recurrence: Recurrence, after: datetime, before: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The first and the last opening of each day, where that has no gap and no change of the clocks; else each."""
    here = zone(recurrence.zone)
    minute, hour, *days = recurrence.expression.split()
    of_a_day = _walls(f"{minute} {hour} * * *", _ANY - timedelta(minutes=1))
    walls = list(takewhile(lambda wall: wall.date() == _ANY.date(), of_a_day))
    dense = all((later - sooner).total_seconds() <= recurrence.duration_seconds for sooner, later in pairwise(walls))
    for midnight in _walls(f"0 0 {' '.join(days)}", after.astimezone(here).replace(tzinfo=None) - timedelta(days=1)):
        begins, ends = (_instant(midnight + timedelta(days=more), here) for more in (0, 1))
        if begins > before:
            return
        if dense and ends - begins == timedelta(days=1):
            yield _instant(midnight + (walls[0] - _ANY), here), _instant(midnight + (walls[-1] - _ANY), here)
            continue
        for opening in openings(recurrence, begins - timedelta(microseconds=1)):
            if opening.opens_at >= ends:
                break
            yield opening.opens_at, opening.opens_at


def _instant(wall: datetime, here: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=here).astimezone(UTC)


def _last_opening(recurrence: Recurrence, now: datetime) -> Opening | None:
    """The latest at or before `now` that could still be open; near ones are looked for first, for they may be many."""
    longest = timedelta(seconds=recurrence.duration_seconds)
    for back in (*(span for span in _LOOK_BACK if span < longest), longest):
        last = None
        for opening in openings(recurrence, now - back - timedelta(microseconds=1)):
            if opening.opens_at > now:
                break
            last = opening
        if last is not None:
            return last
    return None


def overlap(one: Recurrence, other: Recurrence, now: datetime, *, most: int = 2000) -> tuple[Opening, Opening] | None:
    """The first openings of both that are open at the same time, among so many of each from `now` on."""
    ours, theirs = (iter(_from(each, now, most)) for each in (one, other))
    left, right = next(ours, None), next(theirs, None)
    while left is not None and right is not None:
        if left.opens_at < right.closes_at and right.opens_at < left.closes_at:
            return left, right
        if left.closes_at <= right.closes_at:
            left = next(ours, None)
        else:
            right = next(theirs, None)
    return None


def _from(recurrence: Recurrence, now: datetime, most: int) -> Iterator[Opening]:
    """Those still open at `now`, and so many that come."""
    if (last := _last_opening(recurrence, now)) is not None and last.closes_at > now:
        yield last
    yield from islice(openings(recurrence, now), most)


def words(opening: Opening, name: str) -> str:
    """What a change of the clocks does to this opening; empty where it does nothing."""
    here = zone(name)
    opens, closes = opening.opens_at.astimezone(here), opening.closes_at.astimezone(here)
    match opening.shift:
        case "skipped":
            return f"the clocks skip {opening.wall:%H:%M} that day: it opens after that, at {opens:%H:%M %Z}"
        case "first_of_two":
            return f"{opening.wall:%H:%M} comes twice that day: this is the first, {opens:%H:%M %Z}"
        case "second_of_two":
            return f"{opening.wall:%H:%M} comes twice that day: this is the second, {opens:%H:%M %Z}"
    if opens.utcoffset() != closes.utcoffset():
        return f"the clocks change while it is open: it closes at {closes:%H:%M %Z}"
    return ""
