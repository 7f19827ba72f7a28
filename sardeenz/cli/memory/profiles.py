"""`sardeenz profiles`: what was measured of each kind of replica, beside what was expected."""

from typing import Any

import typer

from sardeenz import sizes
from sardeenz.cli.client import AsJson, call
from sardeenz.cli.output import emit, examples, say, table

app = typer.Typer()
_COLUMNS = (
    "model", "GPU", "vLLM", "length", "GPUs", "weights", "overhead", "graphs", "load", "1st sleep", "sleep", "wake",
    "sleep 2", "wake 2", "host RAM asleep",
)  # fmt: skip
_SECONDS = (
    "load_seconds", "first_sleep_seconds", "sleep_seconds", "wake_seconds", "deep_sleep_seconds", "deep_wake_seconds"
)  # fmt: skip


@app.command(epilog=examples("sardeenz profiles", "sardeenz profiles --json"))
def profiles(as_json: AsJson = False) -> None:
    """What loads, sleeps and wakes were measured to take, by kind and GPU.

    Sizes are per GPU, with their difference to what was expected; the two last figures of seconds are of sleep level 2.
    """
    found = call("GET", "profiles")
    if as_json:
        return emit(found)
    if not found:
        return say("Nothing was measured yet: a replica's first load, sleep and wake are.")
    say(table(_COLUMNS, [_line(row) for row in found], right=frozenset(range(3, len(_COLUMNS)))))


def _line(row: dict[str, Any]) -> list[str]:
    return [
        row["model"] + (f"@{row['revision']}" if row["revision"] else ""),
        row["gpu_name"] or "-",
        row["version"] or "-",
        str(row["max_model_len"] or "-"),
        str(row["tensor_parallel"]),
        _size(row, "weights_bytes"),
        _size(row, "overhead_bytes"),
        sizes.shown(row["graphs_bytes"]),
        *("-" if row[name] is None else f"{row[name]:.2f} s" for name in _SECONDS),
        sizes.shown(row["host_asleep_bytes"]),
    ]


def _size(row: dict[str, Any], name: str) -> str:
    """The size as measured, and how much more or less that is than expected; of a simulated GPU as pretended."""
    shown, expected = sizes.shown(row[name]), row[f"expected_{name}"]
    if row["simulated"]:
        return f"{shown} (pretended)"
    if not expected:
        return shown
    more = row[name] - expected
    return f"{shown} ({'+' if more >= 0 else '-'}{sizes.shown(abs(more))}, {more / expected:+.0%})"
