"""`sardeenz tail`: calls of deployments that capture, as they end."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sardeenz.cli import completion
from sardeenz.cli.client import Rows, call, deployment, rows
from sardeenz.cli.output import examples, fail, painted, plain, say
from sardeenz.cli.times import ahead

POLL_SECONDS = 0.5
MOST = 200

_WRITTEN = {"arguments", "content", "delta", "message", "name", "partial_json", "reasoning", "reasoning_content"}
_WRITTEN |= {"refusal", "text", "thinking", "url"}


app = typer.Typer()


@app.command(
    epilog=examples("sardeenz tail chat --capture 15m", "sardeenz tail chat --json", "sardeenz tail chat --off")
)
def tail(
    names: Annotated[
        list[str] | None, typer.Argument(help="deployments; all without", autocompletion=completion.deployments)
    ] = None,
    capture: Annotated[str, typer.Option(help="turn capturing on first, for so long, as 15m")] = "",
    off: Annotated[bool, typer.Option("--off", help="turn capturing off, and end")] = False,
    count: Annotated[int, typer.Option("-n", min=0, max=MOST, help="begin with so many of the latest")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="wait for more; Ctrl-C ends it")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object to a line")] = False,
) -> None:
    """Show captured calls, redacted, and follow as more come. It needs the right to change, for prompts are private."""
    if (capture or off) and not names:
        fail("say which deployments, as in `sardeenz tail chat --capture 15m`")
    chosen = [deployment(name) for name in names] if names else rows("deployments")
    if capture or off:
        until = ahead(capture).isoformat() if capture and not off else None
        chosen = [call("PATCH", f"deployments/{row['id']}", json={"capture_until": until}) for row in chosen]
    _tell_who_captures(chosen, named=bool(names))
    if off:
        return
    try:
        for each in _captures([row["id"] for row in chosen] if names else [], count, follow=follow):
            typer.echo(json.dumps(each)) if as_json else say(_block(each))
    except KeyboardInterrupt:
        pass


def _tell_who_captures(chosen: Rows, *, named: bool) -> None:
    """On standard error: what follows may stay empty for a reason."""
    now = datetime.now(UTC)
    untils = {row["name"]: datetime.fromisoformat(row["capture_until"]) for row in chosen if row["capture_until"]}
    on = {name: until for name, until in untils.items() if until > now}
    for name, until in on.items():
        say(f"{name} captures until {until.astimezone():%Y-%m-%d %H:%M:%S %Z}", "dim", error=True)
    if not named and not on:
        say("no deployment captures; `sardeenz tail NAME --capture 15m` turns it on", error=True)
    for row in chosen if named else ():
        if row["name"] not in on:
            hint = f"`sardeenz tail {row['name']} --capture 15m` turns it on"
            say(f"{row['name']} does not capture; {hint}", error=True)


def _captures(deployments: list[int], count: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The latest, oldest first, then those that come."""
    answer = call("GET", "captures", params={"deployment": deployments, "limit": max(count, 1)})
    yield from reversed(answer["results"][:count])
    while follow:
        more = call("GET", "captures", params={"deployment": deployments, "after": answer["last"], "limit": MOST})
        yield from more["results"]
        answer = more
        if len(more["results"]) < MOST:
            time.sleep(POLL_SECONDS)


# --- one call -------------------------------------------------------------------------------------------------------
def _block(each: dict[str, Any]) -> str:
    good = each["outcome"] == "ok" and each["status"] < 400
    moment = painted(f"{datetime.fromisoformat(each['at']).astimezone():%H:%M:%S}", "dim")
    status = painted(f"{each['status']} {each['outcome']}", "green" if good else "red")
    model = painted(_plain(_model(each)), "bold")
    head = f"{moment} {status}  {model}  {_key(each)}  {_tokens(each)}  {_seconds(each)}"
    asked = f"{painted('>', 'cyan')} {_plain(_asked(each['request']))}"
    answered = f"{painted('<', 'magenta')} {_plain(_answered(each['response']))}"
    return f"{head}\n{asked}\n{answered}\n"


def _model(each: dict[str, Any]) -> str:
    name = str(each["served_name"])
    return name if each["asked_name"] == name else f"{each['asked_name']} -> {name}"


def _key(each: dict[str, Any]) -> str:
    team = f" ({each['team_name']})" if each["team_name"] else ""
    return _plain(f"key {each['key_name'] or each['key_id']}{team}")


def _tokens(each: dict[str, Any]) -> str:
    asked, said, cached = each["prompt_tokens"], each["completion_tokens"], each["cached_tokens"]
    known = ["-" if count is None else f"{count:,}" for count in (asked, said)]
    return f"{known[0]} + {known[1]} tokens" + (f" ({cached:,} cached)" if cached else "")


def _seconds(each: dict[str, Any]) -> str:
    shown = {"queued": each["queue_seconds"], "woken": each["wake_seconds"], "ttft": each["ttft_seconds"]}
    parts = [f"{name} {seconds:.2f} s" for name, seconds in shown.items() if seconds]
    return ", ".join([*parts, f"e2e {each['e2e_seconds']:.2f} s"])


def _plain(text: str) -> str:
    return plain(text, after="\n  ")


def _asked(text: str) -> str:
    """The messages of a conversation by role, or a prompt; whatever is neither as it was kept."""
    body = _json(text)
    if not isinstance(body, dict):
        return text
    messages, prompt = body.get("messages"), body.get("prompt", body.get("input"))
    if isinstance(prompt, str):
        return prompt
    if isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages):
        return "\n".join(f"{each.get('role')}: {' '.join(_texts(each)) or json.dumps(each)}" for each in messages)
    return text


def _answered(text: str) -> str:
    """What the model said, each text once, or what went wrong; whatever is neither as it was kept."""
    bodies = [_json(line) for line in text.split("\n") if line]
    if None in bodies:
        return text
    return "\n".join(dict.fromkeys(part for body in bodies for part in _texts(body))) or text


def _texts(value: Any) -> Iterator[str]:
    """What somebody wrote, wherever a dialect puts it."""
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for field, inner in value.items():
            if not isinstance(inner, str):
                yield from _texts(inner)
            elif inner and field in _WRITTEN:
                yield inner


def _json(text: str) -> Any:
    """What it says; None where it was shortened, or is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None
