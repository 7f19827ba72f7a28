"""Teams: list, create, update, delete."""

from typing import Annotated, Any

import typer

from sardeenz.cli.access.limits import NONE, Limits, limited, told
from sardeenz.cli.client import AsJson, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table

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
@limited
def create(
    name: Name,
    weight: Weight = None,
    priority: Priority = None,
    limits: Limits = NONE,
    as_json: AsJson = False,
) -> None:
    """Make a team; then give it keys with `sardeenz keys create --team`."""
    _say(call("POST", "teams", json={"name": name} | _said(weight, priority) | limits), as_json=as_json)


@app.command(
    epilog=examples(
        "sardeenz teams update research --tokens-per-day 2000000", "sardeenz teams update research --rpm 0 --rename lab"
    )
)
@limited
def update(
    name: Name,
    rename: Annotated[str, typer.Option(help="another name")] = "",
    weight: Weight = None,
    priority: Priority = None,
    limits: Limits = NONE,
    as_json: AsJson = False,
) -> None:
    """Change what is said; gateways know within a second."""
    changes = _said(weight, priority) | limits | ({"name": rename} if rename else {})
    _say(call("PATCH", f"teams/{_id(name)}", json=changes), as_json=as_json)


@app.command(epilog=examples("sardeenz teams delete research"))
def delete(name: Name) -> None:
    """Forget a team that has no keys any more; what it used stays counted."""
    call("DELETE", f"teams/{_id(name)}")
    say(f"{name} is gone")


def _said(weight: int | None, priority: int | None) -> dict[str, Any]:
    return {field: value for field, value in (("weight", weight), ("priority", priority)) if value is not None}


def _id(name: str) -> int:
    found = rows("teams", name=name)
    return int(found[0]["id"]) if found else fail(f"there is no team {name!r}")


def _say(team: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return emit(team)
    say(f"{team['name']}: weight {team['weight']}, priority {team['priority']}, limits {told(team)}")
