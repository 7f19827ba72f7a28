"""Versions of the configuration, and the way back to one."""

from typing import Annotated, Any

import typer

from sardeenz.cli import times
from sardeenz.cli.client import AsJson, call
from sardeenz.cli.configuration.documents import PATIENCE_SECONDS, Yes, confirm, tell
from sardeenz.cli.output import emit, examples, plain, say, table

app = typer.Typer()


@app.command(epilog=examples("sardeenz versions", "sardeenz versions 7", "sardeenz versions -n 100 --json"))
def versions(
    number: Annotated[int | None, typer.Argument(min=1, help="show what changed in this one")] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="how many")] = 20,
    as_json: AsJson = False,
) -> None:
    """Versions of the configuration: when, by whom, what changed. The newest comes first."""
    if number is not None:
        version = call("GET", f"configuration/versions/{number}")
        return emit(version) if as_json else say(plain(version["diff"]) or "nothing changed")
    found = call("GET", "configuration/versions", params={"limit": count})["results"]
    if as_json:
        return emit(found)
    lines = [(str(each["number"]), times.shown(each["at"]), _who(each), _what(each)) for each in found]
    say(table(("version", "when", "by", "changed"), lines, right=frozenset({0})))


def _who(version: dict[str, Any]) -> str:
    return version["author"] or "-"


def _what(version: dict[str, Any]) -> str:
    heads = [line.strip("@ ") for line in version["diff"].splitlines() if line.startswith("@@ ")]
    more = f" and {len(heads) - 5} more" if len(heads) > 5 else ""
    how = "" if version["applied"] else " (not by a file)"
    return ", ".join(heads[:5]) + more + how


@app.command(epilog=examples("sardeenz rollback 7", "sardeenz rollback 7 --yes", "sardeenz rollback 7 --dry-run"))
def rollback(
    number: Annotated[int, typer.Argument(min=1, help="the version to bring back")],
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what it would change")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring back the configuration of a version. What was made since is deleted; that is a new version."""
    path = f"configuration/versions/{number}/rollback"
    shown = call("POST", path, json={"dry_run": True}, timeout=PATIENCE_SECONDS)
    if not as_json or dry_run:
        emit(shown) if as_json else tell(shown)
    if dry_run or not shown["changes"]:
        return
    confirm(yes=yes)
    done = call("POST", path, json={"plan": shown["plan"]}, timeout=PATIENCE_SECONDS)
    emit(done) if as_json else say(f"version {number} is back, as version {done['version']}")
