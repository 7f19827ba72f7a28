"""`sardeenz calls`: the calls in flight; list, cancel."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sardeenz.cli import completion
from sardeenz.cli.client import AsJson, call
from sardeenz.cli.output import emit, examples, say, table

app = typer.Typer(
    help="Calls in flight; cancel one that its caller still waits for.",
    no_args_is_help=True,
    epilog=examples("sardeenz calls list", "sardeenz calls cancel 5f0c9b7a00000001"),
)


@app.command("list", epilog=examples("sardeenz calls list", "sardeenz calls list --deployment chat --json"))
def list_calls(
    deployment: Annotated[str, typer.Option(help="of this one only", autocompletion=completion.deployments)] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="at most so many")] = 100,
    as_json: AsJson = False,
) -> None:
    """List them, the newest first, with what each is doing and for how long."""
    answer = call("GET", "calls", params={"limit": limit} | ({"deployment": deployment} if deployment else {}))
    if as_json:
        return emit(answer)
    if answer["silent"]:
        say(f"without those of gateways that do not answer: {', '.join(answer['silent'])}", "yellow", error=True)
    if not answer["calls"]:
        return say("no call is in flight")
    columns = ("request", "asked for", "key", "team", "state", "in it", "in all", "pieces", "replica")
    say(table(columns, [_line(each) for each in answer["calls"]], right=frozenset({5, 6, 7})))
    if (more := answer["count"] - len(answer["calls"])) > 0:
        say(f"and {more:,} more; see --limit")


@app.command(epilog=examples("sardeenz calls cancel 5f0c9b7a00000001"))
def cancel(request: Annotated[str, typer.Argument(help="the call's x-request-id, as the list names it")]) -> None:
    """End a call: its client gets the error cancelled_by_operator, and its engine stops working on it."""
    ended = call("POST", f"calls/{request}/cancel")["cancelled"]
    say(f"{request} is cancelled" if ended == 1 else f"{ended} calls of the id {request} are cancelled")


def _line(each: dict[str, Any]) -> list[str]:
    return [
        each["request_id"],
        each["asked_name"],
        each["key_name"] or "-",
        each["team_name"] or "-",
        each["state"],
        _since(each["since"]),
        _since(each["began_at"]),
        f"{each['pieces']:,}",
        str(each["replica"] or "-"),
    ]


def _since(moment: str) -> str:
    return f"{max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()):.1f} s"
