"""`sardeenz models` lists models and removes models that no deployment serves."""

from typing import Annotated

import typer

from sardeenz.cli import completion
from sardeenz.cli.client import AsJson, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table

app = typer.Typer(
    help="Models and the deployments that serve them; remove those that serve none.",
    epilog=examples("sardeenz models", "sardeenz models --json", "sardeenz models rm llama-8b"),
)


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Models and the deployments that serve them; remove those that serve none."""
    if ctx.invoked_subcommand is not None:
        return None
    found = rows("models")
    if as_json:
        return emit(found)
    serving: dict[int, list[str]] = {}
    for row in rows("deployments"):
        serving.setdefault(row["model"], []).append(row["name"])
    lines = [
        (row["name"], row["revision"] or "-", ", ".join(serving.get(row["id"], ["-"])), row["source"]) for row in found
    ]
    say(table(("model", "revision", "deployments", "source"), lines))


@app.command("rm", epilog=examples("sardeenz models rm llama-8b", "sardeenz models rm llama-8b qwen-7b"))
def remove(
    names: Annotated[list[str], typer.Argument(help="models by name or source", autocompletion=completion.models)],
) -> None:
    """Forget models that no deployment serves. Files of weights stay where they are."""
    known = rows("models")
    for name in names:
        found = [row for row in known if name in (row["name"], row["source"])]
        if not found:
            fail(f"there is no model {name!r}; `sardeenz models` lists them")
        call("DELETE", f"models/{found[0]['id']}")
        say(f"{found[0]['name']} is gone")
