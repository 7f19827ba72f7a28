"""What may be left behind once nothing is under way: what is promised, limited, leased or waited for without an owner.

Whatever ran before, and whoever was killed meanwhile, `unowned` is to be empty when all have arrived.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings

from gpus import kvcached
from models_app.lifecycle import launch
from models_app.models import Replica, Reservation
from models_app.states import LIVE, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport


def unowned() -> dict[str, Any]:
    """By kind what nobody owns any more; a kind of which nothing is left is not named. No call is under way."""
    rows, reports = list(Replica.objects.all()), activity.read_reports()
    left = {
        "reservations": _held_without_engine(),
        "ports": [row.port for row in rows if row.state == State.STOPPED and row.port is not None],
        "segments": _segments(rows),
        "limits": _lowered(rows),
        "leases": {report.gateway_id: dict(report.leases) for report in reports if report.leases},
        "holds": _waited_for(reports),
    }
    return {kind: found for kind, found in left.items() if found}


def _held_without_engine() -> dict[int, int]:
    """Bytes by replica that hold GPU memory for an engine that is gone."""
    ended = Reservation.objects.filter(replica__state=State.STOPPED, held_bytes__gt=0)
    return dict(ended.values_list("replica", "held_bytes"))


def _segments(rows: Iterable[Replica]) -> list[str]:
    """Segments, and so limits, of engines that are gone."""
    known = {row.ipc_name for row in rows if row.state in LIVE}
    found = kvcached.read_all(settings.SEGMENT_DIR, launch.segment_prefix())
    return [segment.ipc_name for segment in found if segment.ipc_name not in known]


def _lowered(rows: Iterable[Replica]) -> dict[str, tuple[int, int]]:
    """Engines that are still held to less than they were launched with although nobody competes: limit and first."""
    lowered = {}
    for row in rows:
        segment = kvcached.read(settings.SEGMENT_DIR, row.ipc_name) if row.state == State.READY else None
        first = row.profile.get("kv_limit_bytes")
        if segment is not None and first is not None and segment.limit_bytes < first:
            lowered[row.marker] = segment.limit_bytes, first
    return lowered


def _waited_for(reports: Iterable[GatewayReport]) -> dict[str, list[int]]:
    """Deployments by gateway that calls are said to wait for."""
    return {
        report.gateway_id: [*report.waiting, *report.queued] for report in reports if report.waiting or report.queued
    }
