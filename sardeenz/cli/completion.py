"""Names for the shell's completion. It is asked at each press of Tab, so who does not answer at once offers nothing."""

from collections.abc import Iterator

from sardeenz.cli import http
from sardeenz.cli.client import Rows
from sardeenz.cli.config import current

PATIENCE_SECONDS = 1.0


def deployments(incomplete: str) -> list[str]:
    return _starting(incomplete, (row["name"] for row in _rows("deployments")))


def served_names(incomplete: str) -> list[str]:
    """Names that clients ask for."""
    aliases = [row["name"] for row in _rows("aliases")]
    return _starting(incomplete, [*(row["served_name"] for row in _rows("deployments")), *aliases])


def replicas(incomplete: str) -> list[str]:
    """Deployments, and their replicas as name/id once a slash is typed."""
    if "/" not in incomplete:
        return deployments(incomplete)
    return _starting(incomplete, (f"{row['deployment_name']}/{row['id']}" for row in _rows("replicas")))


def models(incomplete: str) -> list[str]:
    return _starting(incomplete, (row["name"] for row in _rows("models")))


def runtimes(incomplete: str) -> list[str]:
    return _starting(incomplete, (row["name"] for row in _rows("runtimes")))


def gpus(incomplete: str) -> list[str]:
    """GPUs by index where one node has them all, else as node/index."""
    found = _rows("gpus")
    alone = len({row["node"] for row in found}) == 1
    return _starting(
        incomplete, (str(row["index"]) if alone else f"{row['node_name']}/{row['index']}" for row in found)
    )


def _starting(incomplete: str, names: Iterator[str] | list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _rows(path: str) -> Rows:
    config = current()
    if not config.url or not config.token:
        return []
    try:
        url = f"{config.url}/api/{path}"
        page = http.send("GET", url, token=config.token, timeout=PATIENCE_SECONDS, limit=1000)
    except (http.Unanswered, http.Refusal):
        return []
    return list(page["results"] if isinstance(page, dict) else page)
