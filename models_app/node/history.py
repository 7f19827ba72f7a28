"""What of every node's frames is kept: the fields by kind of subject, and their values in a frame."""

from collections import Counter
from collections.abc import Iterable

from models_app.node.frame import EngineFrame, NodeFrame

READ = ("memory_used_bytes", "utilization_ratio", "temperature_celsius", "power_watts")
LEDGER = (
    "free_bytes",
    "weights_bytes",
    "overhead_bytes",
    "kv_mapped_bytes",
    "kv_kept_bytes",
    "asleep_bytes",
    "orphan_bytes",
    "foreign_bytes",
    "unexplained_bytes",
)
FIELDS: dict[str, tuple[str, ...]] = {
    "gpu": (*READ, *LEDGER),
    "replica": (
        "running",
        "waiting",
        "kv_usage_ratio",
        "tokens_per_second",
        "kv_mapped_bytes",
        "kv_limit_bytes",
        "memory_bytes",
    ),
    "node": ("memory_used_bytes", "sleepers_bytes", "awake_bytes", "others_bytes"),
}
"""Kept rows hold values in this order: a new field goes to the end of its kind."""

RATIOS = ("kv_usage_ratio",)
"""What does not add up."""

Values = list[float | None]


def values(frames: Iterable[NodeFrame]) -> dict[str, Values]:
    """By subject, what these frames tell; what a device or an engine did not say is None."""
    kept: dict[str, Values] = {}
    for frame in frames:
        kept[f"node:{frame['node']}"] = _node(frame)
        for gpu in frame["gpus"]:
            ledger = frame["ledgers"].get(gpu["uuid"])
            read = [gpu[name] for name in READ]  # type: ignore[literal-required]
            kept[f"gpu:{gpu['uuid']}"] = read + [ledger[name] if ledger else None for name in LEDGER]  # type: ignore[literal-required]
        mapped = _mapped(frame)
        for engine in frame["engines"]:
            kept[f"replica:{engine['replica_id']}"] = _engine(engine, mapped.get(engine["marker"]))
    return kept


def _node(frame: NodeFrame) -> Values:
    host, ram = frame["host"], frame["host_ram"]
    used = host["memory_total_bytes"] - host["memory_available_bytes"]
    parts = (ram["sleepers_bytes"], ram["awake_bytes"], ram["others_bytes"]) if ram else (None, None, None)
    return [used, *parts]


def _engine(engine: EngineFrame, mapped_bytes: int | None) -> Values:
    """The memory is of all its GPUs together, unknown where one of them does not tell."""
    sizes = list(engine["memory_bytes"].values())
    told = [size for size in sizes if size is not None]
    return [
        engine["running"],
        engine["waiting"],
        engine["kv_usage_ratio"],
        engine["tokens_per_second"],
        mapped_bytes,
        engine["kv_limit_bytes"],
        sum(told) if told and len(told) == len(sizes) else None,
    ]


def _mapped(frame: NodeFrame) -> Counter[str]:
    """KV memory that requests fill, by engine and of all its GPUs; one that no ledger knows is absent."""
    mapped: Counter[str] = Counter()
    for ledger in frame["ledgers"].values():
        for one in ledger["holdings"]:
            mapped[one["marker"]] += one["kv_mapped_bytes"]
    return mapped
