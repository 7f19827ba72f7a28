"""What can be done: deploy, start, stop, sleep, wake, move, restart, cancel, delete."""

from typing import Annotated, Any

import typer

from sardeenz import env
from sardeenz.cli_client import Rows, call, console, fail, replica_id, rows, size, target
from sardeenz.cli_limits import ahead

Name = Annotated[str, typer.Argument(help="a deployment's name, a replica's id, or name/id")]


def deploy(
    name: Annotated[str, typer.Argument(help="what to call the deployment")],
    model: Annotated[str, typer.Option(help="a model's name or source; needed the first time")] = "",
    runtime: Annotated[str, typer.Option(help="which runtime runs it")] = "",
    gpu: Annotated[str, typer.Option(help="place it on this GPU, by UUID")] = "",
    served_name: Annotated[str, typer.Option(help="what clients ask for; else the name")] = "",
    replicas: Annotated[int | None, typer.Option(min=1, help="1 unless said")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1)] = None,
    tensor_parallel: Annotated[int | None, typer.Option(min=1, help="1 unless said")] = None,
    weights: Annotated[str, typer.Option(help="bytes of the weights, such as 16GiB, when they cannot be read")] = "",
    kv_cap: Annotated[str, typer.Option(help="KV memory it may grow to, such as 20GiB")] = "",
    arg: Annotated[list[str] | None, typer.Option(help="one word for the engine; repeat it")] = None,
    max_concurrency: Annotated[int | None, typer.Option(min=1, help="requests at once; more wait in its queue")] = None,
    queue_limit: Annotated[int | None, typer.Option(min=0, help="requests that may wait")] = None,
    queue_seconds: Annotated[float | None, typer.Option(min=0, help="how long one may wait")] = None,
    prefix_affinity: Annotated[
        bool | None, typer.Option("--prefix-affinity/--no-prefix-affinity", help="same beginning, same replica")
    ] = None,
    capture: Annotated[str, typer.Option(help="keep the latest requests, redacted, for so long, as 1h")] = "",
) -> None:
    """Serve a model: make the deployment, or change what is said of the one there is, and place its replicas."""
    found = rows("deployments", name=name)
    if not found and not model:
        fail("--model is needed for a new deployment")
    said: dict[str, Any] = {
        "served_name": served_name,
        "model": model_named(model) if model else None,
        "runtime": runtime,
        "replicas": replicas,
        "max_model_len": max_model_len,
        "tensor_parallel": tensor_parallel,
        "weights_bytes": _bytes(weights),
        "kv_cap_bytes": _bytes(kv_cap),
        "extra_args": arg or [],
        "max_concurrency": max_concurrency,
        "queue_limit": queue_limit,
        "queue_seconds": queue_seconds,
        "prefix_affinity": prefix_affinity,
        "capture_until": ahead(capture).isoformat() if capture else None,
    }
    number = _write(name, found, {field: value for field, value in said.items() if value not in (None, "", [])})
    row = call("POST", f"deployments/{number}/deploy", json={"gpu": gpu} if gpu else {})
    console.print(f"{row['name']}: {row['placed']} of {row['replicas']} replicas placed; `sardeenz status` shows them")


def _write(name: str, found: Rows, said: dict[str, Any]) -> int:
    """The id of the deployment, made or changed; replicas take a change of the engine over at their next start."""
    if not found:
        return int(call("POST", "deployments", json={"name": name} | said)["id"])
    if said:
        call("PATCH", f"deployments/{found[0]['id']}", json=said)
    return int(found[0]["id"])


def model_named(text: str) -> int:
    """The id of the model with this name or source, made if it is new."""
    for row in rows("models"):
        if text in (row["name"], row["source"]):
            return int(row["id"])
    return int(call("POST", "models", json={"name": text.rstrip("/").rpartition("/")[2], "source": text})["id"])


def start(name: Name) -> None:
    """Head for ready."""
    _act(name, "start")


def stop(name: Name) -> None:
    """Let requests finish, then end the engines."""
    _act(name, "stop")


def sleep(name: Name, level: Annotated[int, typer.Option(min=1, max=2)] = 1) -> None:
    """Free GPU memory; level 1 keeps the weights in host RAM."""
    _act(name, "sleep", {"level": level})


def wake(name: Name) -> None:
    """Wake from sleep."""
    _act(name, "wake")


def restart(name: Name) -> None:
    """Stop, then start with the deployment's present settings."""
    _say(call("POST", f"replicas/{replica_id(name)}/restart"))


def cancel(name: Name) -> None:
    """Undo what is under way: a load, a sleep, a move."""
    _say(call("POST", f"replicas/{replica_id(name)}/cancel"))


def move(name: Name, gpu: Annotated[str, typer.Argument(help="the UUID of the GPU to move to")]) -> None:
    """Start a copy on another GPU, then let go of this one; no request fails."""
    _say(call("POST", f"replicas/{replica_id(name)}/move", json={"gpu": gpu}))


def delete(name: Annotated[str, typer.Argument(help="a deployment's name")]) -> None:
    """Stop every replica and forget the deployment."""
    row = call("DELETE", target(name))
    console.print(f"{name} goes when its last engine has ended" if row else f"{name} is gone")


def _act(name: str, verb: str, body: dict[str, Any] | None = None) -> None:
    _say(call("POST", f"{target(name)}/{verb}", json=body or {}))


def _say(row: dict[str, Any]) -> None:
    if "state" in row:
        held = sum(each["held_bytes"] for each in row["reservations"])
        console.print(f"{row['deployment_name']}/{row['id']}: {row['state']}, goal {row['goal']}, holds {size(held)}")
    else:
        console.print(f"{row['name']}: {row['placed']} of {row['replicas']} replicas placed")


def _bytes(text: str) -> int | None:
    try:
        return env.parse_size(text) if text else None
    except ValueError as error:
        fail(str(error))


COMMANDS = (deploy, start, stop, sleep, wake, restart, cancel, move, delete)
