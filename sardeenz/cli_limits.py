"""Options that several commands share: limits of keys and teams, and moments."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from sardeenz.cli_client import fail

Rpm = Annotated[int | None, typer.Option("--rpm", min=0, help="requests per minute; 0: no limit")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=0, help="tokens per minute, prompt and completion; 0: no limit")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", min=0, help="requests at once; 0: no limit")]
DayTokens = Annotated[int | None, typer.Option("--tokens-per-day", min=0, help="UTC days; 0: no limit")]
MonthTokens = Annotated[int | None, typer.Option("--tokens-per-month", min=0, help="UTC months; 0: no limit")]
DayGpu = Annotated[float | None, typer.Option("--gpu-seconds-per-day", min=0, help="0: no limit")]
MonthGpu = Annotated[float | None, typer.Option("--gpu-seconds-per-month", min=0, help="0: no limit")]

SHORT = {
    "requests_per_minute": "requests/min",
    "tokens_per_minute": "tokens/min",
    "concurrent_requests": "at once",
    "tokens_per_day": "tokens/day",
    "tokens_per_month": "tokens/month",
    "gpu_seconds_per_day": "GPU s/day",
    "gpu_seconds_per_month": "GPU s/month",
}
"""Each limit as the API names it, and for people."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def given(params: Mapping[str, Any]) -> dict[str, Any]:
    """The limits among a command's parameters that were said, as the API takes them."""
    return {field: params[field] or None for field in SHORT if params[field] is not None}


def told(row: Mapping[str, Any]) -> str:
    """A row's limits on one line."""
    return ", ".join(f"{row[field]:g} {short}" for field, short in SHORT.items() if row[field] is not None) or "-"


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
