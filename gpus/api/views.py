"""These views serve /api/nodes and /api/gpus."""

from rest_framework import mixins, viewsets

from gpus.api.serializers import GPUSerializer, NodeSerializer
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
