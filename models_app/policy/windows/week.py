"""One week of windows and overrides, as pages draw it: when each begins and ends, and what it says of whom."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal, TypedDict

from models_app.models import Override, Window
from models_app.policy.windows import calendar, reading, sentences
from models_app.policy.windows.calendar import Recurrence
from models_app.policy.windows.zones import database, zone

MOST_SPANS = 200
"""So many times of one window are drawn in a week; more would be a smear."""
DAYS = 7

Span = tuple[datetime, datetime]
Lanes = dict[tuple[str, str], list["SpanRow"]]


class SpanRow(TypedDict):
    """A stretch of time in which a window or an override says something of a lane; `id` is the window's or its own."""

    by: Literal["window", "override"]
    id: int
    name: str
    begins_at: str
    ends_at: str
    times: str
    words: str
    note: str
    precedence: int
    paused: bool


class LaneRow(TypedDict):
    """Of whom spans speak: a deployment, or all that carry a label."""

    kind: Literal["deployment", "label"]
    name: str
    spans: list[SpanRow]


class DayRow(TypedDict):
    """A day of the zone's clock, which has 23 or 25 hours where the clocks change."""

    date: str
    begins_at: str
    ends_at: str


class WeekRow(TypedDict):
    """A week from Monday on, in the time of one zone; `notes` say what is not drawn."""

    zone: str
    days: list[DayRow]
    lanes: list[LaneRow]
    notes: list[str]
    zone_database: str


def of(day: date, name: str, now: datetime) -> WeekRow:
    """The week that has this day. Raises InvalidSpec for a zone that nobody knows."""
    monday = day - timedelta(days=day.weekday())
    midnights = [_midnight(monday + timedelta(days=number), name) for number in range(DAYS + 1)]
    lanes: Lanes = defaultdict(list)
    notes = [note for window in _windows() if (note := _draw(window, midnights[0], midnights[-1], name, lanes))]
    for word in Override.objects.filter(until__gt=max(now, midnights[0])).select_related("deployment").order_by("pk"):
        if word.created_at < midnights[-1]:
            lanes["deployment", word.deployment.name].append(_word(word, name))
    return {
        "zone": name,
        "days": [
            {"date": f"{monday + timedelta(days=number)}", "begins_at": _text(begins), "ends_at": _text(ends)}
            for number, (begins, ends) in enumerate(pairwise(midnights))
        ],
        "lanes": [
            {"kind": "label" if kind == "label" else "deployment", "name": of_whom, "spans": spans}
            for (kind, of_whom), spans in sorted(lanes.items())
        ],
        "notes": notes,
        "zone_database": database().words,
    }


def spans(recurrence: Recurrence, begins: datetime, ends: datetime) -> Iterator[Span]:
    """When it is open between these instants, in order; openings that touch are one."""
    held: Span | None = None
    at = begins
    while at < ends:
        standing = calendar.standing(recurrence, at)
        if standing.since is None:
            if standing.next is None:
                break
            at = standing.next.opens_at
            continue
        at = standing.until or ends  # one that never closes is drawn to the end
        if held is not None and standing.since <= held[1]:
            held = held[0], at
        else:
            if held is not None:
                yield held
            held = standing.since, at
    if held is not None:
        yield held


def _windows() -> list[Window]:
    return list(Window.objects.prefetch_related("states__deployment").order_by("name"))


def _draw(window: Window, begins: datetime, ends: datetime, shown_in: str, lanes: Lanes) -> str:
    """Put a window into the lanes of all of whom it says something; what is left out is said."""
    recurrence = reading.recurrence(window)
    found: list[Span] = []
    for span in spans(recurrence, begins, ends):
        if len(found) == MOST_SPANS:
            break
        found.append(span)
    for state in window.states.all():
        own = ("deployment", state.deployment.name) if state.deployment is not None else ("label", state.label)
        words = sentences.asked(reading.asks(state).values)
        lanes[own] += [
            {
                "by": "window",
                "id": window.pk,
                "name": window.name,
                "begins_at": _text(opens),
                "ends_at": _text(closes),
                "times": _times(opens, closes, shown_in),
                "words": words,
                "note": _note(recurrence, opens, closes),
                "precedence": window.precedence,
                "paused": window.paused,
            }
            for opens, closes in found
        ]
    if len(found) < MOST_SPANS:
        return ""
    return f"{window.name} opens more often than can be drawn: its first {MOST_SPANS} times of this week are shown"


def _word(word: Override, shown_in: str) -> SpanRow:
    return {
        "by": "override",
        "id": word.pk,
        "name": word.actor,
        "begins_at": _text(word.created_at),
        "ends_at": _text(word.until),
        "times": _times(word.created_at, word.until, shown_in),
        "words": sentences.asked(word.values),
        "note": "",
        "precedence": 0,
        "paused": False,
    }


def _note(recurrence: Recurrence, opens: datetime, closes: datetime) -> str:
    first = next(calendar.openings(recurrence, opens - timedelta(microseconds=1)), None)
    if first is None or (first.opens_at, first.closes_at) != (opens, closes):
        return ""
    return calendar.words(first, recurrence.zone)


def _times(begins: datetime, ends: datetime, name: str) -> str:
    """Both ends on the clock of the zone; the day of the second is said where it is another."""
    here = zone(name)
    first, last = begins.astimezone(here), ends.astimezone(here)
    shown = f"{last:%H:%M %Z}" if first.date() == last.date() else f"{last:%a %H:%M %Z}"
    return f"{first:%a %H:%M} to {shown}"


def _midnight(day: date, name: str) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone(name)).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat()
