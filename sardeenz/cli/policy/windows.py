"""Windows: recurring times in which deployments have other settings; list, show, add, edit, pause, resume, delete."""

from typing import Annotated, Any

import typer

from sardeenz import sizes
from sardeenz.cli import times
from sardeenz.cli.client import AsJson, Rows, call, rows
from sardeenz.cli.output import emit, examples, fail, say, table
from sardeenz.cli.policy import plans
from sardeenz.cli.policy.plans import DryRun

FIELDS = {
    "level": "level",
    "kv-floor": "kv_floor_bytes",
    "kv-cap": "kv_cap_bytes",
    "kv-weight": "kv_weight",
    "priority": "priority",
    "replicas": "replicas",
    "pinned": "pinned",
    "max-concurrency": "max_concurrency",
    "queue-limit": "queue_limit",
    "queue-seconds": "queue_seconds",
}
"""What a window may ask for, as it is typed and as the API names it."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

app = typer.Typer(
    help="Recurring times in which deployments have other settings.",
    no_args_is_help=True,
    epilog=examples(
        "sardeenz windows add work --days mon-fri --at 09:00 --for 9h --zone Europe/Berlin --set chat:priority=5",
        "sardeenz windows show work",
    ),
)
Name = Annotated[str, typer.Argument(help="the window's name")]
Cron = Annotated[str | None, typer.Option(help="five fields: minute, hour, day of the month, month, day of the week")]
Days = Annotated[str | None, typer.Option(help="instead of --cron, with --at: as mon-fri or sat,sun")]
At = Annotated[str | None, typer.Option(help="the time on those days, as 09:00")]
Zone = Annotated[str | None, typer.Option(help="whose clock counts, as Europe/Berlin; UTC unless said")]
Length = Annotated[str | None, typer.Option("--for", help="how long it stays open, in real time: 30m, 9h, 2d")]
Precedence = Annotated[int | None, typer.Option(help="of several open windows the highest decides")]
ReadyBy = Annotated[
    bool | None, typer.Option("--ready-by/--no-ready-by", help="models it keeps awake are ready when it opens")
]
From = Annotated[
    str | None, typer.Option("--from", help="opens at no time before this moment, as 2030-01-31T12:00:00Z")
]
Until = Annotated[str | None, typer.Option("--until", help="does not open again after this moment")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help=f"DEPLOYMENT:FIELD=VALUE,... or KEY=VALUE:FIELD=VALUE,... for a label; fields: {', '.join(FIELDS)}",
    ),
]
Without = Annotated[list[str] | None, typer.Option(help="a deployment or label it asks nothing of any more")]


@app.command("list", epilog=examples("sardeenz windows list", "sardeenz windows list --json"))
def list_windows(as_json: AsJson = False) -> None:
    """List every window: when it opens, whether it is open, and when that changes."""
    found = rows("windows")
    if as_json:
        return emit(found)
    lines = [(row["name"], _when(row), str(row["precedence"]), *_standing(row)) for row in found]
    say(table(("window", "opens", "precedence", "now", "next change"), lines) if lines else "there is no window")


@app.command(epilog=examples("sardeenz windows show work"))
def show(name: Name, as_json: AsJson = False) -> None:
    """Show what a window asks, its next five openings and closings, and what there is to say of them."""
    row = call("GET", f"windows/{_row(name)['id']}")
    emit(row) if as_json else _tell(row)


@app.command(
    epilog=examples(
        "sardeenz windows add night --cron '0 20 * * *' --for 11h --zone Europe/Berlin "
        "--set summariser:priority=5,kv-floor=30GiB --set team=dev:level=asleep-1",
        "sardeenz windows add work --days mon-fri --at 09:00 --for 9h --set chat:level=awake --ready-by --dry-run",
    )
)
def add(
    ctx: typer.Context,
    name: Name,
    cron: Cron = None,
    days: Days = None,
    at: At = None,
    zone: Zone = None,
    length: Length = None,
    precedence: Precedence = None,
    ready_by: ReadyBy = None,
    valid_from: From = None,
    valid_until: Until = None,
    sets: Sets = None,
    dry_run: DryRun = False,
) -> None:
    """Save a window, and show when it opens next."""
    if length is None:
        fail("say with --for how long it stays open, as 9h")
    body = {"name": name} | _given(ctx.params) | {"states": [_state(text) for text in sets or ()]}
    row = call("POST", "windows/preview" if dry_run else "windows", json=body)
    _tell(row | {"name": name} if dry_run else row)
    if dry_run:
        plans.foresee(change=body)
        say("Nothing was saved.", "dim")


@app.command(
    epilog=examples("sardeenz windows edit work --for 10h", "sardeenz windows edit work --set chat:priority=9")
)
def edit(
    ctx: typer.Context,
    name: Name,
    cron: Cron = None,
    days: Days = None,
    at: At = None,
    zone: Zone = None,
    length: Length = None,
    precedence: Precedence = None,
    ready_by: ReadyBy = None,
    valid_from: From = None,
    valid_until: Until = None,
    sets: Sets = None,
    without: Without = None,
    dry_run: DryRun = False,
) -> None:
    """Change what is said; --set replaces all that the window asks of that deployment or label."""
    row, body = _row(name), _given(ctx.params)
    if cron is not None:
        body |= {"weekdays": [], "time": None}
    elif days is not None or at is not None:
        body |= {"cron": ""}
    if sets or without:
        named = [_target(text.rpartition(":")[0]) for text in sets or ()] + [_target(text) for text in without or ()]
        replaced = [(one["deployment"], one["label"]) for one in named]
        kept = [state for state in row["states"] if _whom(state) not in replaced]
        body["states"] = [*map(_plain, kept), *(_state(text) for text in sets or ())]
    if dry_run:
        return plans.foresee(window=name, change=body)
    _tell(call("PATCH", f"windows/{row['id']}", json=body))


@app.command(epilog=examples("sardeenz windows pause work"))
def pause(name: Name, dry_run: DryRun = False) -> None:
    """Keep a window without effect; what it governs is as without it at once."""
    if dry_run:
        return plans.foresee(window=name, change={"paused": True})
    call("PATCH", f"windows/{_row(name)['id']}", json={"paused": True})
    say(f"{name} is paused")


@app.command(epilog=examples("sardeenz windows resume work"))
def resume(name: Name, dry_run: DryRun = False) -> None:
    """Let a paused window count again."""
    if dry_run:
        return plans.foresee(window=name, change={"paused": False})
    _tell(call("PATCH", f"windows/{_row(name)['id']}", json={"paused": False}))


@app.command(epilog=examples("sardeenz windows delete work"))
def delete(name: Name, dry_run: DryRun = False) -> None:
    """Forget a window; what it governs is as without it at once."""
    if dry_run:
        return plans.foresee(window=name, delete=True)
    call("DELETE", f"windows/{_row(name)['id']}")
    say(f"{name} is gone")


def _row(name: str) -> dict[str, Any]:
    found = rows("windows", name=name)
    return found[0] if found else fail(f"there is no window {name!r}")


def _given(params: dict[str, Any]) -> dict[str, Any]:
    """The options that were said, as the API takes them."""
    said = {"cron": params["cron"], "zone": params["zone"], "time": params["at"], "precedence": params["precedence"]}
    said |= {"ready_by": params["ready_by"]}
    for field in ("valid_from", "valid_until"):
        said[field] = times.instant(params[field]).isoformat() if params[field] else None
    if params["days"] is not None:
        said["weekdays"] = _days(params["days"])
    if params["length"] is not None:
        span = times.span(params["length"])
        said["duration_seconds"] = span.total_seconds() if span else fail(f"{params['length']!r} is no span such as 9h")
    return {field: value for field, value in said.items() if value is not None}


def _days(text: str) -> list[str]:
    days: list[str] = []
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last and last not in DAYS):
            fail(f"{part!r} is no day: write days as mon-fri or sat,sun")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days += [DAYS[(start + step) % 7] for step in range((end - start) % 7 + 1)]
    return list(dict.fromkeys(days))


def _target(text: str) -> dict[str, Any]:
    return {"deployment": None, "label": text} if "=" in text else {"deployment": text, "label": ""}


def _state(text: str) -> dict[str, Any]:
    """`chat:priority=5,kv-floor=30GiB` as the API takes it."""
    whom, colon, asked = text.rpartition(":")
    if not colon or not whom:
        fail(f"{text!r}: write --set chat:priority=5,kv-weight=10")
    state = _target(whom)
    for part in asked.split(","):
        name, _, value = part.partition("=")
        if name not in FIELDS or not value:
            fail(f"{part!r} is no setting of a window; there are {', '.join(FIELDS)}, each as NAME=VALUE")
        state[FIELDS[name]] = _value(name, value)
    return {key: value for key, value in state.items() if value not in (None, "")}


def _value(name: str, text: str) -> Any:
    if name == "level":
        return text.replace("-", "_")
    if name in ("kv-floor", "kv-cap"):
        try:
            return sizes.parse(text)
        except ValueError as error:
            fail(f"{name}: {error}")
    if name == "pinned":
        return {"yes": True, "no": False}.get(text, text)
    return text


def _whom(state: dict[str, Any]) -> tuple[str | None, str]:
    return state["deployment_name"] or None, state["label"]


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "deployment_name" and value not in (None, "")}


def _when(row: dict[str, Any]) -> str:
    days = f"{','.join(row['weekdays'])} {row['time']}" if row["weekdays"] else row["cron"]
    return f"{days} {row['zone']} for {_span(row['duration_seconds'])}"


def _span(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    parts = [
        f"{hours} h" if hours else "",
        f"{rest // 60} min" if rest // 60 else "",
        f"{rest % 60} s" if rest % 60 else "",
    ]
    return " ".join(part for part in parts if part)


def _standing(row: dict[str, Any]) -> tuple[str, str]:
    if row["paused"]:
        return "paused", "-"
    if row["open_since"]:
        return "open", f"closes {times.shown(row['open_until'])}" if row["open_until"] else "never closes"
    return "closed", f"opens {row['next'][0]['opens_local']}" if row["next"] else "-"


def _tell(row: dict[str, Any]) -> None:
    """A window, a sentence to a line."""
    if "states" in row:
        now, then = _standing(row)
        say(f"{row['name']}: {_when(row)}, precedence {row['precedence']}, {now}{', ' + then if then != '-' else ''}")
        for state in row["states"]:
            asked = [f"{name} {_shown(name, state[field])}" for name, field in FIELDS.items() if _said(state[field])]
            say(f"  {state['deployment_name'] or state['label']}: {', '.join(asked)}")
    _tell_openings(row["next"])
    for note in [*row["notes"], *row["warnings"]]:
        say(f"Note: {note}", "yellow")
    say(row["zone_database"], "dim")


def _tell_openings(coming: Rows) -> None:
    lines = [(one["opens_local"], one["opens_at"][:16] + "Z", one["closes_local"], one["note"]) for one in coming]
    say(table(("opens", "in UTC", "closes", ""), lines) if lines else "it does not open again")


def _said(value: Any) -> bool:
    return value is not None and value != ""


def _shown(name: str, value: Any) -> str:
    if name in ("kv-floor", "kv-cap"):
        return sizes.shown(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", "-")
