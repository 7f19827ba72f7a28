"""Everything a page needs to begin with, in a constant number of queries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypedDict

from django.db import transaction

from models_app import rows
from models_app.rows import DeploymentRow, GPURow, NodeRow, ReplicaRow
from models_app.traffic import waiting
from sardeenz import events


class Snapshot(TypedDict):
    """The first frame of /ws/lifecycle; events that follow it carry single rows."""

    type: Literal["snapshot"]
    nodes: list[NodeRow]
    gpus: list[GPURow]
    deployments: list[DeploymentRow]
    replicas: list[ReplicaRow]


def take() -> Snapshot:
    """All nodes, GPUs, deployments and replicas as they are now."""
    waits = waiting.by_deployment()
    return {
        "type": "snapshot",
        "nodes": [rows.node_row(node) for node in rows.nodes()],
        "gpus": [rows.gpu_row(gpu) for gpu in rows.gpus()],
        "deployments": [rows.deployment_row(deployment, waits) for deployment in rows.deployments()],
        "replicas": [rows.replica_row(replica) for replica in rows.replicas()],
    }


@dataclass(slots=True)
class Shown:
    """What one process has told open pages, to find what nobody told them.

    Whoever changes a row tells pages at once. What changes beside it (a name in another row, a sum, what the database
    or a colleague's discovery wrote) is found here by comparing, at most a tick later.
    """

    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    known: bool = False

    def tell(self) -> None:
        """Publish every row that differs from what it was; the first time only look."""
        taken = take()
        tables = {"node": taken["nodes"], "gpu": taken["gpus"], "deployment": taken["deployments"]}
        kinds: dict[str, Any] = tables | {"replica": taken["replicas"]}
        now = {(kind, row["id"]): row for kind, rows_of in kinds.items() for row in rows_of}
        if self.known:
            for key in self.rows.keys() | now.keys():
                _tell(key, self.rows.get(key), now.get(key))
        self.rows, self.known = now, True


def _tell(key: tuple[str, int], before: dict[str, Any] | None, row: dict[str, Any] | None) -> None:
    kind, number = key
    if row is None and before is not None:
        events.publish(events.LIFECYCLE, {"kind": kind, "id": number, "seq": before["seq"] + 1, "row": None})
    elif row is not None and (before is None or _lasting(before) != _lasting(row)):
        events.publish(events.LIFECYCLE, {"kind": kind, "id": number, "seq": row["seq"], "row": row})


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    """Without what changes all the time, and is told in other ways."""
    return {name: value for name, value in row.items() if name not in ("seen_at", "waiting")}


def publish_deployment(deployment_id: int, seq: int) -> None:
    """Show the deployment to open pages as it is once the transaction commits, or that it is gone."""
    publish_deployments({deployment_id: seq})


def publish_deployments(seqs: Mapping[int, int]) -> None:
    """The same for several, each with its `seq`, and an event for each."""
    transaction.on_commit(partial(_publish_deployments, seqs))


def _publish_deployments(seqs: Mapping[int, int]) -> None:
    there = {one.pk: one for one in rows.deployments().filter(pk__in=seqs)}
    waits = waiting.by_deployment() if there else {}
    for number, seq in seqs.items():
        row = rows.deployment_row(there[number], waits) if number in there else None
        newest = seq if row is None else row["seq"]
        events.publish(events.LIFECYCLE, {"kind": "deployment", "id": number, "seq": newest, "row": row})
    events.routes_changed()
