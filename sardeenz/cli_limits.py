"""Options that several commands share: limits of keys and teams."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

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


def given(params: Mapping[str, Any]) -> dict[str, Any]:
    """The limits among a command's parameters that were said, as the API takes them."""
    return {field: params[field] or None for field in SHORT if params[field] is not None}


def told(row: Mapping[str, Any]) -> str:
    """A row's limits on one line."""
    return (
        ", ".join(f"{_number(row[field])} {short}" for field, short in SHORT.items() if row[field] is not None) or "-"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,}"
