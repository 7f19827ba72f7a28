"""`sardeenz usage`: what was used, by whom and of which model."""

from typing import Annotated, Any

import typer

from sardeenz.cli import completion
from sardeenz.cli.client import AsJson, Rows, pieces, rows
from sardeenz.cli.output import emit, examples, say, table
from sardeenz.cli.times import ago

_SHOWN = {"hour": "hour", "day": "day", "key": "key_name", "team": "team_name", "model": "served_name"}
_SUMS = {
    "calls": "calls",
    "failed": "failed",
    "cancelled": "cancelled",
    "prompt_tokens": "tokens in",
    "cached_tokens": "cached",
    "completion_tokens": "tokens out",
    "gpu_seconds": "GPU s",
}


app = typer.Typer()


@app.command(
    epilog=examples(
        "sardeenz usage", "sardeenz usage --by team,model --since 30d", "sardeenz usage --by day --csv > usage.csv"
    )
)
def usage(
    by: Annotated[str, typer.Option(help="some of hour, day, key, team, model, with commas between")] = "model",
    since: Annotated[str, typer.Option(help="how far back, as 12h, 7d or 4w, or a date")] = "7d",
    until: Annotated[str, typer.Option(help="up to then, likewise; else now")] = "",
    model: Annotated[str, typer.Option(help="of this served name only", autocompletion=completion.served_names)] = "",
    key: Annotated[int | None, typer.Option(help="of the key with this id only")] = None,
    team: Annotated[str, typer.Option(help="of this team only")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV")] = False,
    as_json: AsJson = False,
) -> None:
    """Calls, tokens and GPU time, added up by the hour (UTC)."""
    first = ago(since).replace(minute=0, second=0, microsecond=0)  # sums are kept by the hour
    asked = {"group_by": by, "since": first.isoformat(), "until": ago(until).isoformat() if until else ""}
    asked |= {"model": model, "key": "" if key is None else str(key), "team": team}
    params = {field: value for field, value in asked.items() if value}
    if as_csv:
        for piece in pieces("usage/hours", format="csv", **params):
            typer.echo(piece, nl=False)
        return
    found = rows("usage/hours", **params)
    emit(found) if as_json else say(_table(found, [word.strip() for word in by.split(",")]))


def _table(found: Rows, groups: list[str]) -> str:
    lines = [[*_names(row, groups), *(_number(row[field]) for field in _SUMS)] for row in found]
    if found:
        sums = (_number(sum(row[field] for row in found)) for field in _SUMS)
        lines.append([*("all" if place == 0 else "" for place in range(len(groups))), *sums])
    right = frozenset(range(len(groups), len(groups) + len(_SUMS)))
    return table((*groups, *_SUMS.values()), lines, right=right, foot=1 if found else 0)


def _names(row: dict[str, Any], groups: list[str]) -> list[str]:
    return [str(row[_SHOWN[group]] or "-").removesuffix(":00:00Z") for group in groups]


def _number(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
