"""`sardeenz bench drill`: what the fleet itself does, and what calls feel of it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sardeenz.cli.benchmark import load
from sardeenz.cli.benchmark.following import finish
from sardeenz.cli.client import AsJson
from sardeenz.cli.output import examples, fail


class Kind(StrEnum):
    """Each drill, as it is typed."""

    COLD_STARTS = "cold-starts"
    MOVE = "move"
    STORM = "storm"
    ELASTIC = "elastic"
    COST = "cost"


EXAMPLES = examples(
    "sardeenz bench drill cold-starts chat --cycles 5",
    "sardeenz bench drill move chat --concurrency 4    # there and back, under load",
    "sardeenz bench drill storm chat code --rate 4     # models that do not all fit, in turn",
    "sardeenz bench drill storm --trace calls.csv",
    "sardeenz bench drill elastic chat code --rate 8 --kv 2GiB",
    "sardeenz bench drill cost chat --concurrency 8    # through the gateway, and straight to the engine",
)


def drill(
    kind: Annotated[Kind, typer.Argument(help="what to do")],
    deployments: Annotated[list[str] | None, typer.Argument(help="whom to ask; two or more take turns")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="callers at once, of move and cost")] = 4,
    rate: Annotated[float, typer.Option(min=0.1, help="calls a second at the peak of a burst")] = 4.0,
    cycles: Annotated[int | None, typer.Option(min=1, help="how often")] = None,
    turn: Annotated[float, typer.Option(min=1, help="seconds of each part, or of each burst")] = 10.0,
    kv: Annotated[str | None, typer.Option(help="of elastic: the KV memory that all share, as 8GiB")] = None,
    trace: Annotated[Path | None, typer.Option(help="of storm: replay these calls")] = None,
    prompt: Annotated[str, typer.Option(help="tokens: 128, 50-200 or ~200 (about, with a long tail)")] = "128",
    output: Annotated[str, typer.Option(help="the same of answers")] = "64",
    name: Annotated[str | None, typer.Option(help="to know it by")] = None,
    as_json: AsJson = False,
) -> None:
    """Cold starts, a move under load, an eviction storm, elastic or fixed KV memory, what the gateway costs."""
    asked: dict[str, Any] = {"kind": kind.replace("-", "_"), "turn_seconds": turn}
    asked |= {"cycles": cycles} if cycles is not None else {}
    asked |= {"kv_bytes": load.size("kv", kv)} if kv is not None else {}
    body: dict[str, Any] = {"drill": asked} | ({"name": name} if name else {})
    if trace is not None:
        finish(body | {"trace": load.file("trace", trace)}, as_json)
        return
    if not deployments:
        fail("say which deployments to ask")
    bursts = kind in (Kind.STORM, Kind.ELASTIC)
    arrival = {"pattern": "poisson", "rate": rate} if bursts else {"pattern": "closed", "concurrency": concurrency}
    lengths = {"prompt": load.length("prompt", prompt), "output": load.length("output", output)}
    finish(body | {"streams": [{"deployment": each, "arrival": arrival, **lengths} for each in deployments]}, as_json)
