"""The configuration as a file: export, plan, apply."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sardeenz.cli.client import AsJson, call
from sardeenz.cli.output import emit, examples, fail, plain, say

PATIENCE_SECONDS = 300
"""A thousand deployments at once take longer than one verb."""
app = typer.Typer()
_COLOURS = {"create": "green", "change": "yellow", "delete": "red"}
File = Annotated[str, typer.Option("-f", "--file", help="a YAML file, as `sardeenz export` writes it; - is the input")]
Base = Annotated[str, typer.Option(help="the version the file was made from, instead of the one at its head")]
Prune = Annotated[bool, typer.Option("--prune", help="delete what the file does not name, in each section that it has")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


@app.command(epilog=examples("sardeenz export > fleet.yaml", "sardeenz export -o fleet.yaml", "sardeenz export 7"))
def export(
    version: Annotated[int | None, typer.Argument(min=1, help="an earlier version; else all as it is now")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="a file instead of the output")] = "",
) -> None:
    """Print everything that is set as one YAML file.

    It holds models, deployments, aliases, teams and runtimes; secrets are named, never shown.
    """
    path = "configuration" if version is None else f"configuration/versions/{version}"
    document = str(call("GET", path)["document"])
    if not output:
        return say(document, end="")
    try:
        Path(output).write_text(document, encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")
    say(f"written to {output}")


@app.command(epilog=examples("sardeenz plan -f fleet.yaml", "sardeenz plan -f fleet.yaml --prune"))
def plan(file: File, base: Base = "", prune: Prune = False, as_json: AsJson = False) -> None:
    """Show what a file would change, and change nothing."""
    shown = _sent("plan", file, {"document": text_of(file), "base": base, "prune": prune})
    emit(shown) if as_json else tell(shown)


@app.command(
    epilog=examples(
        "sardeenz apply -f fleet.yaml",
        "sardeenz apply -f fleet.yaml --yes",
        "sardeenz export | sardeenz apply -f - --yes",
    )
)
def apply(
    file: File,
    base: Base = "",
    prune: Prune = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show it, as `sardeenz plan` does")] = False,
    as_json: AsJson = False,
) -> None:
    """Change everything as a file says, or nothing.

    What it would change is shown first.
    """
    asked = {"document": text_of(file), "base": base, "prune": prune}
    if dry_run or not (yes and as_json):
        shown = _sent("plan", file, asked)
        emit(shown) if as_json else tell(shown)
        if dry_run or not shown["changes"]:
            return
        asked |= {"plan": shown["plan"]}
        confirm(yes=yes)
    done = _sent("apply", file, asked)
    emit(done) if as_json else say(f"applied as version {done['version']}")


def _sent(verb: str, file: str, asked: dict[str, Any]) -> Any:
    return call("POST", f"configuration/{verb}", json=asked, timeout=PATIENCE_SECONDS)


def text_of(file: str) -> str:
    """What a file or the input holds."""
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{file} is no text in UTF-8")


def tell(plan: dict[str, Any]) -> None:
    """Say what a plan would change, and what is to be known of it."""
    for change in plan["changes"]:
        say(plain(change["title"]), _COLOURS[change["verb"]])
        for sentence in change["sentences"]:
            say(f"  {plain(sentence, after=' ')}")
    for note in [*plan["restarts"], *plan["notes"], *(plan["effects"] or {"lines": []})["lines"]]:
        say(plain(note, after=" "))
    since = "" if plan["base"] is None else f", made from version {plan['base']}"
    if not plan["changes"]:
        return say(f"nothing to change: version {plan['version']} is so already{since}")
    counts = {verb: sum(each["verb"] == verb for each in plan["changes"]) for verb in _COLOURS}
    words = {"create": "to make", "change": "to change", "delete": "to delete"}
    summary = ", ".join(f"{count} {words[verb]}" for verb, count in counts.items() if count)
    say(f"{summary}; now it is version {plan['version']}{since}")


def confirm(*, yes: bool) -> None:
    """Ask whether to go on; where nobody can answer, --yes has to be said beforehand."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody can be asked here: say --yes to go on")
    if not typer.confirm("Go on?"):
        raise typer.Exit(1)
