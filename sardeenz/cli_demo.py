"""`sardeenz demo`: three sample deployments on the simulator, to have something to look at."""

import time
from typing import Annotated, Any

import httpx2
import typer

from sardeenz import cli_config
from sardeenz.cli_client import call, console, fail, rows
from sardeenz.cli_verbs import model_named

GIB = 1024**3
SAMPLES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("chat", "sample/chat-8b", {"weights_bytes": 16 * GIB, "kv_cap_bytes": 40 * GIB, "idle_sleep_seconds": 900}),
    ("code", "sample/code-32b", {"weights_bytes": 34 * GIB, "kv_cap_bytes": 30 * GIB, "idle_sleep_seconds": 600}),
    ("summariser", "sample/summariser-14b", {"weights_bytes": 28 * GIB, "kv_cap_bytes": 30 * GIB, "priority": -1}),
)


def demo(
    wait_seconds: Annotated[float, typer.Option("--wait", help="seconds to wait for the installation")] = 180.0,
) -> None:
    """Add the deployments chat, code and summariser, on simulated engines."""
    _wait(wait_seconds)
    if not any(gpu["simulated"] and gpu["present"] for gpu in rows("gpus")):
        fail("the demo needs simulated GPUs: start with SARDEENZ_GPUS=simulated:2x80GiB")
    existing = {row["name"]: row["id"] for row in rows("deployments")}
    for name, source, sizes in SAMPLES:
        if name not in existing:
            fixed = {"runtime": "simulator", "kv_floor_bytes": GIB, "overhead_bytes": GIB, "max_model_len": 32768}
            body = {"name": name, "model": model_named(source)} | fixed | sizes
            existing[name] = call("POST", "deployments", json=body)["id"]
        call("POST", f"deployments/{existing[name]}/deploy", json={})
        console.print(f"{name}: deployed")
    console.print("Try: sardeenz chat chat 'Hello'")


def _wait(seconds: float) -> None:
    """Until a first `sardeenz up` has written down its address and answers there."""
    deadline = time.monotonic() + seconds
    while not _answers(cli_config.current().url):
        if time.monotonic() > deadline:
            fail("no installation answers: run `make up` in another terminal")
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        return bool(url) and httpx2.get(f"{url}/health", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
