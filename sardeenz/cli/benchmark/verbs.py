"""`sardeenz bench`: run, list, show, compare, export, cancel."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sardeenz.cli import times
from sardeenz.cli.benchmark import drills, load, shown
from sardeenz.cli.benchmark.following import finish, follow, judge
from sardeenz.cli.client import AsJson, call, pieces
from sardeenz.cli.client import deployment as deployment_row
from sardeenz.cli.output import emit, examples, fail, say, table, typed

app = typer.Typer(
    help="Benchmarks: how fast, for how many at once, what neighbours feel of it. Each figure: docs/benchmarks.md.",
    no_args_is_help=True,
    epilog=examples(
        "sardeenz bench run chat --concurrency 8 --seconds 30",
        "sardeenz bench run chat code --rate 5 --probe summariser --slo ttft=0.5,tpot=0.05",
        "sardeenz bench compare 3 4",
    ),
)
app.command(epilog=drills.EXAMPLES)(drills.drill)
Number = Annotated[int, typer.Argument(help="a benchmark's number, as `list` shows it")]


@app.command(
    epilog=examples(
        "sardeenz bench run chat --concurrency 8 --prompt 200 --output 100",
        "sardeenz bench run chat code --rate 5 --seconds 60 --probe summariser",
        "sardeenz bench run chat --rate 1 --to-rate 20 --seconds 120 --prompt '~300' --output 50-200",
        "sardeenz bench run --trace calls.csv --speed 2",
        "sardeenz bench run chat --rate 5 --fail-if 'ttft_p95>0.5' --fail-if 'failed_ratio>0'",
        "sardeenz bench run chat --rate 5 --way both --isolated    # what the gateway costs",
    )
)
def run(
    ctx: typer.Context,
    deployments: Annotated[list[str] | None, typer.Argument(help="what to ask; several at once: contention")] = None,
    concurrency: Annotated[int | None, typer.Option(help="so many callers, each asks again when answered")] = None,
    rate: Annotated[float | None, typer.Option(help="calls a second, whatever became of those before")] = None,
    to_rate: Annotated[float | None, typer.Option("--to-rate", help="rise or fall evenly to this rate")] = None,
    pattern: Annotated[str | None, typer.Option(help="closed, constant, poisson, gamma or ramp")] = None,
    burstiness: Annotated[float | None, typer.Option(help="of gamma: below 1 is burstier than poisson")] = None,
    trace: Annotated[Path | None, typer.Option(help="replay offset_ms,model,prompt_tokens,max_tokens")] = None,
    speed: Annotated[float | None, typer.Option(help="replay the trace so many times as fast")] = None,
    prompt: Annotated[str, typer.Option(help="tokens: 128, 50-200 or ~200 (about, with a long tail)")] = "128",
    output: Annotated[str, typer.Option(help="the same of answers")] = "128",
    prompts: Annotated[Path | None, typer.Option(help="ask these prompts, JSONL, instead of made-up ones")] = None,
    shared_prefix: Annotated[float, typer.Option(help="so large a part of each prompt is the same in all")] = 0.0,
    free_output: Annotated[bool, typer.Option("--free-output", help="answers may end early")] = False,
    kind: Annotated[str, typer.Option(help="chat, completions or embeddings")] = "chat",
    way: Annotated[str, typer.Option(help="gateway, engine (straight to it), or both")] = "gateway",
    seconds: Annotated[float | None, typer.Option(help="how long; 30 unless --calls is said")] = None,
    calls: Annotated[int | None, typer.Option(help="or how many, of each deployment")] = None,
    warmup: Annotated[float | None, typer.Option(help="seconds whose calls are not measured")] = None,
    drain: Annotated[float | None, typer.Option(help="seconds to wait for the last answers; 60 unless said")] = None,
    probes: Annotated[
        list[str] | None, typer.Option("--probe", help="a neighbour to ask beside: NAME or NAME=2")
    ] = None,
    slo: Annotated[str | None, typer.Option(help="what each call has to keep, in seconds: ttft=0.5,tpot=0.05")] = None,
    isolated: Annotated[bool, typer.Option("--isolated", help="one deployment after the other")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="although another one measures on that GPU")] = False,
    metered: Annotated[bool, typer.Option("--metered", help="keep its calls as usage")] = False,
    keeps_awake: Annotated[bool, typer.Option("--keeps-awake", help="its calls begin idle times anew")] = False,
    seed: Annotated[int | None, typer.Option(help="the same calls as another run's; a new one unless said")] = None,
    name: Annotated[str | None, typer.Option(help="to know it by")] = None,
    fail_if: Annotated[list[str] | None, typer.Option("--fail-if", help="status 1 if it is so: ttft_p95>0.5")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="begin it, and do not wait for its end")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure deployments, follow it, and show what came of it. Ctrl-C cancels it."""
    row = call("POST", "benchmarks", json=load.body(deployments or [], ctx.params), timeout=120)
    if detach:
        return emit(row) if as_json else say(f"benchmark {row['id']} runs; {typed()} bench show {row['id']}")
    row = follow(row["id"])
    emit(row) if as_json else shown.tell(row)
    judge(row, fail_if or [])


@app.command(
    epilog=examples(
        "sardeenz bench search chat --slo ttft=0.5,tpot=0.05",
        "sardeenz bench search chat --slo ttft=1 --over concurrency --high 64 --beside-load code=5",
    )
)
def search(
    deployment: Annotated[str, typer.Argument(help="what to ask")],
    slo: Annotated[str, typer.Option(help="what calls have to keep, in seconds: ttft=0.5,tpot=0.05")],
    over: Annotated[str, typer.Option(help="rate (calls a second) or concurrency (callers)")] = "rate",
    low: Annotated[float, typer.Option(help="the first load tried")] = 1.0,
    high: Annotated[float, typer.Option(help="never more than this")] = 1000.0,
    ratio: Annotated[float, typer.Option(help="so large a part of the calls has to keep the SLO")] = 0.95,
    trial: Annotated[float, typer.Option(help="seconds of each trial")] = 15.0,
    most: Annotated[float, typer.Option(help="seconds of all trials together")] = 300.0,
    prompt: Annotated[str, typer.Option(help="tokens: 128, 50-200 or ~200 (about, with a long tail)")] = "128",
    output: Annotated[str, typer.Option(help="the same of answers")] = "128",
    beside_load: Annotated[
        list[str] | None, typer.Option("--beside-load", help="a neighbour's load meanwhile: NAME=CALLS_A_SECOND")
    ] = None,
    probes: Annotated[
        list[str] | None, typer.Option("--probe", help="a neighbour to ask beside: NAME or NAME=2")
    ] = None,
    name: Annotated[str | None, typer.Option(help="to know it by")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the highest load that keeps an SLO, in bounded time. Ctrl-C ends it with what is known by then."""
    lengths = {"prompt": load.length("prompt", prompt), "output": load.length("output", output)}
    streams = [{"deployment": deployment, "slo": load.slo(slo), **lengths}]
    streams += [load.neighbour(text) | lengths for text in beside_load or ()]
    bounds = {"over": over, "low": low, "high": high, "ratio": ratio, "trial_seconds": trial, "most_seconds": most}
    body = {"streams": streams, "search": bounds, "probes": [load.probe(text) for text in probes or ()]}
    finish(body | ({"name": name} if name else {}), as_json)


@app.command(epilog=examples("sardeenz bench wakes chat", "sardeenz bench wakes chat --level 2 --cycles 40"))
def wakes(
    deployment: Annotated[str, typer.Argument(help="what to put to sleep and wake")],
    level: Annotated[int, typer.Option(min=1, max=2, help="of the sleep")] = 1,
    cycles: Annotated[int, typer.Option(min=1, help="how often")] = 10,
    prompt: Annotated[str, typer.Option(help="tokens: 128, 50-200 or ~200 (about, with a long tail)")] = "128",
    output: Annotated[str, typer.Option(help="the same of answers")] = "8",
    name: Annotated[str | None, typer.Option(help="to know it by")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a model to sleep, wake it by a call through the gateway, and again: TTFT is how long that call waits."""
    lengths = {"prompt": load.length("prompt", prompt), "output": load.length("output", output)}
    asked = {"kind": "wakes", "level": level, "cycles": cycles}
    body: dict[str, Any] = {"streams": [{"deployment": deployment, **lengths}], "drill": asked}
    finish(body | ({"name": name} if name else {}), as_json)


@app.command(epilog=examples("sardeenz bench apply 7 --what-if", "sardeenz bench apply 7"))
def apply(
    number: Number,
    what_if: Annotated[bool, typer.Option("--what-if", help="say what it would do, and do nothing")] = False,
) -> None:
    """Make what a search found the deployment's limit: so many calls at once, others wait for their turn."""
    row = call("GET", f"benchmarks/{number}")
    found = (row["result"] or {}).get("search")
    if not found or not found["max_concurrency"]:
        fail(f"benchmark {number} found no limit to set")
    target = row["result"]["streams"][0]["deployment"]
    limit = {"max_concurrency": found["max_concurrency"]}
    number_of = deployment_row(target)["id"]
    for sentence in row["drift"]:
        say(f"Not as measured any more: {sentence}", "yellow")
    action = {"verb": "edit", "deployment": number_of, **limit}
    outcome = call("POST", "plans", json={"action": action})["outcome"]
    for line in outcome["lines"]:
        say(line, "dim")
    if what_if:
        return
    call("PATCH", f"deployments/{number_of}", json=limit)
    say(f"{target} answers {found['max_concurrency']} calls at once from now on; others wait")


@app.command("list", epilog=examples("sardeenz bench list", "sardeenz bench list --deployment chat"))
def listed(
    deployment: Annotated[str | None, typer.Option(help="those that asked this one")] = None, as_json: AsJson = False
) -> None:
    """List benchmarks, the newest first."""
    found = call("GET", "benchmarks", params={"limit": 50, "deployment": deployment})["results"]
    if as_json:
        return emit(found)
    lines = [
        (str(row["id"]), row["name"], ", ".join(row["deployments"]), times.shown(row["created_at"]), _ended(row))
        for row in found
    ]
    say(table(("", "name", "deployments", "asked", ""), lines) if lines else "there is no benchmark")


def _ended(row: dict[str, Any]) -> str:
    return f"{row['status']}: {row['message']}" if row["message"] else str(row["status"])


@app.command(epilog=examples("sardeenz bench show 3", "sardeenz bench show 3 --json"))
def show(
    number: Number,
    fail_if: Annotated[list[str] | None, typer.Option("--fail-if", help="status 1 if it is so: ttft_p95>0.5")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a benchmark measured."""
    row = call("GET", f"benchmarks/{number}")
    emit(row) if as_json else shown.tell(row)
    if fail_if:
        judge(row, fail_if)


@app.command(epilog=examples("sardeenz bench compare 3 4", "sardeenz bench compare 3 4 7"))
def compare(numbers: Annotated[list[int], typer.Argument(help="two to four benchmarks")]) -> None:
    """Show benchmarks side by side, with their differences to the first."""
    if not 2 <= len(numbers) <= 4:
        fail("compare two to four benchmarks")
    found = [call("GET", f"benchmarks/{number}") for number in numbers]
    if empty := [str(row["id"]) for row in found if row["result"] is None]:
        fail(f"benchmark {', '.join(empty)} has no result")
    shown.compare(found)


@app.command(epilog=examples("sardeenz bench export 3 > figures.csv"))
def export(number: Number) -> None:
    """Print the figures as CSV, a line for each stream."""
    for line in pieces(f"benchmarks/{number}", format="csv"):
        typer.echo(line, nl=False)


@app.command(epilog=examples("sardeenz bench cancel 3"))
def cancel(number: Number) -> None:
    """End a benchmark; what was measured until then is kept."""
    row = call("POST", f"benchmarks/{number}/cancel")
    say(f"benchmark {number} is {'cancelled' if row['status'] == 'cancelled' else 'told to end'}")
