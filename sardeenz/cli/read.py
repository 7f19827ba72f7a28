"""What happened, and what engines wrote: history, logs."""

import time
from typing import Annotated, Any

import typer

from sardeenz.cli import completion, times
from sardeenz.cli.client import AsJson, call, replica_id
from sardeenz.cli.output import emit, examples, fail, say, table

FOLLOWED_LINES = 2000
"""Of a log that is followed, looked at each second: more than an engine writes in one."""
app = typer.Typer()


@app.command(epilog=examples("sardeenz history", "sardeenz history chat -n 100", "sardeenz history --json"))
def history(
    name: Annotated[str, typer.Argument(help="a deployment; all without", autocompletion=completion.deployments)] = "",
    count: Annotated[int, typer.Option("-n", min=1, help="how many")] = 30,
    as_json: AsJson = False,
) -> None:
    """What happened to replicas, when, why and by whom; the newest first."""
    params = {"limit": count} | ({"deployment": name} if name else {})
    found = call("GET", "transitions", params=params)["results"]
    if as_json:
        return emit(found)
    if name and not found:
        return say(f"nothing is recorded of a deployment {name!r}")
    lines = [
        (times.shown(each["at"]), _whose(each), each["old"] or "-", each["new"], each["actor"], _why(each))
        for each in found
    ]
    say(table(("when", "replica", "from", "to", "by", "why"), lines))


def _whose(each: dict[str, Any]) -> str:
    number = each["replica"]
    return str(each["deployment_name"]) if number is None else f"{each['deployment_name']}/{number}"


def _why(each: dict[str, Any]) -> str:
    return str(each["message"]) or str(each["reason"]).replace("_", " ")


@app.command(epilog=examples("sardeenz logs chat", "sardeenz logs -f chat/7", "sardeenz logs 7 -n 1000"))
def logs(
    name: Annotated[
        str,
        typer.Argument(help="a deployment with one replica, name/id, or an id", autocompletion=completion.replicas),
    ],
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="how many of the last lines")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as more is written; Ctrl-C ends it")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the end of an engine's log; -f follows what the engine writes next."""
    path = f"replicas/{replica_id(name)}/logs"
    if as_json:
        if follow:
            fail("--json prints one answer: leave out --follow, or --json")
        return emit(call("GET", path, params={"lines": lines}))
    seen = call("GET", path, params={"lines": max(lines, FOLLOWED_LINES) if follow else lines})["lines"]
    _write(seen[-lines:])
    while follow:
        time.sleep(1.0)
        now = call("GET", path, params={"lines": FOLLOWED_LINES})["lines"]
        _write(_newer(seen[-FOLLOWED_LINES:], now))
        seen = now


def _newer(old: list[str], new: list[str]) -> list[str]:
    """The lines of `new` that come after those of `old`, of which the first may be gone; all if the log began anew."""
    for gone in range(len(old)):
        left = len(old) - gone
        if new[:left] == old[gone:]:
            return new[left:]
    return new


def _write(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
