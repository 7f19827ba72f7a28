"""`--dry-run` of every verb that changes something, and `sardeenz plans`: what was answered, and doing it."""

from datetime import UTC
from typing import Annotated, Any

import typer

from sardeenz.cli import times
from sardeenz.cli.client import AsJson, call, replica_number
from sardeenz.cli.output import emit, examples, fail, say, table, typed

app = typer.Typer(
    help="What was asked with --dry-run, and doing it.",
    no_args_is_help=True,
    epilog=examples("sardeenz plans list", "sardeenz plans apply 12", "sardeenz plans at 8h"),
)
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would happen, and do nothing")]
Number = Annotated[int, typer.Argument(help="a plan's number, as --dry-run gave it")]

Moment = Annotated[str, typer.Argument(help="a moment, in UTC unless it says otherwise, or a span from now as 8h")]


def ask(verb: str, **action: Any) -> None:
    """Say what the verb would do; one that would be refused ends the command with status 1."""
    plan = call("POST", "plans", json={"action": {"verb": verb, **action}})
    tell(plan)
    if plan["outcome"]["refused"]:
        raise typer.Exit(1)
    say(f"Nothing was done. To do it, within an hour: {typed()} plans apply {plan['id']}", "dim")


def foresee(**question: Any) -> None:
    """Say what windows would have the fleet do after a change, and do nothing."""
    _tell_ahead(call("POST", "policies/what-if", json=question))


def _tell_ahead(row: dict[str, Any]) -> None:
    moment = times.instant(row["at"]).astimezone(UTC)
    say(f"At {moment:%Y-%m-%d %H:%M:%S} UTC, if the fleet stood as it does now:")
    for line in row["lines"]:
        say(line)
    how = f" To do it, within an hour: {typed()} plans apply {row['plan']}" if row["plan"] is not None else ""
    say(f"Nothing was done.{how}", "dim")


def subject(name: str) -> dict[str, Any]:
    """What an action acts on: a replica by its id, or a deployment by its name."""
    number = replica_number(name)
    return {"deployment": name} if number is None else {"replica": number}


def tell(plan: dict[str, Any]) -> None:
    """The outcome, a sentence to a line."""
    for line in plan["outcome"]["lines"]:
        say(line)


@app.command("list", epilog=examples("sardeenz plans list"))
def listed(json: AsJson = False) -> None:
    """The plans of late, the newest first."""
    plans = call("GET", "plans", params={"limit": 20})["results"]
    if json:
        emit(plans)
        return
    say(table(["plan", "made", "by", "action", ""], [_row(plan) for plan in plans]) if plans else "there is no plan")


def _row(plan: dict[str, Any]) -> list[str]:
    action = dict(plan["action"])
    verb, named = (
        action.pop("verb", ""),
        [str(action[key]) for key in ("deployment", "replica", "window", "gpu", "node", "name") if key in action],
    )
    done = f"applied by {plan['applied_by']}" if plan["applied_at"] else ""
    return [str(plan["id"]), plan["made_at"][:19], plan["actor"], " ".join([verb, *named]), done]


@app.command(epilog=examples("sardeenz plans at '2030-01-31 22:00'", "sardeenz plans at 8h"))
def at(moment: Moment, json: AsJson = False) -> None:
    """What windows would have in force at another time, and what would move then; no clock is set."""
    row = call("GET", "policies/what-if", params={"at": times.ahead(moment).isoformat()})
    emit(row) if json else _tell_ahead(row)


@app.command(epilog=examples("sardeenz plans show 12"))
def show(number: Number, json: AsJson = False) -> None:
    """What a plan would do, as it was answered."""
    plan = call("GET", f"plans/{number}")
    emit(plan) if json else tell(plan)


@app.command(epilog=examples("sardeenz plans apply 12"))
def apply(number: Number) -> None:
    """Do what a plan says, if nothing has moved since."""
    plan = call("POST", f"plans/{number}/apply")
    if not plan["applied_at"]:
        fail(f"plan {number} was not applied")
    tell(plan)
