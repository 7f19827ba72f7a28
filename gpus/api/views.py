"""These views serve /api/nodes, /api/gpus and /api/telemetry."""

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gpus import telemetry
from gpus.api.serializers import FrameSerializer, GPUSerializer, NodeSerializer
from gpus.models import GPU, Node


class NodeViewSet(viewsets.ReadOnlyModelViewSet[Node]):
    """Nodes are the hosts with GPUs of this installation; the API only reads nodes."""

    queryset = Node.objects.all()
    serializer_class = NodeSerializer


class GPUViewSet(mixins.UpdateModelMixin, viewsets.ReadOnlyModelViewSet[GPU]):
    """Devices and MIG slices. PATCH changes `enabled` and `headroom_bytes`."""

    queryset = GPU.objects.select_related("node")
    serializer_class = GPUSerializer
    http_method_names = ["get", "patch", "head", "options"]


class TelemetryView(APIView):
    """What every node did within the last seconds."""

    @extend_schema(responses=FrameSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The newest frame of each node."""
        return Response(telemetry.latest())
