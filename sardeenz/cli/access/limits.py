"""The limits that keys and teams share: their options, and how they are shown."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

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

OPTIONS: dict[str, Any] = {
    "requests_per_minute": Annotated[int | None, typer.Option("--rpm", min=0, help="requests per minute; 0: no limit")],
    "tokens_per_minute": Annotated[
        int | None, typer.Option("--tpm", min=0, help="tokens per minute, prompt and completion; 0: no limit")
    ],
    "concurrent_requests": Annotated[
        int | None, typer.Option("--concurrency", min=0, help="requests at once; 0: no limit")
    ],
    "tokens_per_day": Annotated[int | None, typer.Option(min=0, help="UTC days; 0: no limit")],
    "tokens_per_month": Annotated[int | None, typer.Option(min=0, help="UTC months; 0: no limit")],
    "gpu_seconds_per_day": Annotated[float | None, typer.Option(min=0, help="0: no limit")],
    "gpu_seconds_per_month": Annotated[float | None, typer.Option(min=0, help="0: no limit")],
}
"""Each limit's option of a command; one that is not said stays as it is."""

Limits = dict[str, float | None]
"""The limits that were said, as the API takes them: None takes a limit away."""
NONE: Limits = {}


def limited(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every limit in the place of its parameter `limits`, which gets those said."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        options = OPTIONS if parameter.name == "limits" else {}
        parameters += [parameter.replace(name=name, annotation=kind, default=None) for name, kind in options.items()]
        parameters += [] if options else [parameter]

    @functools.wraps(command)
    def filled(**said: Any) -> None:
        given = {name: said.pop(name) for name in OPTIONS}
        command(**said, limits={name: value or None for name, value in given.items() if value is not None})

    # What typer reads of a command.
    filled.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    filled.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return filled


def told(row: Mapping[str, Any]) -> str:
    """A row's limits on one line."""
    return (
        ", ".join(f"{_number(row[field])} {short}" for field, short in SHORT.items() if row[field] is not None) or "-"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,}"
