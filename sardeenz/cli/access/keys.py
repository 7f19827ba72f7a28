"""API keys: list, show, create, update, revoke."""

from typing import Annotated, Any

import typer

from sardeenz.cli import completion, times
from sardeenz.cli.access.limits import NONE, SHORT, Limits, limited, told
from sardeenz.cli.client import AsJson, call, rows
from sardeenz.cli.output import emit, examples, fail, plain, say, table
from sardeenz.cli.times import ahead

app = typer.Typer(
    help="API keys.",
    no_args_is_help=True,
    epilog=examples("sardeenz keys list", "sardeenz keys create my-app --team research --rpm 60"),
)
Key = Annotated[int, typer.Argument(help="its id, from `sardeenz keys list`")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="a name it may ask for, else every one; repeat it", autocompletion=completion.served_names
    ),
]


@app.command("list", epilog=examples("sardeenz keys list", "sardeenz keys list --team research"))
def list_keys(
    team: Annotated[str, typer.Option(help="of this team only")] = "",
    as_json: AsJson = False,
) -> None:
    """Every key; the keys themselves are not kept."""
    found = rows("keys", **({"team": team} if team else {}))
    if as_json:
        return emit(found)
    lines = []
    for key in found:
        who = (str(key["id"]), key["name"], f"{key['prefix']}…", " ".join(key["scopes"]), key["team_name"] or "-")
        every = "every one" if "inference" in key["scopes"] else "none"
        may = (" ".join(key["allowed_models"]) or every, told(key))
        lines.append((*who, *may, times.shown(key["last_used_at"]), _end(key)))
    say(table(("id", "name", "key", "scopes", "team", "models", "limits", "last used", "ends"), lines))


def _end(key: dict[str, Any]) -> str:
    return f"revoked {times.shown(key['revoked_at'])}" if key["revoked_at"] else times.shown(key["expires_at"])


@app.command(epilog=examples("sardeenz keys show 3"))
def show(key: Key, as_json: AsJson = False) -> None:
    """All that is known of a key."""
    row = call("GET", f"keys/{key}")
    if as_json:
        return emit(row)
    for field, value in row.items():
        say(f"{SHORT.get(field, field.removesuffix('_at').replace('_', ' ')):<20} {_shown(field, value)}")


def _shown(field: str, value: Any) -> str:
    if field.endswith("_at"):
        return times.shown(value)
    text = " ".join(value) if isinstance(value, list) else str(value)
    return "-" if value in (None, [], "") else plain(text)


@app.command(
    epilog=examples(
        "sardeenz keys create my-app",
        "sardeenz keys create ada --team research --model chat --expires 30d",
        "sardeenz keys create operator --scope read --scope manage",
    )
)
@limited
def create(
    name: Annotated[str, typer.Argument(help="whose key, or what for")],
    scope: Annotated[list[str] | None, typer.Option(help="inference, read or manage; repeat it")] = None,
    team: Annotated[str, typer.Option(help="whose limits hold besides its own")] = "",
    model: Models = None,
    limits: Limits = NONE,
    expires: Annotated[str, typer.Option(help="when it ends: in 30d, or at 2030-01-31T00:00:00Z")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, the only time it can be seen."""
    body: dict[str, Any] = {"name": name, "scopes": scope or ["inference"], "allowed_models": model or []}
    body |= {"team": team} if team else {}
    body |= {"expires_at": ahead(expires).isoformat()} if expires else {}
    made = call("POST", "keys", json=body | limits)
    if as_json:
        return emit(made)
    typer.echo(made["key"])


@app.command(
    epilog=examples("sardeenz keys update 3 --rpm 120", "sardeenz keys update 3 --every-model --expires never")
)
@limited
def update(
    key: Key,
    name: Annotated[str, typer.Option(help="another name")] = "",
    team: Annotated[str | None, typer.Option(help="another team; '' for none")] = None,
    model: Models = None,
    every_model: Annotated[bool, typer.Option("--every-model", help="it may ask for any name")] = False,
    limits: Limits = NONE,
    expires: Annotated[str, typer.Option(help="when it ends: in 30d, at 2030-01-31T00:00:00Z, or never")] = "",
    as_json: AsJson = False,
) -> None:
    """Change what is said; gateways know within a second."""
    if model and every_model:
        fail("--model and --every-model contradict each other")
    changes: dict[str, Any] = {**limits} | ({"name": name} if name else {})
    changes |= {} if team is None else {"team": team or None}
    changes |= {"allowed_models": model or []} if model or every_model else {}
    changes |= {"expires_at": None if expires == "never" else ahead(expires).isoformat()} if expires else {}
    row = call("PATCH", f"keys/{key}", json=changes)
    emit(row) if as_json else say(f"key {key} ({row['name']}): {told(row)}")


@app.command(epilog=examples("sardeenz keys revoke 3"))
def revoke(key: Key) -> None:
    """End a key for good."""
    call("DELETE", f"keys/{key}")
    say(f"key {key} is revoked")
