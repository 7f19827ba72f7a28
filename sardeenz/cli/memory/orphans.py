"""`sardeenz orphans`: engines that no replica owns; list, adopt, end."""

from typing import Annotated

import typer

from sardeenz import sizes
from sardeenz.cli.client import AsJson, call
from sardeenz.cli.output import emit, examples, say, table
from sardeenz.cli.progress import describe

app = typer.Typer(
    help="Engines that no replica owns; adopt one, or end it.",
    no_args_is_help=True,
    epilog=examples("sardeenz orphans list", "sardeenz orphans adopt 12:1", "sardeenz orphans end 12:1"),
)
Which = Annotated[str, typer.Argument(help="the engine, as `sardeenz orphans list` names it: 12:1")]


@app.command("list", epilog=examples("sardeenz orphans list"))
def list_orphans(as_json: AsJson = False) -> None:
    """List them, with the deployment that may adopt each."""
    found = call("GET", "orphans")
    if as_json:
        return emit(found)
    lines = [
        (
            one["marker"],
            one["node"],
            f"{one['name'] or 'name hidden'} (pid {one['pid']})",
            sizes.shown(sum(size or 0 for size in one["memory_bytes"].values())),
            one["deployment"] or one["why_not"],
        )
        for one in found
    ]
    columns = ("engine", "node", "process", "GPU memory", "can be adopted by")
    say(table(columns, lines, right=frozenset({3})) if lines else "every engine has its replica")


@app.command(epilog=examples("sardeenz orphans adopt 12:1"))
def adopt(which: Which) -> None:
    """Make it a replica of the deployment that would launch it just so; nothing is loaded anew."""
    say(describe(call("POST", f"orphans/{which}/adopt")))


@app.command(epilog=examples("sardeenz orphans end 12:1"))
def end(which: Which) -> None:
    """End its processes at once."""
    call("POST", f"orphans/{which}/end")
    say(f"the engine {which} is ended at its worker's next look")
