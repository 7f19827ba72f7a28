"""`sardeenz aliases` lists, sets and deletes aliases."""

from typing import Annotated, Any

import typer

from sardeenz.cli.client import AsJson, Rows, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table

app = typer.Typer(
    help="Other names callers may ask for.",
    no_args_is_help=True,
    epilog=examples("sardeenz aliases list", "sardeenz aliases set gpt-4 chat"),
)
Name = Annotated[str, typer.Argument(help="the name callers ask for")]


@app.command("list", epilog=examples("sardeenz aliases list", "sardeenz aliases list --json"))
def list_aliases(as_json: AsJson = False) -> None:
    """Every alias and the deployments behind it, in fallback order."""
    found = rows("aliases")
    if as_json:
        return emit(found)
    lines = [(alias["name"], _told(alias["targets"])) for alias in found]
    say(table(("alias", "deployments and their weights"), lines))


@app.command(
    "set",
    epilog=examples("sardeenz aliases set gpt-4 chat", "sardeenz aliases set gpt-4 chat=90 chat-canary=10 backup=0"),
)
def set_alias(
    name: Name,
    targets: Annotated[
        list[str], typer.Argument(help="deployment=weight each, in fallback order; weight 1 unless said")
    ],
    as_json: AsJson = False,
) -> None:
    """Make an alias, or give it other targets."""
    wanted = [_target(text) for text in targets]
    if found := rows("aliases", name=name):
        alias = call("PATCH", f"aliases/{found[0]['id']}", json={"targets": wanted})
    else:
        alias = call("POST", "aliases", json={"name": name, "targets": wanted})
    emit(alias) if as_json else say(f"{alias['name']}: {_told(alias['targets'])}")


@app.command(epilog=examples("sardeenz aliases delete gpt-4"))
def delete(name: Name) -> None:
    """Forget an alias; the deployments stay."""
    found = rows("aliases", name=name) or fail(f"there is no alias {name!r}")
    call("DELETE", f"aliases/{found[0]['id']}")
    say(f"{name} is gone")


def _target(text: str) -> dict[str, Any]:
    deployment, _, weight = text.partition("=")
    if weight and not weight.isdecimal():
        fail(f"{text!r}: a weight is a number from 0, as in {deployment}=90")
    return {"deployment": deployment} | ({"weight": int(weight)} if weight else {})


def _told(targets: Rows) -> str:
    return " ".join(f"{each['deployment_name']}={each['weight']}" for each in targets) or "none: it answers to nothing"
