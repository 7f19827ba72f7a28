"""Everything a page needs to begin with, in a constant number of queries."""

from typing import Literal, TypedDict

from models_app import rows
from models_app.rows import DeploymentRow, GPURow, NodeRow, ReplicaRow


class Snapshot(TypedDict):
    """The first frame of /ws/lifecycle; events that follow it carry single rows."""

    type: Literal["snapshot"]
    nodes: list[NodeRow]
    gpus: list[GPURow]
    deployments: list[DeploymentRow]
    replicas: list[ReplicaRow]


def take() -> Snapshot:
    """All nodes, GPUs, deployments and replicas as they are now."""
    return {
        "type": "snapshot",
        "nodes": [rows.node_row(node) for node in rows.nodes()],
        "gpus": [rows.gpu_row(gpu) for gpu in rows.gpus()],
        "deployments": [rows.deployment_row(deployment) for deployment in rows.deployments()],
        "replicas": [rows.replica_row(replica) for replica in rows.replicas()],
    }
