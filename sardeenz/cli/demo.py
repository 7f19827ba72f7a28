"""`sardeenz demo`: three sample deployments on the simulator, to have something to look at."""

import time
from typing import Annotated, Any

import typer

from sardeenz.cli import config, http
from sardeenz.cli.client import call, rows
from sardeenz.cli.output import examples, fail, say, typed
from sardeenz.sizes import GIB

SAMPLES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("chat", "sample/chat-8b", {"weights_bytes": 16 * GIB, "kv_cap_bytes": 40 * GIB, "idle_sleep_seconds": 900}),
    ("code", "sample/code-32b", {"weights_bytes": 34 * GIB, "kv_cap_bytes": 30 * GIB, "idle_sleep_seconds": 600}),
    ("summariser", "sample/summariser-14b", {"weights_bytes": 28 * GIB, "kv_cap_bytes": 30 * GIB, "priority": -1}),
)

WINDOWS: tuple[dict[str, Any], ...] = (
    {
        "name": "work-hours",
        "weekdays": ["mon", "tue", "wed", "thu", "fri"],
        "time": "08:00",
        "duration_seconds": 10 * 3600,
        "ready_by": True,
        "states": [
            {"deployment": "chat", "priority": 5, "kv_weight": 4},
            {"deployment": "code", "priority": 5, "kv_weight": 4},
        ],
    },
    {
        "name": "nights",
        "cron": "0 20 * * *",
        "duration_seconds": 11 * 3600,
        "states": [{"deployment": "summariser", "priority": 5, "kv_weight": 20}],
    },
)
"""Work hours favour chat and code, nights give the summariser most of the KV memory."""

app = typer.Typer()


@app.command(epilog=examples("sardeenz demo", "sardeenz demo --wait 30"))
def demo(
    wait_seconds: Annotated[float, typer.Option("--wait", help="seconds to wait for the installation")] = 180.0,
) -> None:
    """Add the deployments chat, code and summariser, on simulated engines.

    Work hours favour chat and code, nights the summariser.
    """
    _wait(wait_seconds)
    if not any(gpu["simulated"] and gpu["present"] for gpu in rows("gpus")):
        fail("the demo needs simulated GPUs: start with SARDEENZ_GPUS=simulated:2x80GiB")
    existing = {row["name"]: row["id"] for row in rows("deployments")}
    for name, source, sizes in SAMPLES:
        fixed = {"runtime": "simulator", "kv_floor_bytes": GIB, "overhead_bytes": GIB, "max_model_len": 32768}
        if name in existing:
            call("POST", f"deployments/{existing[name]}/deploy", json={})
        else:
            call("POST", "deployments", json={"name": name, "source": source, "deploy": True} | fixed | sizes)
        say(f"{name}: deployed")
    known = {row["name"] for row in rows("windows")}
    for window in WINDOWS:
        if window["name"] not in known:
            call("POST", "windows", json=window)
        say(f"{window['name']}: a window, {typed()} windows show {window['name']}")
    say(f"Try: {typed()} chat chat 'Hello'")


def _wait(seconds: float) -> None:
    """Until a first `sardeenz up` has written down its address and answers there."""
    deadline = time.monotonic() + seconds
    while not _answers(config.current().url):
        if time.monotonic() > deadline:
            fail("no installation answers: run `make up` in another terminal")
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        if url:
            http.send("GET", f"{url}/health", timeout=5)
    except (http.Unanswered, http.Refusal):
        return False
    return bool(url)
