"""The command line's way to the REST API, and how it names what it acts on."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import httpx2
import typer
from rich.console import Console

from sardeenz import cli_config

Rows = list[dict[str, Any]]
AsJson = Annotated[bool, typer.Option("--json", help="print the API's answer as JSON")]
WIDE = 500
"""Columns of what is piped or written to a file: a line there is never broken."""
console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, highlight=False)


def call(method: str, path: str, **options: Any) -> Any:
    """One request; what the API refuses is said in its words, and the command ends with status 1."""
    url, headers = _way(path)
    try:
        answer = httpx2.request(method, url, headers=headers, timeout=30, **options)
    except httpx2.TransportError as error:
        _nobody(error)
    if answer.is_error:
        fail(_refusal(answer))
    return answer.json() if answer.content else None


def pieces(path: str, **params: Any) -> Iterator[str]:
    """The text of a long answer, as it comes."""
    url, headers = _way(path)
    try:
        with httpx2.stream("GET", url, headers=headers, params=params, timeout=30) as answer:
            if answer.is_error:
                answer.read()
                fail(_refusal(answer))
            yield from answer.iter_text()
    except httpx2.TransportError as error:
        _nobody(error)


def _way(path: str) -> tuple[str, dict[str, str]]:
    config = cli_config.current()
    if not config.url or not config.token:
        fail("no installation here: run `sardeenz up`, or set SARDEENZ_URL and SARDEENZ_TOKEN")
    return f"{config.url}/api/{path}", {"Authorization": f"Bearer {config.token}"}


def _nobody(error: httpx2.TransportError) -> NoReturn:
    fail(f"{cli_config.current().url} does not answer ({error}); is `sardeenz up` running?")


def rows(path: str, **params: Any) -> Rows:
    """Every row of a list, page by page."""
    found: Rows = []
    while True:
        page = call("GET", path, params={**params, "limit": 1000, "offset": len(found)})
        if isinstance(page, list):
            return page
        found += page["results"]
        if len(found) >= page["count"] or not page["results"]:
            return found


def deployment(name: str) -> dict[str, Any]:
    """The deployment of this name."""
    found = rows("deployments", name=name)
    if not found:
        fail(f"there is no deployment {name!r}")
    return found[0]


def target(name: str) -> str:
    """The API path of what a verb acts on: a deployment's name, a replica's id, or both as name/id."""
    number = name.rpartition("/")[2]
    return f"replicas/{number}" if number.isdigit() else f"deployments/{deployment(name)['id']}"


def replica_id(name: str) -> int:
    """The replica meant: an id, name/id, or a deployment that has only one."""
    number = name.rpartition("/")[2]
    if number.isdigit():
        return int(number)
    placed = rows("replicas", deployment=deployment(name)["id"])
    if len(placed) == 1:
        return int(placed[0]["id"])
    ids = ", ".join(f"{name}/{each['id']}" for each in placed) or "none"
    fail(f"{name} has {len(placed)} replicas ({ids}); say which")


def emit(answer: Any) -> None:
    """The API's answer for programs."""
    typer.echo(json.dumps(answer, indent=2))


def fail(message: str) -> NoReturn:
    """Say it on standard error and end."""
    errors.print(f"[red]{message}[/]" if "[" not in message else message, markup="[" not in message)
    raise typer.Exit(1)


def size(size_bytes: int | None) -> str:
    """Bytes for people; unknown is a dash."""
    return "-" if size_bytes is None else f"{size_bytes / 1024**3:.1f} GiB"


def _refusal(answer: httpx2.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"the API answered {answer.status_code}"
    return f"{body.get('message') or body} ({body.get('code', answer.status_code)})"
