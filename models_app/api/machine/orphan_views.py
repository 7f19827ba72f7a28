"""/api/orphans: engines of this installation that no replica owns, and what an operator can do with them."""

from typing import TypedDict

from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from models_app import rows
from models_app.api.serializers import ReplicaRowSerializer, RowSerializer
from models_app.api.views import actor
from models_app.errors import NotAdoptable
from models_app.lifecycle.orphans import adoption
from models_app.lifecycle.orphans.adoption import Orphan
from models_app.node import frame
from models_app.node.frame import OrphanFrame
from sardeenz.errors import NotFound


class OrphanRow(TypedDict):
    """An engine without an owner: the deployment that may adopt it, or why none does. Sizes are by GPU UUID."""

    marker: str
    node: str
    pid: int
    name: str
    gpu_uuids: list[str]
    memory_bytes: dict[str, int | None]
    deployment: str | None
    why_not: str


class OrphanRowSerializer(RowSerializer):
    """An engine that no replica owns."""

    row = OrphanRow


class OrphanViewSet(viewsets.GenericViewSet):  # type: ignore[type-arg]
    """What runs without an owner, as its node has last seen it."""

    serializer_class = OrphanRowSerializer
    lookup_field = "marker"
    lookup_value_regex = r"\d{1,18}:\d{1,9}"
    pagination_class = None

    @extend_schema(responses=OrphanRowSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Every engine of this installation that no replica owns."""
        return Response([_row(node, seen) for node, seen in _seen()])

    @extend_schema(request=None, responses={202: ReplicaRowSerializer})
    @action(detail=True, methods=["post"])
    def adopt(self, request: Request, marker: str) -> Response:
        """It becomes a replica of the deployment that would launch it just so; `not_adoptable` says why not."""
        replica = adoption.adopt(_orphan(marker), actor=actor(request))
        return Response(rows.replica_row(rows.replicas().get(pk=replica.pk)), status=202)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def end(self, request: Request, marker: str) -> Response:
        """Its processes are ended at once, without a drain: no gateway knows of it."""
        adoption.end(_orphan(marker), actor=actor(request))
        return Response(status=202)


def _seen() -> list[tuple[str, OrphanFrame]]:
    return [(each["node"], seen) for each in frame.latest() for seen in each.get("orphans", [])]


def _orphan(marker: str) -> Orphan:
    seen = next((seen for _, seen in _seen() if seen["marker"] == marker), None)
    if seen is None:
        raise NotFound(f"there is no engine {marker} without an owner")
    return _of(seen)


def _of(seen: OrphanFrame) -> Orphan:
    uuids = tuple(seen["gpu_uuids"])
    return Orphan(seen["marker"], seen["pid"], seen["settings"], uuids, seen["port"], seen["asleep"])


def _row(node: str, seen: OrphanFrame) -> OrphanRow:
    deployment, why_not = None, ""
    try:
        deployment = adoption.match(_of(seen)).name
    except NotAdoptable as error:
        why_not = error.message
    return OrphanRow(
        marker=seen["marker"],
        node=node,
        pid=seen["pid"],
        name=seen["name"],
        gpu_uuids=seen["gpu_uuids"],
        memory_bytes=seen["memory_bytes"],
        deployment=deployment,
        why_not=why_not,
    )
