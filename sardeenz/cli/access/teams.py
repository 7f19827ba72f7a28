"""Teams: list, create, update, delete; and the limits that teams and keys share."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sardeenz.cli.client import AsJson, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table

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

app = typer.Typer(
    help="Teams: keys that share limits and a place in the queues.",
    no_args_is_help=True,
    epilog=examples("sardeenz teams list", "sardeenz teams create research --tokens-per-month 50000000"),
)
Name = Annotated[str, typer.Argument(help="the team's name")]
Weight = Annotated[int | None, typer.Option(min=1, help="its share of a busy deployment, against other teams'")]
Priority = Annotated[int | None, typer.Option(help="of its requests; a lower number goes first")]


@app.command("list", epilog=examples("sardeenz teams list", "sardeenz teams list --json"))
def list_teams(as_json: AsJson = False) -> None:
    """List every team with its number of keys, its weight, its priority and its limits."""
    found = rows("teams")
    if as_json:
        return emit(found)
    lines = [(row["name"], str(row["keys"]), str(row["weight"]), str(row["priority"]), told(row)) for row in found]
    say(table(("team", "keys", "weight", "priority", "limits"), lines))


@app.command(epilog=examples("sardeenz teams create research --rpm 600 --weight 3"))
def create(
    ctx: typer.Context,
    name: Name,
    weight: Weight = None,
    priority: Priority = None,
    requests_per_minute: Rpm = None,
    tokens_per_minute: Tpm = None,
    concurrent_requests: Concurrency = None,
    tokens_per_day: DayTokens = None,
    tokens_per_month: MonthTokens = None,
    gpu_seconds_per_day: DayGpu = None,
    gpu_seconds_per_month: MonthGpu = None,
    as_json: AsJson = False,
) -> None:
    """Make a team; then give it keys with `sardeenz keys create --team`."""
    _say(call("POST", "teams", json={"name": name} | _given(ctx.params)), as_json=as_json)


@app.command(
    epilog=examples(
        "sardeenz teams update research --tokens-per-day 2000000", "sardeenz teams update research --rpm 0 --rename lab"
    )
)
def update(
    ctx: typer.Context,
    name: Name,
    rename: Annotated[str, typer.Option(help="another name")] = "",
    weight: Weight = None,
    priority: Priority = None,
    requests_per_minute: Rpm = None,
    tokens_per_minute: Tpm = None,
    concurrent_requests: Concurrency = None,
    tokens_per_day: DayTokens = None,
    tokens_per_month: MonthTokens = None,
    gpu_seconds_per_day: DayGpu = None,
    gpu_seconds_per_month: MonthGpu = None,
    as_json: AsJson = False,
) -> None:
    """Change what is said; gateways know within a second."""
    changes = _given(ctx.params) | ({"name": rename} if rename else {})
    _say(call("PATCH", f"teams/{_id(name)}", json=changes), as_json=as_json)


@app.command(epilog=examples("sardeenz teams delete research"))
def delete(name: Name) -> None:
    """Forget a team that has no keys any more; what it used stays counted."""
    call("DELETE", f"teams/{_id(name)}")
    say(f"{name} is gone")


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return given(params) | {field: params[field] for field in ("weight", "priority") if params[field] is not None}


def _id(name: str) -> int:
    found = rows("teams", name=name)
    return int(found[0]["id"]) if found else fail(f"there is no team {name!r}")


def _say(team: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return emit(team)
    say(f"{team['name']}: weight {team['weight']}, priority {team['priority']}, limits {told(team)}")


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
