"""What there is and what it does now: status, gpus."""

import time
from typing import Annotated, Any

import typer

from sardeenz import sizes
from sardeenz.cli import times
from sardeenz.cli.client import AsJson, Rows, ask, call, rows, words
from sardeenz.cli.http import Refusal
from sardeenz.cli.output import Cell, emit, examples, painted, say, table

WATCH_SECONDS = 2.0
UNEXPLAINED_RATIO = 0.01
"""Below this part of a GPU, what nobody accounts for is two readings of two instants."""
CLEAR = "\x1b[H\x1b[2J\x1b[3J"

_WAITS_UNTIL = {
    "wake": "it wakes",
    "load": "it starts",
    "room": "there is room on its GPU",
    "engine": "its engine accepts connections",
    "queue": "fewer of its calls are being answered",
}
_COLOURS = {"ready": "green", "sleeping": "blue", "failed": "red", "stopped": "dim"}
_GPU_COLUMNS = ("node", "gpu", "device", "used", "reserved", "memory", "busy", "uuid")
_REPLICA_COLUMNS = (
    "replica", "serves", "gpu", "state", "goal", "used", "reserved", "KV", "running", "waiting", "tokens/s", ""
)  # fmt: skip
app = typer.Typer()


@app.command(epilog=examples("sardeenz status", "sardeenz status --watch", "sardeenz status --json"))
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="show it anew every 2 seconds; Ctrl-C ends it")] = False,
    as_json: AsJson = False,
) -> None:
    """GPUs, the replicas on them, and what they do now."""
    if as_json:
        return emit(call("GET", "snapshot"))
    try:
        while True:
            shown = _page()
            say(CLEAR + shown if watch else shown)
            if not watch:
                return None
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        pass


@app.command(epilog=examples("sardeenz gpus", "sardeenz gpus --json"))
def gpus(as_json: AsJson = False) -> None:
    """List the GPUs of every node, with their memory and how busy they are."""
    if as_json:
        return emit(rows("gpus"))
    say(_gpu_table(call("GET", "snapshot"), Now()))


class Now:
    """The newest readings: each device by UUID, each live engine and KV segment by what names it."""

    def __init__(self) -> None:
        self.missing = ""
        try:
            frames = ask("GET", "telemetry")
        except Refusal as refusal:  # the rows are worth showing without them
            frames, self.missing = [], words(refusal)
        self.ledgers = {uuid: ledger for frame in frames for uuid, ledger in frame["ledgers"].items()}
        self.gpus = {gpu["uuid"]: gpu for frame in frames for gpu in frame["gpus"]}
        self.engines = {engine["marker"]: engine for frame in frames for engine in frame["engines"]}
        self.segments: dict[str, Rows] = {}
        for segment in (segment for frame in frames for segment in frame["segments"]):
            self.segments.setdefault(segment["ipc_name"], []).append(segment)


def _page() -> str:
    fleet, now = call("GET", "snapshot"), Now()
    parts = [_gpu_table(fleet, now), "", _replica_table(fleet, now)]
    notes = [*_waiting(fleet["deployments"]), *_unplaced(fleet["deployments"]), *_ignored(fleet["deployments"])]
    notes += [painted(each["words"], "red") for each in call("GET", "services") if each["silent"]]
    if now.missing:
        notes.append(painted(f"No readings of the devices: {now.missing}", "yellow"))
    return "\n".join([*parts, *([""] if notes else []), *notes])


def _gpu_table(fleet: dict[str, Any], now: Now) -> str:
    names = {node["id"]: node["name"] for node in fleet["nodes"]}
    lines: list[list[Cell]] = []
    for gpu in fleet["gpus"]:
        reading = now.gpus.get(gpu["uuid"], {})
        busy = reading.get("utilization_ratio")
        lines.append(
            [
                names[gpu["node"]],
                str(gpu["index"]),
                _device(gpu),
                sizes.shown(reading.get("memory_used_bytes")),
                sizes.shown(gpu["reserved_bytes"]),
                sizes.shown(gpu["memory_bytes"]),
                "-" if busy is None else f"{busy:.0%}",
                gpu["uuid"],
            ]
        )
        lines += [["", "", (what, "yellow"), size, "", "", "", ""] for what, size in _unowned(now, gpu["uuid"])]
    return table(_GPU_COLUMNS, lines, right=frozenset((3, 4, 5, 6)))


def _unowned(now: Now, uuid: str) -> list[tuple[str, str]]:
    """What no replica owns of a GPU's memory, each with its size; nothing while no frame tells."""
    if uuid not in now.gpus:
        return []
    if (ledger := now.ledgers.get(uuid)) is None:
        return [("the driver tells no processes", "")]
    unowned = [
        (f"{kind}: {process['name'] or 'name hidden'} (pid {process['pid']})", sizes.shown(process["memory_bytes"]))
        for kind, processes in (("orphan", ledger["orphans"]), ("foreign", ledger["foreign"]))
        for process in processes
    ]
    size = ledger["unexplained_bytes"]
    if abs(size) > UNEXPLAINED_RATIO * ledger["total_bytes"]:
        unowned.append((f"unexplained: processes hold {'less' if size > 0 else 'more'} by", sizes.shown(abs(size))))
    return unowned


def _device(gpu: dict[str, Any]) -> Cell:
    if not gpu["present"]:
        return f"{gpu['name']} (away)", "red"
    if cordon := gpu["cordon"]:
        return f"{gpu['name']} ({'emptied' if cordon['drain'] else 'cordoned'}: {cordon['message']})", "yellow"
    return str(gpu["name"]) + (" (simulated)" if gpu["simulated"] and "imulated" not in gpu["name"] else "")


def _replica_table(fleet: dict[str, Any], now: Now) -> str:
    places = _places(fleet)
    lines: list[list[Cell]] = []
    for each in fleet["replicas"]:
        engine = now.engines.get(each["marker"], {})
        used = [size for size in engine.get("memory_bytes", {}).values() if size is not None]
        lines.append(
            [
                f"{each['deployment_name']}/{each['id']}",
                each["served_name"],
                ",".join(places[uuid] for uuid in each["gpu_uuids"] if uuid in places) or "-",
                (each["state"], _COLOURS.get(each["state"], "yellow")),
                each["goal"],
                sizes.shown(sum(used) if used else None),
                sizes.shown(sum(reservation["held_bytes"] for reservation in each["reservations"])),
                _kv(engine, now.segments.get(each["ipc_name"], [])),
                *(_count(engine.get(field)) for field in ("running", "waiting", "tokens_per_second")),
                _remark(each),
            ]
        )
    return table(_REPLICA_COLUMNS, lines, right=frozenset(range(5, 11)))


def _places(fleet: dict[str, Any]) -> dict[str, str]:
    """How a GPU is named, by UUID: as a verb takes it."""
    nodes = {node["id"]: node["name"] for node in fleet["nodes"]}
    several = len({gpu["node"] for gpu in fleet["gpus"]}) > 1
    return {
        gpu["uuid"]: f"{nodes[gpu['node']]}/{gpu['index']}" if several else str(gpu["index"]) for gpu in fleet["gpus"]
    }


def _kv(engine: dict[str, Any], segments: Rows) -> str:
    """What is mapped of what may be, where the engine's KV memory is elastic; else how full its own block is."""
    if segments:
        used = sum(segment["used_bytes"] + segment["prealloc_bytes"] for segment in segments)
        return f"{sizes.shown(used)} of {sizes.shown(sum(segment['limit_bytes'] for segment in segments))}"
    ratio = engine.get("kv_usage_ratio")
    return "-" if ratio is None else f"{ratio:.0%}"


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _remark(replica: dict[str, Any]) -> str:
    if replica["state"] == "starting" and replica["phase"]:
        ratio = replica["progress_ratio"]
        return str(replica["phase"]) + ("" if ratio is None else f" {ratio:.0%}")
    if replica["message"]:
        return str(replica["message"]).partition("\n")[0]
    if replica["outdated"]:
        return f"started before {', '.join(replica['outdated'])} changed; `sardeenz restart` applies that"
    return "" if replica["state"] == "ready" else str(replica["reason"].replace("_", " "))  # how it got there is past


def _waiting(deployments: Rows) -> list[str]:
    """Who has callers waiting, since when, for what and until when."""
    found = []
    for row in deployments:
        if waiting := row.get("waiting"):
            since = f" since {times.clock(waiting['since'])}" if waiting.get("since") else ""
            until = f"; expected ready at {times.clock(waiting['expected_at'])}" if waiting["expected_at"] else ""
            why = f" until {_WAITS_UNTIL.get(waiting['reason'], waiting['reason'])}" if waiting.get("reason") else ""
            calls = "1 call waits" if waiting["count"] == 1 else f"{waiting['count']} calls wait"
            found.append(painted(f"{row['name']}: {calls}{since}{why}{until}", "yellow"))
    return found


def _unplaced(deployments: Rows) -> list[str]:
    names = [row["name"] for row in deployments if not row["placed"]]
    return [painted(f"Not placed: {', '.join(names)}; `sardeenz start NAME` places one", "dim")] if names else []


def _ignored(deployments: Rows) -> list[str]:
    """Whose known problems are ignored, and what these are."""
    return [
        painted(f"{row['name']}: known problem ignored: {problem['words']} ({problem['source']})", "yellow")
        for row in deployments
        if row["ignore_known_problems"]
        for problem in row["known_problems"]
    ]
