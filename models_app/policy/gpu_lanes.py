"""Which model held which GPU when: lanes for each GPU, and every eviction with its reason and what it cost."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from models_app.models import Replica, Transition
from models_app.policy import why_words
from models_app.policy.lanes import MOST_CHANGES, LaneSpan, spans
from models_app.policy.verdicts import EVICTED
from models_app.states import State


class HolderLane(TypedDict):
    """One replica on one GPU; it may be gone."""

    replica: int
    deployment: str
    gone: bool
    spans: list[LaneSpan]


class GpuLanes(TypedDict):
    """Who was on one GPU."""

    gpu: str
    lanes: list[HolderLane]


class Switch(TypedDict):
    """One model gave its place to another. The cost is the time from then until that one served; null: not yet."""

    at: str
    gpus: list[str]
    left: str
    replica: int
    came: str | None
    cost_seconds: float | None
    sentence: str


class Timeline(TypedDict):
    """What is known from `since` on, which is later than asked for where there were too many changes."""

    since: str
    until: str
    gpus: list[GpuLanes]
    switches: list[Switch]


def between(since: datetime, until: datetime) -> Timeline:
    """Every GPU that somebody was on in this span. Five queries."""
    known = Transition.objects.filter(replica__isnull=False)
    newest = list(known.filter(at__gte=since, at__lt=until).order_by("-id")[:MOST_CHANGES])
    if len(newest) == MOST_CHANGES:
        since = newest[-1].at
    changes = newest[::-1]
    there = set(Replica.objects.values_list("pk", flat=True))
    before = known.filter(at__lt=since, replica__in=there).order_by("replica_id", "-id").distinct("replica_id")
    rows: dict[int, list[Transition]] = {}
    for row in [*before, *changes]:
        rows.setdefault(row.replica_id or 0, []).append(row)
    by_gpu: dict[str, list[HolderLane]] = {}
    for number, own in sorted(rows.items()):
        gone = number not in there
        lane: HolderLane = {
            "replica": number,
            "deployment": own[-1].deployment_name,
            "gone": gone,
            "spans": spans(own, since, gone=gone),
        }
        for gpu in next((row.gpus for row in reversed(own) if row.gpus), []):
            by_gpu.setdefault(gpu, []).append(lane)
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "gpus": [{"gpu": gpu, "lanes": lanes} for gpu, lanes in sorted(by_gpu.items())],
        "switches": _switches(changes),
    }


def _switches(changes: list[Transition]) -> list[Switch]:
    """The newest first."""
    evictions = [row for row in changes if row.reason == EVICTED and row.old == row.new]
    names = {name for row in evictions if (name := _wanted(row))}
    served = Transition.objects.filter(deployment_name__in=names, new=State.READY).exclude(old=State.READY)
    first = evictions[0].at if evictions else None
    ready = list(served.filter(at__gte=first).order_by("id")[:MOST_CHANGES]) if first else []
    return [_switch(row, ready) for row in reversed(evictions)]


def _switch(row: Transition, ready: Iterable[Transition]) -> Switch:
    came = _wanted(row)
    then = next((one for one in ready if one.deployment_name == came and one.at >= row.at), None)
    return {
        "at": row.at.isoformat(),
        "gpus": row.gpus,
        "left": row.deployment_name,
        "replica": row.replica_id or 0,
        "came": came,
        "cost_seconds": (then.at - row.at).total_seconds() if then else None,
        "sentence": why_words.sentence(f"{row.deployment_name}/{row.replica_id}", row),
    }


def _wanted(row: Transition) -> str | None:
    """For which deployment it gave its place."""
    wanted = row.fields.get("wanted")
    return wanted.get("name") if isinstance(wanted, dict) else None
