"""Every byte of a GPU is somebody's, or is shown as nobody's: the parts and what is free are all of it."""

from hypothesis import given
from hypothesis import strategies as st

from gpus.telemetry import GPUFrame, ProcessFrame, SegmentFrame
from models_app.memory.ledger import Ledger, Owner, ledger

GIB = 2**30
SUMMED = (
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


def process(pid: int, memory_bytes: int | None, marker: str | None) -> ProcessFrame:
    return ProcessFrame(pid=pid, memory_bytes=memory_bytes, marker=marker)


def gpu(used: int, *processes: ProcessFrame, total: int = 80 * GIB) -> GPUFrame:
    return GPUFrame(
        uuid="GPU-1",
        index=0,
        name="a GPU",
        parent_uuid="",
        memory_total_bytes=total,
        memory_used_bytes=used,
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        power_limit_watts=None,
        processes=list(processes),
    )


def segment(name: str, used: int, kept: int) -> SegmentFrame:
    return SegmentFrame(ipc_name=name, limit_bytes=40 * GIB, used_bytes=used, prealloc_bytes=kept)


def owner(marker: str, *, asleep: bool = False, weights: int | None = 10 * GIB, overhead: int | None = GIB) -> Owner:
    return Owner(marker, "chat", f"srdz_{marker}", asleep, weights, overhead)


def parts(of: Ledger) -> dict[str, float]:
    return {part.removesuffix("_bytes"): of[part] / GIB for part in SUMMED if of[part]}  # type: ignore[literal-required]


def test_an_awake_engine_is_weights_overhead_and_kv_memory() -> None:
    seen = gpu(16 * GIB, process(1, 15 * GIB, "7:1"), process(2, GIB, "7:1"))
    found = ledger(seen, [segment("srdz_7:1", 3 * GIB, GIB)], {"7:1": owner("7:1")}, {})
    assert parts(found) == {"free": 64, "weights": 10, "overhead": 2, "kv_mapped": 3, "kv_kept": 1}
    assert found["holdings"][0]["measured"]


def test_what_a_sleeper_holds_is_its_residue_whatever_its_segment_says() -> None:
    found = ledger(
        gpu(GIB, process(1, GIB, "7:1")), [segment("srdz_7:1", 3 * GIB, 0)], {"7:1": owner("7:1", asleep=True)}, {}
    )
    assert parts(found) == {"free": 79, "asleep": 1}


def test_an_engine_that_loads_holds_no_more_weights_than_it_holds_bytes() -> None:
    found = ledger(gpu(4 * GIB, process(1, 4 * GIB, "7:1")), [], {"7:1": owner("7:1")}, {})
    assert parts(found) == {"free": 76, "weights": 4}


def test_an_engine_too_new_for_the_rows_is_nobodys_orphan() -> None:
    found = ledger(gpu(4 * GIB, process(1, 4 * GIB, "7:1")), [], {}, {})
    assert parts(found) == {"free": 76, "overhead": 4}


def test_orphans_and_foreign_processes_are_named() -> None:
    seen = gpu(9 * GIB, process(1, 4 * GIB, "7:1"), process(2, 3 * GIB, None))
    found = ledger(seen, [], {}, {1: "vllm", 2: "python3"}, orphans={"7:1"})
    assert parts(found) == {"free": 71, "orphan": 4, "foreign": 3, "unexplained": 2}
    assert found["orphans"] == [{"pid": 1, "name": "vllm", "memory_bytes": 4 * GIB}]
    assert found["foreign"] == [{"pid": 2, "name": "python3", "memory_bytes": 3 * GIB}]


def test_where_the_device_does_not_tell_the_rows_stand_in_and_say_so() -> None:
    found = ledger(
        gpu(20 * GIB, process(1, None, "7:1")), [segment("srdz_7:1", 3 * GIB, GIB)], {"7:1": owner("7:1")}, {}
    )
    assert parts(found) == {"free": 60, "weights": 10, "overhead": 1, "kv_mapped": 3, "kv_kept": 1, "unexplained": 5}
    assert not found["holdings"][0]["measured"]


SIZES = st.integers(0, 80 * GIB)
MARKERS = st.sampled_from([None, "1:1", "2:1", "3:4"])


@given(
    used=SIZES,
    processes=st.lists(st.tuples(st.none() | SIZES, MARKERS), max_size=8),
    owned=st.dictionaries(st.sampled_from(["1:1", "2:1"]), st.tuples(st.booleans(), st.none() | SIZES)),
    segments=st.dictionaries(st.sampled_from(["1:1", "2:1", "9:9"]), st.tuples(SIZES, SIZES)),
    orphans=st.sets(st.sampled_from(["3:4"])),
)
def test_the_parts_are_all_of_the_device_and_only_the_unexplained_is_ever_negative(
    used: int,
    processes: list[tuple[int | None, str | None]],
    owned: dict[str, tuple[bool, int | None]],
    segments: dict[str, tuple[int, int]],
    orphans: set[str],
) -> None:
    seen = gpu(used, *(process(pid, size, marker) for pid, (size, marker) in enumerate(processes)))
    owners = {marker: owner(marker, asleep=asleep, weights=weights) for marker, (asleep, weights) in owned.items()}
    found = ledger(seen, [segment(f"srdz_{name}", *sizes) for name, sizes in segments.items()], owners, {}, orphans)
    sums = [found[part] for part in SUMMED]  # type: ignore[literal-required]
    assert sum(sums) == found["total_bytes"]
    assert min(sums[:-1]) >= 0
    for holding in found["holdings"]:
        told = [size for size, marker in processes if marker == holding["marker"]]
        if None not in told:
            assert sum(holding[part] for part in SUMMED if part in holding) == sum(told)  # type: ignore[literal-required, misc]
