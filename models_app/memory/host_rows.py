"""A node's RAM as rows and its latest frame tell it, for `host_ram`."""

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.db.models import Q

from gpus import telemetry
from gpus.errors import TelemetryUnavailable
from gpus.models import Node
from models_app.memory import host_ram, standing
from models_app.memory.host_ram import Copy, Holder, Host, HostLedger
from models_app.memory.standing import Standing
from models_app.models import Replica
from models_app.states import LIVE, Goal, State

DEEPENS = "demoted_to_level_2"
"""The reason on a row that sleeps at level 1, wakes for lack of host RAM, and sleeps again at level 2."""
RESTS = "demoted_to_stopped"
"""The reason on a sleeper whose engine ends for lack of host RAM; it loads at its first request."""
DEMOTED = (DEEPENS, RESTS)


def read(node: Node, *, begun: bool = False) -> Host:
    """The node's RAM. With `begun`, those on their way to sleep count only where their drain is over."""
    rows = standing.read(Replica.objects.filter(gpu__node=node, state__in=LIVE))
    return _host(node, ledger(node.name), [row for row in rows if not begun or not _drains(row)])


def around(replicas: Collection[int]) -> tuple[dict[int, Standing], dict[int, Host]]:
    """How these replicas stand, and the RAM of each of their nodes, both by id; rows and frames are read once."""
    nodes = list(Node.objects.filter(gpus__replicas__in=replicas).distinct())
    rows = standing.read(Replica.objects.filter(Q(gpu__node__in=nodes, state__in=LIVE) | Q(pk__in=replicas)))
    frames, by_node = ledgers(), defaultdict[int, list[Standing]](list)
    for row in rows:
        if row.state in LIVE:
            by_node[row.node_id].append(row)
    hosts = {node.pk: _host(node, frames.get(node.name), by_node[node.pk]) for node in nodes}
    wanted = frozenset(replicas)
    return {row.pk: row for row in rows if row.pk in wanted and row.node_id in hosts}, hosts


def _host(node: Node, now: HostLedger | None, rows: list[Standing]) -> Host:
    holders = [_holder(row, now) for row in rows]
    if now is None:
        return Host(node.name, node.sleep_budget_bytes, holders=tuple(holders))
    return Host(node.name, node.sleep_budget_bytes, now["available_bytes"], now["margin_bytes"], holders=tuple(holders))


def ledger(node: str) -> HostLedger | None:
    """What the node's loop said last; None where it is silent, or has measured nothing yet."""
    return ledgers().get(node)


def ledgers() -> dict[str, HostLedger]:
    """The same of all nodes whose loops are heard and have measured something, by name."""
    try:
        frames = cast("list[dict[str, Any]]", telemetry.latest())
    except TelemetryUnavailable:
        return {}
    return {frame["node"]: frame["host_ram"] for frame in frames if frame.get("host_ram")}


def copy_of(row: Replica | Standing) -> Copy:
    """What its sleep at level 1 takes."""
    weights = row.weights_bytes * max(len(row.gpu_uuids), 1)
    fresh, asleep = row.profile.get("host_bytes"), row.profile.get("host_asleep_bytes")
    if (fresh is None or asleep is None) and (known := row.profile.get("copy_bytes")) is not None:
        return Copy(known, known)
    return host_ram.copy_of(weights, fresh_bytes=fresh, asleep_bytes=asleep)


def held(row: Replica | Standing, now: HostLedger | None) -> int | None:
    """What its engine was measured to hold since it is in its state; None where nobody has measured that."""
    if now is None or now["measured_at"] <= row.state_at.timestamp():
        return None
    return next((one["held_bytes"] for one in now["holdings"] if one["marker"] == row.marker), None)


def kept_bytes(row: Replica | Standing, now: HostLedger | None) -> int:
    """Of copies of weights: what is measured beyond a fresh engine's bytes, else the expected copy of a sleeper.

    An awake engine keeps one only where it slept before, and only what it is seen to keep.
    """
    measured, fresh = held(row, now), row.profile.get("host_bytes")
    if row.state == State.SLEEPING and row.sleep_level == 1:
        expected = copy_of(row).lasting_bytes
        return expected if measured is None or fresh is None else max(measured - fresh, 0)
    slept = row.profile.get("host_asleep_bytes") is not None
    if not slept or measured is None or fresh is None:
        return 0
    return min(max(measured - fresh, 0), copy_of(row).lasting_bytes)


def _drains(row: Standing) -> bool:
    """Whether it is on its way to sleep and its engine was not told yet."""
    told = row.deadline_at and row.deadline_at - row.state_at != timedelta(seconds=settings.DRAIN_SECONDS)
    return row.goal == Goal.SLEEPING and row.state in (State.READY, State.DRAINING) and not told


def _holder(row: Standing, now: HostLedger | None) -> Holder:
    name, kept = row.name, kept_bytes(row, now)
    if row.state == State.SLEEPING and row.goal == Goal.SLEEPING and row.reason in DEMOTED:
        return Holder(row.pk, name, leaving_bytes=kept)
    if row.goal == Goal.SLEEPING and row.sleep_level == 1 and row.state in (State.READY, State.DRAINING):
        copy = copy_of(row)
        return Holder(row.pk, name, coming=Copy(max(copy.lasting_bytes - kept, 0), max(copy.moment_bytes - kept, 0)))
    return Holder(row.pk, name, kept)
