"""/api/gpus/<gpu>/cordon, uncordon and drain, and the same of /api/nodes: maintenance of a GPU or a node."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gpus import cordon
from gpus.api.serializers import GPUField
from gpus.finding import find, of_node
from gpus.models import GPU
from models_app import rows
from models_app.api.serializers import RowSerializer
from models_app.api.views import actor, told
from models_app.policy import cordon as drains
from models_app.rows import GPURow
from sardeenz.errors import InvalidSpec, NotFound


class GPURowSerializer(RowSerializer):
    """A GPU with what is promised of it, and whether it is cordoned; `rows.gpu_row` makes the row."""

    row = GPURow


class CordonSerializer(serializers.Serializer[Any]):
    """Why, in words; the history and the pages show it."""

    message = serializers.CharField(default="", allow_blank=True, max_length=200, help_text="else: maintenance")


class DrainSerializer(CordonSerializer):
    """Why, and what becomes of replicas that no other GPU takes."""

    stop = serializers.BooleanField(default=False, help_text="what no other GPU takes is stopped, else it stays")


class MachineSerializer(DrainSerializer):
    """The same as an action of a plan, with the GPU or the node that it is about."""

    gpu = GPUField(required=False)
    node = serializers.CharField(required=False, max_length=253, help_text="a node's name, for all its GPUs")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One GPU, or all of one node."""
        if ("gpu" in attrs) == ("node" in attrs):
            raise serializers.ValidationError({"gpu": "name one GPU or one node"})
        try:
            gpus = of_node(attrs["node"]) if "node" in attrs else [attrs["gpu"]]
        except InvalidSpec as error:
            raise serializers.ValidationError({"node": error.message}) from error
        return attrs | {"gpus": gpus}


class _MaintenanceView(APIView):
    """What is about a GPU by UUID, index or node:index, or about all GPUs of a node by name."""

    def gpus(self) -> list[GPU]:
        """Those that the address names. Raises NotFound."""
        try:
            if "node" in self.kwargs:
                return of_node(self.kwargs["node"])
            return [find(self.kwargs["gpu"].replace(":", "/"))]
        except InvalidSpec as error:
            raise NotFound(error.message) from error

    def answer(self, gpus: list[GPU]) -> Response:
        """The rows as they are after whatever was just done."""
        found = rows.gpus().filter(pk__in=[gpu.pk for gpu in gpus])
        return Response([rows.gpu_row(gpu) for gpu in found], status=202)


class CordonView(_MaintenanceView):
    """Nothing new is placed there from now on."""

    @extend_schema(request=CordonSerializer, responses={202: GPURowSerializer(many=True)})
    def post(self, request: Request, **_: str) -> Response:
        """Place nothing new there; what runs there runs on."""
        gpus = self.gpus()
        cordon.cordon(gpus, by=actor(request), **told(request, CordonSerializer))
        return self.answer(gpus)


class UncordonView(_MaintenanceView):
    """New replicas come there again."""

    @extend_schema(request=None, responses={202: GPURowSerializer(many=True)})
    def post(self, request: Request, **_: str) -> Response:
        """Take new replicas again. A drain ends; moves that it began go on."""
        gpus = self.gpus()
        cordon.uncordon(gpus, by=actor(request))
        return self.answer(gpus)


class DrainView(_MaintenanceView):
    """Whatever is there moves away."""

    @extend_schema(request=DrainSerializer, responses={202: GPURowSerializer(many=True)})
    def post(self, request: Request, **_: str) -> Response:
        """Cordon, and move every replica to another GPU while its calls go on.

        What no other GPU takes stays, and its row's `message` says why; with `stop` it ends and waits for room.
        """
        gpus = self.gpus()
        drains.drain(gpus, actor=actor(request), **told(request, DrainSerializer))
        return self.answer(gpus)


def _cordon(given: Mapping[str, Any], by: str) -> None:
    cordon.cordon(given["gpus"], by=by, message=given["message"])


def _uncordon(given: Mapping[str, Any], by: str) -> None:
    cordon.uncordon(given["gpus"], by=by)


def _drain(given: Mapping[str, Any], by: str) -> None:
    drains.drain(given["gpus"], actor=by, message=given["message"], stop=given["stop"])


ON_MACHINE = {"cordon": _cordon, "uncordon": _uncordon, "drain": _drain}
"""The same verbs as actions of a plan, given what `MachineSerializer` takes."""
