"""Everything a page needs to begin with, in a constant number of queries."""

from functools import partial
from typing import Literal, TypedDict

from django.db import transaction

from models_app import rows, waiting
from models_app.rows import DeploymentRow, GPURow, NodeRow, ReplicaRow
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


def publish_deployment(deployment_id: int, seq: int) -> None:
    """Show the deployment to open pages as it is once the transaction commits, or that it is gone."""
    transaction.on_commit(partial(_publish_deployment, deployment_id, seq))


def _publish_deployment(deployment_id: int, seq: int) -> None:
    deployment = rows.deployments().filter(pk=deployment_id).first()
    row = None if deployment is None else rows.deployment_row(deployment, waiting.by_deployment())
    newest = seq if row is None else row["seq"]
    events.publish(events.LIFECYCLE, {"kind": "deployment", "id": deployment_id, "seq": newest, "row": row})
    events.routes_changed()
