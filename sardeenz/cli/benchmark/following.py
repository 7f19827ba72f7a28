"""A benchmark that was asked for, until its end."""

import sys
import time
from typing import Any

import typer

from sardeenz.cli.benchmark import shown
from sardeenz.cli.client import call
from sardeenz.cli.output import emit, fail, say

POLL_SECONDS = 1.0


def finish(body: dict[str, Any], as_json: bool) -> None:
    """Ask for it, follow it, and show what came of it."""
    row = follow(call("POST", "benchmarks", json=body, timeout=120)["id"])
    emit(row) if as_json else shown.tell(row)
    judge(row, [])


def follow(number: int) -> dict[str, Any]:
    """Say how far it is until it has ended. Ctrl-C cancels it, and what was measured until then is shown."""
    lively = sys.stderr.isatty()
    try:
        while (row := call("GET", f"benchmarks/{number}"))["status"] in ("queued", "running"):
            if lively:
                say(f"\r\x1b[K{shown.progress(row)}", error=True, end="")
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        call("POST", f"benchmarks/{number}/cancel")
        return follow(number)
    if lively:
        say("\r\x1b[K", error=True, end="")
    return dict(row)


def judge(row: dict[str, Any], conditions: list[str]) -> None:
    """Status 1 for what failed, and for each condition that holds."""
    if row["status"] != "done":
        raise typer.Exit(1)
    if conditions:
        verdict = call("GET", f"benchmarks/{row['id']}/verdict", params={"condition": conditions})
        if verdict["holds"]:
            fail("\n".join(verdict["lines"]))
