"""`sardeenz deploy`: every field that the page's form has."""

from typing import Annotated, Any

import typer

from sardeenz import sizes
from sardeenz.cli import completion, progress
from sardeenz.cli.client import call, rows
from sardeenz.cli.output import examples, fail, say
from sardeenz.cli.policy import plans
from sardeenz.cli.policy.plans import DryRun
from sardeenz.cli.progress import DEFAULT_SECONDS, Timeout, Wait
from sardeenz.cli.times import ahead
from sardeenz.cli.verbs import Evict, tell

app = typer.Typer()
NONE = "none"
"""What is typed to take a field back."""


def _size(text: str) -> int | str:
    if text == NONE:
        return NONE
    try:
        size = sizes.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if text.strip().isdecimal() and 0 < size < sizes.MIB:
        raise typer.BadParameter(f"{text!r} would be bytes: write {text.strip()}GiB or {text.strip()}MiB")
    return size


def _whole(text: str) -> int | str:
    if text == NONE or (text.isascii() and text.isdecimal()):
        return text if text == NONE else int(text)
    raise typer.BadParameter(f"{text!r} is neither a whole number nor {NONE!r}")


def _seconds(text: str) -> float | str:
    try:
        return NONE if text == NONE else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number of seconds nor {NONE!r}") from None


def _moment(text: str) -> str:
    return NONE if text == NONE else ahead(text).isoformat()


def _option(flag: str, parser: Any, metavar: str, about: str) -> Any:
    return typer.Option(flag, parser=parser, metavar=metavar, help=f"{about}; {NONE} takes it back")


Name = Annotated[str, typer.Argument(help="what to call it", autocompletion=completion.deployments)]
Source = Annotated[
    str,
    typer.Option("--model", help="its name, folder or id as org/name; needed once", autocompletion=completion.models),
]
Revision = Annotated[str, typer.Option(help="of a new model: a branch, tag or commit; else the newest")]
Runtime = Annotated[str, typer.Option(help="which runtime runs it", autocompletion=completion.runtimes)]
Gpu = Annotated[
    str,
    typer.Option(help="index, node/index or UUID; else the one with the most room", autocompletion=completion.gpus),
]
ServedName = Annotated[str, typer.Option(help="what clients ask for; else the name")]
Replicas = Annotated[int | None, typer.Option(min=0, max=64, help="copies; 1 unless said")]
TensorParallel = Annotated[int | None, typer.Option(min=1, help="GPUs of each replica; 1 unless said")]
Context = Annotated[Any, _option("--max-model-len", _whole, "TOKENS", "longest context, else the model's own")]
Weights = Annotated[Any, _option("--weights", _size, "SIZE", "per GPU, as 16GiB, where the files cannot be read")]
Overhead = Annotated[Any, _option("--overhead", _size, "SIZE", "CUDA context, graphs, activations, as 2GiB")]
KvFloor = Annotated[Any, _option("--kv-floor", _size, "SIZE", "KV memory it always has, as 2GiB")]
KvCap = Annotated[Any, _option("--kv-cap", _size, "SIZE", "KV memory it may grow to, as 20GiB")]
KvWeight = Annotated[int | None, typer.Option(min=1, max=100, help="its part where models compete for KV memory")]
MaySleep = Annotated[bool | None, typer.Option("--sleep/--no-sleep", help="whether it may sleep")]
IdleSleep = Annotated[Any, _option("--idle-sleep", _seconds, "SECONDS", "sleep after so long without a request")]
Priority = Annotated[int | None, typer.Option(help="higher is kept longer when memory is short")]
Pinned = Annotated[bool | None, typer.Option("--pinned/--no-pinned", help="never put to sleep to make room")]
Concurrency = Annotated[Any, _option("--max-concurrency", _whole, "CALLS", "at once; more wait in its queue")]
QueueLimit = Annotated[int | None, typer.Option(min=0, help="calls that may wait in its queue")]
QueueSeconds = Annotated[Any, _option("--queue-seconds", _seconds, "SECONDS", "how long a call may wait there")]
Affinity = Annotated[
    bool | None, typer.Option("--prefix-affinity/--no-prefix-affinity", help="same beginning, same replica")
]
Problems = Annotated[
    bool | None,
    typer.Option("--ignore-known-problems/--no-ignore-known-problems", help="deploy what is known to break"),
]
Capture = Annotated[Any, _option("--capture", _moment, "SPAN", "keep the latest calls, redacted, for so long, as 1h")]
Args = Annotated[list[str] | None, typer.Option("--arg", help="one word for the engine, as --arg=--seed; repeat it")]
Variables = Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the engine's environment; repeat it")]


@app.command(
    epilog=examples(
        "sardeenz deploy chat --model meta-llama/Llama-3.1-8B-Instruct --weights 16GiB --wait",
        "sardeenz deploy chat --replicas 2",
        "sardeenz deploy code --model qwen-32b --gpu 1 --kv-cap 20GiB --idle-sleep 600",
        "sardeenz deploy code --kv-cap none",
        "sardeenz deploy code --evict",
        "sardeenz deploy code --replicas 2 --dry-run",
    )
)
def deploy(
    ctx: typer.Context,
    name: Name,
    source: Source = "",
    revision: Revision = "",
    runtime: Runtime = "",
    gpu: Gpu = "",
    served_name: ServedName = "",
    replicas: Replicas = None,
    tensor_parallel: TensorParallel = None,
    max_model_len: Context = None,
    weights_bytes: Weights = None,
    overhead_bytes: Overhead = None,
    kv_floor_bytes: KvFloor = None,
    kv_cap_bytes: KvCap = None,
    kv_weight: KvWeight = None,
    sleep_enabled: MaySleep = None,
    idle_sleep_seconds: IdleSleep = None,
    priority: Priority = None,
    pinned: Pinned = None,
    max_concurrency: Concurrency = None,
    queue_limit: QueueLimit = None,
    queue_seconds: QueueSeconds = None,
    prefix_affinity: Affinity = None,
    capture_until: Capture = None,
    ignore_known_problems: Problems = None,
    extra_args: Args = None,
    env: Variables = None,
    evict: Evict = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Serve a model: make the deployment, or change the one there is, and place it."""
    found = rows("deployments", name=name)
    if not found and not source:
        fail("--model is needed for a new deployment: its name, a folder of the models directory, or an id as org/name")
    said = _said(ctx.params) | {"deploy": True, "evict": evict}
    if dry_run:
        return plans.ask("edit", deployment=name, **said) if found else plans.ask("create", name=name, **said)
    if found:
        row = call("PATCH", f"deployments/{found[0]['id']}", json=said)
    else:
        row = call("POST", "deployments", json={"name": name} | said)
    if found and len(said) > 2:
        say(
            f"{name} is changed: traffic at once, the rest at each replica's next start, as by: sardeenz restart {name}"
        )
    say(f"{row['name']}: {row['placed']} of {row['replicas']} replicas placed")
    tell(row)
    if row["reason"] == "no_capacity" and not evict:
        say(f"where others may make room for it: sardeenz deploy {name} --evict")
    if wait:
        done, find = progress.arrived("ready", row["replicas"]), progress.of(row["id"])
        progress.until(done, find, name, seconds=timeout)


_NOT_FIELDS = {"name", "env", "evict", "dry_run", "wait", "timeout"}


def _said(params: dict[str, Any]) -> dict[str, Any]:
    """The fields that were given, as the API takes them."""
    fields = {field: value for field, value in params.items() if field not in _NOT_FIELDS}
    said = {field: value for field, value in fields.items() if value not in (None, "", [], ())}
    if params["env"]:
        said["environment"] = dict(_pair(text) for text in params["env"])
    return {field: None if value == NONE else value for field, value in said.items()}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return (name, value) if equals else fail(f"--env {text}: write NAME=VALUE")
