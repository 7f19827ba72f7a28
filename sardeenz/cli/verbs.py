"""What can be done with what is deployed: start, stop, sleep, wake, restart, cancel, move, delete."""

from typing import Annotated, Any

import typer

from sardeenz.cli import completion, progress
from sardeenz.cli.client import call, deployment, replica_id, replica_number, rows
from sardeenz.cli.output import examples, fail, say
from sardeenz.cli.policy import plans
from sardeenz.cli.policy.plans import DryRun
from sardeenz.cli.progress import DEFAULT_SECONDS, Timeout, Wait, describe

app = typer.Typer()
Evict = Annotated[bool, typer.Option("--evict", help="others make room, as far as the rules allow")]
Name = Annotated[
    str, typer.Argument(help="a deployment's name, a replica's id, or name/id", autocompletion=completion.replicas)
]


@app.command(epilog=examples("sardeenz start chat", "sardeenz start chat --evict --wait"))
def start(
    name: Name,
    evict: Evict = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Head for ready: place what is missing, start what is stopped, wake what sleeps."""
    _act(name, "start", "ready", {"evict": evict}, dry_run=dry_run, wait=wait, timeout=timeout)


@app.command(epilog=examples("sardeenz stop chat", "sardeenz stop chat/7 --wait"))
def stop(name: Name, dry_run: DryRun = False, wait: Wait = False, timeout: Timeout = DEFAULT_SECONDS) -> None:
    """Let requests finish, then end the engines."""
    _act(name, "stop", "stopped", dry_run=dry_run, wait=wait, timeout=timeout)


@app.command(epilog=examples("sardeenz sleep chat", "sardeenz sleep chat --level 2 --wait"))
def sleep(
    name: Name,
    level: Annotated[int, typer.Option(min=1, max=2, help="1 keeps the weights in host RAM, 2 drops them")] = 1,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Free GPU memory; level 1 keeps the weights in host RAM."""
    _act(name, "sleep", "sleeping", {"level": level}, dry_run=dry_run, wait=wait, timeout=timeout)


@app.command(epilog=examples("sardeenz wake chat", "sardeenz wake chat --evict --wait"))
def wake(
    name: Name,
    evict: Evict = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Wake a replica, or every replica of a deployment, from sleep."""
    _act(name, "wake", "ready", {"evict": evict}, dry_run=dry_run, wait=wait, timeout=timeout)


@app.command(epilog=examples("sardeenz restart chat", "sardeenz restart chat/7 --wait"))
def restart(name: Name, dry_run: DryRun = False, wait: Wait = False, timeout: Timeout = DEFAULT_SECONDS) -> None:
    """Stop, then start with the deployment's present settings."""
    if dry_run:
        return plans.ask("restart", replica=replica_id(name))
    row = call("POST", f"replicas/{replica_id(name)}/restart")
    say(describe(row))
    if wait:
        later = progress.started_after(row["generation"] - (0 if row["restarting"] else 1))
        progress.until(later, progress.one(row["id"]), name, seconds=timeout)


@app.command(epilog=examples("sardeenz cancel chat", "sardeenz cancel chat/7"))
def cancel(name: Name, dry_run: DryRun = False) -> None:
    """Undo what is under way: a load, a sleep, a move."""
    if dry_run:
        return plans.ask("cancel", replica=replica_id(name))
    say(describe(call("POST", f"replicas/{replica_id(name)}/cancel")))


@app.command(epilog=examples("sardeenz move chat 1", "sardeenz move chat/7 node-b/0 --wait"))
def move(
    name: Name,
    gpu: Annotated[
        str,
        typer.Argument(
            help="the GPU to move to: its index, node/index or UUID, from `sardeenz gpus`",
            autocompletion=completion.gpus,
        ),
    ],
    evict: Evict = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Start a copy on another GPU, then let go of this one; no request fails."""
    if dry_run:
        return plans.ask("move", replica=replica_id(name), gpu=gpu, evict=evict)
    row = call("POST", f"replicas/{replica_id(name)}/move", json={"gpu": gpu, "evict": evict})
    say(describe(row))
    if wait:
        copy = f"{row['deployment_name']}/{row['id']}"
        progress.until(progress.moved, progress.one(row["id"]), copy, seconds=timeout)


@app.command(epilog=examples("sardeenz delete chat", "sardeenz delete chat --wait"))
def delete(
    name: Annotated[str, typer.Argument(help="a deployment's name", autocompletion=completion.deployments)],
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_SECONDS,
) -> None:
    """Stop every replica and forget the deployment."""
    if replica_number(name) is not None and not rows("deployments", name=name):
        fail(f"{name} is a replica; delete takes a deployment, and `sardeenz stop {name}` ends one replica")
    number = deployment(name)["id"]
    if dry_run:
        return plans.ask("delete", deployment=number)
    row = call("DELETE", f"deployments/{number}")
    if row and wait:
        progress.until(progress.arrived("gone"), progress.of(number), name, seconds=timeout, gone=True)
    say(f"{name} is gone" if not row or wait else f"{name} goes when its last engine has ended")


def _act(
    name: str,
    verb: str,
    state: str,
    body: dict[str, Any] | None = None,
    *,
    dry_run: bool,
    wait: bool,
    timeout: float,
) -> None:
    if dry_run:
        return plans.ask(verb, **plans.subject(name), **(body or {}))
    number = replica_number(name)
    if number is not None:
        say(describe(call("POST", f"replicas/{number}/{verb}", json=body or {})))
        find, count = progress.one(number), 1
    else:
        row = call("POST", f"deployments/{deployment(name)['id']}/{verb}", json=body or {})
        tell(row)
        find, count = progress.of(row["id"]), row["replicas"] if verb == "start" else 1
    if wait and not (state == "stopped" and not find()):
        progress.until(progress.arrived(state, count), find, name, seconds=timeout)


def tell(row: dict[str, Any]) -> None:
    """What becomes of each replica of a deployment, after a verb."""
    for each in rows("replicas", deployment=row["id"]):
        say(describe(each))
    if row["message"]:
        say(f"{row['name']}: {row['message']}")
    elif row["placed"] < row["replicas"]:
        say(f"{row['name']} has {row['placed']} of {row['replicas']} replicas")
