"""API keys: list, show, create, update, revoke."""

from typing import Annotated, Any

import typer
from rich.table import Table

from sardeenz.cli_client import AsJson, call, console, emit, fail, rows
from sardeenz.cli_limits import (
    SHORT,
    Concurrency,
    DayGpu,
    DayTokens,
    MonthGpu,
    MonthTokens,
    Rpm,
    Tpm,
    ahead,
    given,
    told,
)

app = typer.Typer(help="API keys.", no_args_is_help=True)
Key = Annotated[int, typer.Argument(help="its id, from `sardeenz keys list`")]
Models = Annotated[list[str] | None, typer.Option("--model", help="a name it may ask for, else every one; repeat it")]


@app.command("list")
def list_keys(
    team: Annotated[str, typer.Option(help="of this team only")] = "",
    as_json: AsJson = False,
) -> None:
    """Every key; the keys themselves are not kept."""
    found = rows("keys", **({"team": team} if team else {}))
    if as_json:
        return emit(found)
    columns = ("id", "name", "key", "scopes", "team", "models", "limits", "last used", "ends")
    table = Table(*columns, box=None, header_style="bold")
    for key in found:
        who = (str(key["id"]), key["name"], f"{key['prefix']}…", " ".join(key["scopes"]), key["team_name"] or "-")
        may = (" ".join(key["allowed_models"]) or "every one", told(key))
        table.add_row(*who, *may, (key["last_used_at"] or "-")[:19], _end(key))
    console.print(table)


def _end(key: dict[str, Any]) -> str:
    return f"revoked {key['revoked_at'][:19]}" if key["revoked_at"] else (key["expires_at"] or "-")[:19]


@app.command()
def show(key: Key, as_json: AsJson = False) -> None:
    """All that is known of a key."""
    row = call("GET", f"keys/{key}")
    if as_json:
        return emit(row)
    table = Table(box=None, show_header=False)
    for field, value in row.items():
        text = " ".join(value) if isinstance(value, list) else str(value)
        table.add_row(SHORT.get(field, field.replace("_", " ")), "-" if value in (None, []) else text)
    console.print(table)


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="whose key, or what for")],
    scope: Annotated[list[str] | None, typer.Option(help="inference, read or manage; repeat it")] = None,
    team: Annotated[str, typer.Option(help="whose limits hold besides its own")] = "",
    model: Models = None,
    requests_per_minute: Rpm = None,
    tokens_per_minute: Tpm = None,
    concurrent_requests: Concurrency = None,
    tokens_per_day: DayTokens = None,
    tokens_per_month: MonthTokens = None,
    gpu_seconds_per_day: DayGpu = None,
    gpu_seconds_per_month: MonthGpu = None,
    expires: Annotated[str, typer.Option(help="when it ends: in 30d, or at 2030-01-31T00:00:00Z")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, the only time it can be seen."""
    body: dict[str, Any] = {"name": name, "scopes": scope or ["inference"], "allowed_models": model or []}
    body |= {"team": team} if team else {}
    body |= {"expires_at": ahead(expires).isoformat()} if expires else {}
    made = call("POST", "keys", json=body | given(ctx.params))
    if as_json:
        return emit(made)
    typer.echo(made["key"])


@app.command()
def update(
    ctx: typer.Context,
    key: Key,
    name: Annotated[str, typer.Option(help="another name")] = "",
    team: Annotated[str | None, typer.Option(help="another team; '' for none")] = None,
    model: Models = None,
    every_model: Annotated[bool, typer.Option("--every-model", help="it may ask for any name")] = False,
    requests_per_minute: Rpm = None,
    tokens_per_minute: Tpm = None,
    concurrent_requests: Concurrency = None,
    tokens_per_day: DayTokens = None,
    tokens_per_month: MonthTokens = None,
    gpu_seconds_per_day: DayGpu = None,
    gpu_seconds_per_month: MonthGpu = None,
    expires: Annotated[str, typer.Option(help="when it ends: in 30d, at 2030-01-31T00:00:00Z, or never")] = "",
    as_json: AsJson = False,
) -> None:
    """Change what is said; gateways know within a second."""
    if model and every_model:
        fail("--model and --every-model contradict each other")
    changes = given(ctx.params) | ({"name": name} if name else {})
    changes |= {} if team is None else {"team": team or None}
    changes |= {"allowed_models": model or []} if model or every_model else {}
    changes |= {"expires_at": None if expires == "never" else ahead(expires).isoformat()} if expires else {}
    row = call("PATCH", f"keys/{key}", json=changes)
    emit(row) if as_json else console.print(f"key {key} ({row['name']}): {told(row)}")


@app.command()
def revoke(key: Key) -> None:
    """End a key for good."""
    call("DELETE", f"keys/{key}")
    console.print(f"key {key} is revoked")
