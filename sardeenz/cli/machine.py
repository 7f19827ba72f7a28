"""`sardeenz gpu`: maintenance of a GPU, or of all GPUs of a node: cordon, drain, uncordon."""

from typing import Annotated, Any

import typer

from sardeenz.cli import completion
from sardeenz.cli.client import call, rows
from sardeenz.cli.output import examples, fail, say
from sardeenz.cli.policy import plans
from sardeenz.cli.policy.plans import DryRun
from sardeenz.cli.progress import describe

app = typer.Typer(
    help="Maintenance of a GPU or a node: cordon, drain, uncordon.",
    no_args_is_help=True,
    epilog=examples("sardeenz gpu cordon 0", "sardeenz gpu drain node-b/0 --dry-run", "sardeenz gpu uncordon 0"),
)
Which = Annotated[
    str | None,
    typer.Argument(
        help="the GPU: its index, node/index or UUID, from `sardeenz gpus`",
        autocompletion=completion.gpus,
        show_default=False,
    ),
]
Node = Annotated[str | None, typer.Option(help="all GPUs of this node")]
Message = Annotated[str, typer.Option("--message", "-m", help="why, for the history and the pages")]


@app.command(epilog=examples("sardeenz gpu cordon 0", "sardeenz gpu cordon --node node-b -m 'new driver'"))
def cordon(gpu: Which = None, node: Node = None, message: Message = "", dry_run: DryRun = False) -> None:
    """Place nothing new there; what runs there runs on."""
    _act("cordon", gpu, node, {"message": message}, dry_run=dry_run)


@app.command(epilog=examples("sardeenz gpu uncordon 0", "sardeenz gpu uncordon --node node-b"))
def uncordon(gpu: Which = None, node: Node = None, dry_run: DryRun = False) -> None:
    """Place new replicas there again; a drain ends."""
    _act("uncordon", gpu, node, {}, dry_run=dry_run)


@app.command(epilog=examples("sardeenz gpu drain 0 --dry-run", "sardeenz gpu drain node-b/0 -m 'new fan' --stop"))
def drain(
    gpu: Which = None,
    node: Node = None,
    message: Message = "",
    stop: Annotated[bool, typer.Option("--stop", help="what no other GPU takes is stopped, else it stays")] = False,
    dry_run: DryRun = False,
) -> None:
    """Cordon, and move every replica to other GPUs while its calls go on."""
    _act("drain", gpu, node, {"message": message, "stop": stop}, dry_run=dry_run)


def _act(verb: str, gpu: str | None, node: str | None, body: dict[str, Any], *, dry_run: bool) -> None:
    if (gpu is None) == (node is None):
        fail("name one GPU, or a node with --node")
    if dry_run:
        return plans.ask(verb, **({"gpu": gpu} if node is None else {"node": node}), **body)
    where = f"gpus/{str(gpu).replace('/', ':')}" if node is None else f"nodes/{node}"
    gpus = call("POST", f"{where}/{verb}", json=body)
    for one in gpus:
        say(_described(one))
    there = {one["uuid"] for one in gpus}
    if verb == "drain":
        for replica in rows("replicas"):
            if there & set(replica["gpu_uuids"]):
                say(describe(replica))


def _described(gpu: dict[str, Any]) -> str:
    named = f"GPU {gpu['index']} ({gpu['uuid']})"
    if (cordoned := gpu["cordon"]) is None:
        return f"{named} takes new replicas"
    doing = ", and is emptied" if cordoned["drain"] else ""
    return f"{named} is cordoned by {cordoned['by']} ({cordoned['message']}){doing}"
