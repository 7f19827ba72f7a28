"""What there is: status, gpus, models, history, logs."""

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from sardeenz.cli_client import AsJson, Rows, call, console, emit, replica_id, rows, size

_COLOURS = {"ready": "green", "sleeping": "blue", "failed": "red", "stopped": "dim"}


def status(as_json: AsJson = False) -> None:
    """GPUs and the replicas on them."""
    fleet = call("GET", "snapshot")
    if as_json:
        return emit(fleet)
    console.print(_gpu_table(fleet["gpus"], fleet["nodes"]))
    console.print(_replica_table(fleet))
    idle = [each["name"] for each in fleet["deployments"] if not each["placed"]]
    if idle:
        console.print(f"Not placed: {', '.join(idle)}", style="dim")


def gpus(as_json: AsJson = False) -> None:
    """GPUs of every node."""
    found = rows("gpus")
    emit(found) if as_json else console.print(_gpu_table(call("GET", "snapshot")["gpus"], rows("nodes")))


def models(as_json: AsJson = False) -> None:
    """Models and the deployments that serve them."""
    found, deployments = rows("models"), rows("deployments")
    if as_json:
        return emit(found)
    table = _table("model", "source", "revision", "deployments")
    for model in found:
        serving = ", ".join(each["name"] for each in deployments if each["model"] == model["id"])
        table.add_row(model["name"], model["source"], model["revision"] or "-", serving or "-")
    console.print(table)


def history(
    name: Annotated[str, typer.Argument(help="a deployment; all without")] = "",
    count: Annotated[int, typer.Option("-n", help="how many")] = 30,
    as_json: AsJson = False,
) -> None:
    """What happened to replicas, when, why and by whom; the newest first."""
    params = {"limit": count} | ({"deployment": name} if name else {})
    found = call("GET", "transitions", params=params)["results"]
    if as_json:
        return emit(found)
    table = _table("when", "replica", "from", "to", "reason", "actor")
    for each in found:
        told = each["message"] or each["reason"]
        where = f"{each['deployment_name']}/{each['replica']}"
        table.add_row(each["at"][:19], where, each["old"] or "-", each["new"], told, each["actor"])
    console.print(table)


def logs(
    name: Annotated[str, typer.Argument(help="a deployment with one replica, name/id, or an id")],
    lines: Annotated[int, typer.Option("-n", "--lines")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow")] = False,
    as_json: AsJson = False,
) -> None:
    """The engine's own log."""
    path = f"replicas/{replica_id(name)}/logs"
    answer = call("GET", path, params={"lines": lines})
    if as_json:
        return emit(answer)
    _write(answer["lines"])
    while follow:
        time.sleep(1.0)
        after = call("GET", path, params={"lines": 2000})
        _write(_newer(answer["lines"], after["lines"]))
        answer = after


def _newer(old: list[str], new: list[str]) -> list[str]:
    """The lines of `new` that come after the end of `old`; all of them when the log began anew."""
    tail = old[-20:]
    for start in range(len(new) - len(tail), -1, -1):
        if tail and new[start : start + len(tail)] == tail:
            return new[start + len(tail) :]
    return new


def _write(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def _gpu_table(gpus: Rows, nodes: Rows) -> Table:
    names = {node["id"]: node["name"] for node in nodes}
    table = _table("node", "gpu", "device", "uuid", "promised", "memory")
    for gpu in gpus:
        device = gpu["name"] + (" [yellow](simulated)[/]" if gpu["simulated"] and "imulated" not in gpu["name"] else "")
        device += "" if gpu["present"] else " [red](away)[/]"
        promised = size(gpu.get("reserved_bytes"))
        table.add_row(names[gpu["node"]], str(gpu["index"]), device, gpu["uuid"], promised, size(gpu["memory_bytes"]))
    return table


def _replica_table(fleet: dict[str, Any]) -> Table:
    indexes = {gpu["id"]: gpu["index"] for gpu in fleet["gpus"]}
    table = _table("replica", "serves", "gpu", "state", "goal", "holds", "")
    for each in fleet["replicas"]:
        colour = _COLOURS.get(each["state"], "yellow")
        held = sum(reservation["held_bytes"] for reservation in each["reservations"])
        table.add_row(
            f"{each['deployment_name']}/{each['id']}",
            each["served_name"],
            str(indexes.get(each["gpu"], "-")),
            f"[{colour}]{each['state']}[/]",
            each["goal"],
            size(held),
            _remark(each),
        )
    return table


def _remark(replica: dict[str, Any]) -> str:
    if replica["state"] == "starting" and replica["phase"]:
        ratio = replica["progress_ratio"]
        return str(replica["phase"]) + ("" if ratio is None else f" {ratio:.0%}")
    return str(replica["message"] or replica["reason"]).partition("\n")[0][:100]


COMMANDS = (status, gpus, models, history, logs)
