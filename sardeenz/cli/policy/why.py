"""`sardeenz why`: the reasons of a deployment, a replica or a call."""

from typing import Annotated, Any

import typer

from sardeenz.cli import completion, times
from sardeenz.cli.client import AsJson, Rows, call
from sardeenz.cli.output import emit, examples, plain, say, table
from sardeenz.cli.policy.inputs import lines

app = typer.Typer()


@app.command(
    epilog=examples(
        "sardeenz why chat", "sardeenz why chat/7 --inputs", "sardeenz why 8f3a61c20000001b", "sardeenz why chat --json"
    )
)
def why(
    of: Annotated[
        str,
        typer.Argument(
            help="a deployment, a replica as name/id or id, or a call's x-request-id",
            autocompletion=completion.replicas,
        ),
    ],
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="how many entries")] = 20,
    inputs: Annotated[bool, typer.Option("--inputs", help="with everything that each decision was made of")] = False,
    is_call: Annotated[bool, typer.Option("--call", help="it is a call's id, whatever else has that name")] = False,
    as_json: AsJson = False,
) -> None:
    """Why a deployment or replica is where it is, or where a call's time went. The newest comes first."""
    params: dict[str, Any] = {"of": of, "limit": count}
    params |= ({"inputs": "true"} if inputs else {}) | ({"kind": "call"} if is_call else {})
    answer = call("GET", "why", params=params)
    if as_json:
        return emit(answer)
    say(plain(answer["sentence"]))
    if entries := answer["entries"]:
        say("")
        _with_inputs(entries) if inputs else say(_table(entries))


def _table(entries: Rows) -> str:
    lines = [(times.shown(each["at"]), str(each["by"]), _reason(each)) for each in entries]
    return table(("when", "by", "why"), lines)


def _reason(entry: dict[str, Any]) -> str:
    return str(entry["sentence"]) + (f" ({entry['times']} times)" if entry["times"] > 1 else "")


def _with_inputs(entries: Rows) -> None:
    for each in entries:
        say(f"{times.shown(each['at'])}  {plain(each['by'])}  {plain(_reason(each))}")
        for line in lines(each["inputs"] or {}):
            say(f"    {plain(line)}", "dim")
