"""API keys: list, create, revoke."""

from typing import Annotated

import typer
from rich.table import Table

from sardeenz.cli_client import AsJson, call, console, emit, rows

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key; the keys themselves are not kept."""
    found = rows("keys")
    if as_json:
        return emit(found)
    table = Table("id", "name", "key", "scopes", "expires", "revoked", box=None, header_style="bold")
    for key in found:
        ends = [(key[field] or "-")[:19] for field in ("expires_at", "revoked_at")]
        table.add_row(str(key["id"]), key["name"], f"{key['prefix']}…", " ".join(key["scopes"]), *ends)
    console.print(table)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="whose key, or what for")],
    scope: Annotated[list[str] | None, typer.Option(help="inference, read or manage; repeat it")] = None,
    expires: Annotated[str, typer.Option(help="when it ends, as 2030-01-31T00:00:00Z")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, the only time it can be seen."""
    body = {"name": name, "scopes": scope or ["inference"]} | ({"expires_at": expires} if expires else {})
    made = call("POST", "keys", json=body)
    if as_json:
        return emit(made)
    typer.echo(made["key"])


@app.command()
def revoke(key: Annotated[int, typer.Argument(help="its id, from `sardeenz keys list`")]) -> None:
    """End a key for good."""
    call("DELETE", f"keys/{key}")
    console.print(f"key {key} is revoked")
