"""Moments and spans as people type and read them."""

from datetime import UTC, datetime, timedelta

from sardeenz.cli.output import fail

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def shown(moment: str | None) -> str:
    """An instant of the API in this machine's time, with the zone; a dash for none."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S %Z}" if moment else "-"


def clock(moment: str) -> str:
    """The same without the day, for what was or will be within minutes."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S %Z}"


def span(text: str) -> timedelta | None:
    """30m, 12h, 7d or 2w; None when it is something else."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        return None
    return timedelta(**{_UNITS[unit]: int(number)})


def instant(text: str) -> datetime:
    """A date or a moment in ISO form; UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is neither a span such as 7d nor a moment such as 2030-01-31T12:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ago(text: str) -> datetime:
    """A span back from now, or a moment."""
    back = span(text)
    return instant(text) if back is None else datetime.now(UTC) - back


def ahead(text: str) -> datetime:
    """A span from now, or a moment."""
    on = span(text)
    return instant(text) if on is None else datetime.now(UTC) + on
