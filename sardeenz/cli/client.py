"""The command line's way to the REST API, and how it names what it acts on."""

from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer

from sardeenz import sizes
from sardeenz.cli import http
from sardeenz.cli.config import current
from sardeenz.cli.output import fail

Rows = list[dict[str, Any]]
AsJson = Annotated[bool, typer.Option("--json", help="print the API's answer as JSON")]
PAGE = 1000


def call(method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None, timeout: float = 30) -> Any:
    """One request; what the API refuses is said in its words, and the command ends with status 1."""
    try:
        return ask(method, path, json=json, params=params, timeout=timeout)
    except http.Refusal as refusal:
        fail(words(refusal))


def ask(method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None, timeout: float = 30) -> Any:
    """One request. Raises Refusal, for callers that know what to do about it."""
    url, token = _way(path)
    try:
        return http.send(method, url, token=token, body=json, timeout=timeout, **(params or {}))
    except http.Unanswered as error:
        _nobody(error)


def pieces(path: str, **params: Any) -> Iterator[str]:
    """The text of a long answer, as it comes."""
    url, token = _way(path)
    try:
        with http.opened("GET", url, token=token, **params) as answer:
            for line in answer:
                yield line.decode()
    except http.Refusal as refusal:
        fail(words(refusal))
    except http.Unanswered as error:
        _nobody(error)


def words(refusal: http.Refusal) -> str:
    """What the API says, with its code."""
    body = refusal.body
    if not isinstance(body, dict):
        return f"the API answered {refusal.status}"
    said = f"{body.get('message') or body} ({body.get('code', refusal.status)})"
    offered = (body.get("fields") or {}).get("evictable") or []
    return "\n".join([said, *(_offer(one) for one in offered)])


def _offer(one: dict[str, Any]) -> str:
    """One replica that could make room, what that frees, and how long it takes."""
    seconds = "not measured yet" if one["seconds"] is None else f"about {one['seconds']:.0f} s"
    means = "stops" if one["means"] == "stop" else one["means"].replace("sleep_", "sleeps at level ")
    return f"  {one['name']}/{one['replica']} {means}, frees {sizes.shown(one['freed_bytes'])}, {seconds}: {one['why']}"


def _way(path: str) -> tuple[str, str]:
    config = current()
    if not config.url or not config.token:
        fail("no installation here: run `sardeenz up`, or set SARDEENZ_URL and SARDEENZ_TOKEN")
    return f"{config.url}/api/{path}", config.token


def _nobody(error: http.Unanswered) -> NoReturn:
    fail(f"{current().url} does not answer ({error}); is `sardeenz up` running?")


def rows(path: str, **params: Any) -> Rows:
    """Every row of a list, page by page."""
    found: Rows = []
    while True:
        page = call("GET", path, params={**params, "limit": PAGE, "offset": len(found)})
        if isinstance(page, list):
            return page
        found += page["results"]
        if len(found) >= page["count"] or not page["results"]:
            return found


def deployment(name: str) -> dict[str, Any]:
    """The deployment of this name."""
    found = rows("deployments", name=name)
    if not found:
        names = ", ".join(row["name"] for row in rows("deployments"))
        fail(f"there is no deployment {name!r}; " + (f"there are {names}" if names else "there is none at all"))
    return found[0]


def target(name: str) -> str:
    """The API path of what a verb acts on: a deployment's name, a replica's id, or both as name/id."""
    number = replica_number(name)
    return f"deployments/{deployment(name)['id']}" if number is None else f"replicas/{number}"


def replica_number(name: str) -> int | None:
    """The id in `7` or `chat/7`; None for a deployment's name."""
    number = name.rpartition("/")[2]
    return int(number) if number.isascii() and number.isdigit() else None


def replica_id(name: str) -> int:
    """The replica meant: an id, name/id, or a deployment that has only one."""
    number = replica_number(name)
    if number is not None:
        return number
    placed = rows("replicas", deployment=deployment(name)["id"])
    if len(placed) == 1:
        return int(placed[0]["id"])
    ids = ", ".join(f"{name}/{each['id']}" for each in placed)
    fail(f"{name} has {len(placed)} replicas ({ids}); say which" if placed else f"{name} has no replica now")
