"""Whose each byte of a GPU is. Decided once, on the node that has it; pages and the command line only show it. Pure.

The parts and what is free are all of the device's memory, exactly; what no process accounts for is `unexplained` and is
shown as such. It is negative where processes hold more than the device says is used: two readings are two instants.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from gpus.telemetry import GPUFrame, ProcessFrame, SegmentFrame


@dataclass(frozen=True, slots=True)
class Owner:
    """A replica, as its row says whose engine it is. Sizes are per GPU; None where nobody has measured or estimated."""

    marker: str
    name: str
    ipc_name: str
    asleep: bool
    weights_bytes: int | None = None
    overhead_bytes: int | None = None


class Holding(TypedDict):
    """What one engine holds on one GPU. `measured`: the device told, and not the row's sizes stand in.

    An engine asleep holds its context and nothing else; awake it holds no `asleep_bytes`.
    """

    marker: str
    replica_id: int
    measured: bool
    weights_bytes: int
    overhead_bytes: int
    kv_mapped_bytes: int
    kv_kept_bytes: int
    asleep_bytes: int


class Unowned(TypedDict):
    """A process that is no engine of a replica; its name is empty where the host does not show it to us."""

    pid: int
    name: str
    memory_bytes: int | None


class Ledger(TypedDict):
    """One GPU at one instant, in bytes. The sums of all holdings stand beside what is nobody's of ours.

    `kv_kept_bytes` is KV memory that an engine keeps mapped for what comes next; an orphan is an engine of this
    installation that no replica owns; `foreign` processes are everybody else's.
    """

    total_bytes: int
    free_bytes: int
    weights_bytes: int
    overhead_bytes: int
    kv_mapped_bytes: int
    kv_kept_bytes: int
    asleep_bytes: int
    orphan_bytes: int
    foreign_bytes: int
    unexplained_bytes: int
    holdings: list[Holding]
    orphans: list[Unowned]
    foreign: list[Unowned]


def ledger(
    gpu: GPUFrame,
    segments: Iterable[SegmentFrame],
    owners: Mapping[str, Owner],
    names: Mapping[int, str],
    orphans: Collection[str] = (),
) -> Ledger:
    """This GPU's ledger: `owners` by marker, names of processes by pid, and the markers that no replica owns.

    An engine that is neither owned nor an orphan is too new for the rows at hand: it counts as an engine that loads.
    """
    by_name = {segment["ipc_name"]: segment for segment in segments}
    engines: dict[str, list[ProcessFrame]] = {}
    strangers: list[ProcessFrame] = []
    for process in gpu["processes"]:
        if process["marker"] is None:
            strangers.append(process)
        else:
            engines.setdefault(process["marker"], []).append(process)
    lost = [process for marker in sorted(engines) if marker in orphans for process in engines[marker]]
    holdings = [
        _holding(marker, engines[marker], owners.get(marker), by_name)
        for marker in sorted(engines)
        if marker not in orphans
    ]
    weights = sum(holding["weights_bytes"] for holding in holdings)
    overhead = sum(holding["overhead_bytes"] for holding in holdings)
    mapped = sum(holding["kv_mapped_bytes"] for holding in holdings)
    kept = sum(holding["kv_kept_bytes"] for holding in holdings)
    asleep = sum(holding["asleep_bytes"] for holding in holdings)
    orphaned, foreign = _sum(lost), _sum(strangers)
    used = gpu["memory_used_bytes"]
    return Ledger(
        total_bytes=gpu["memory_total_bytes"],
        free_bytes=gpu["memory_total_bytes"] - used,
        weights_bytes=weights,
        overhead_bytes=overhead,
        kv_mapped_bytes=mapped,
        kv_kept_bytes=kept,
        asleep_bytes=asleep,
        orphan_bytes=orphaned,
        foreign_bytes=foreign,
        unexplained_bytes=used - weights - overhead - mapped - kept - asleep - orphaned - foreign,
        holdings=holdings,
        orphans=[_unowned(process, names) for process in lost],
        foreign=[_unowned(process, names) for process in strangers],
    )


def _holding(
    marker: str, processes: Iterable[ProcessFrame], owner: Owner | None, segments: Mapping[str, SegmentFrame]
) -> Holding:
    """The engine's bytes, part by part: KV memory as its segment says, weights as measured, overhead is the rest."""
    segment = segments.get(owner.ipc_name) if owner is not None else None
    used, kept = (segment["used_bytes"], segment["prealloc_bytes"]) if segment is not None else (0, 0)
    weights = owner.weights_bytes or 0 if owner is not None else 0
    asleep = owner is not None and owner.asleep
    sizes = [process["memory_bytes"] for process in processes]
    held = sum(size for size in sizes if size is not None)
    measured = None not in sizes
    if not measured:
        overhead = owner.overhead_bytes or 0 if owner is not None else 0
        held = max(held, overhead if asleep else weights + overhead + used + kept)
    if asleep:
        used = kept = weights = 0
    used = min(used, held)
    kept = min(kept, held - used)
    weights = min(weights, held - used - kept)
    rest = held - used - kept - weights
    return Holding(
        marker=marker,
        replica_id=int(marker.partition(":")[0]),
        measured=measured,
        weights_bytes=weights,
        overhead_bytes=0 if asleep else rest,
        kv_mapped_bytes=used,
        kv_kept_bytes=kept,
        asleep_bytes=rest if asleep else 0,
    )


def _sum(processes: Iterable[ProcessFrame]) -> int:
    return sum(process["memory_bytes"] or 0 for process in processes)


def _unowned(process: ProcessFrame, names: Mapping[int, str]) -> Unowned:
    return Unowned(pid=process["pid"], name=names.get(process["pid"], ""), memory_bytes=process["memory_bytes"])
