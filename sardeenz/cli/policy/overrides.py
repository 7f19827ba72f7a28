"""Overrides: what operators said against windows, and until when; list, end. And what is in force."""

from typing import Annotated, Any

import typer

from sardeenz.cli import times
from sardeenz.cli.client import AsJson, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table

app = typer.Typer(
    help="What operators said against windows, and until when.",
    no_args_is_help=True,
    epilog=examples("sardeenz overrides list", "sardeenz overrides end 7", "sardeenz overrides end chat"),
)
Which = Annotated[str, typer.Argument(help="an override's number, or a deployment's name for all of its")]


@app.command("list", epilog=examples("sardeenz overrides list"))
def list_overrides(as_json: AsJson = False) -> None:
    """List the overrides that hold now."""
    found = rows("overrides")
    if as_json:
        return emit(found)
    lines = [
        (str(one["id"]), one["deployment_name"], said(one), one["actor"], times.shown(one["until"])) for one in found
    ]
    say(table(("override", "deployment", "holds", "by", "until"), lines) if lines else "no override holds")


@app.command(epilog=examples("sardeenz overrides end 7", "sardeenz overrides end chat"))
def end(which: Which) -> None:
    """Let windows decide again at once."""
    found = [one for one in rows("overrides") if which in (str(one["id"]), one["deployment_name"])]
    if not found:
        fail(f"no override {which!r} holds")
    for one in found:
        call("DELETE", f"overrides/{one['id']}")
        say(f"{one['deployment_name']}: windows decide again")


def said(override: dict[str, Any]) -> str:
    """What it says, on one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {str(value).replace('_', ' ')}" for name, value in override["values"].items()
    )
