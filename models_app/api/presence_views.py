"""GET /api/services: who is heard, and what a silence means."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.api import presence
from models_app.api.serializers import RowSerializer


class ServiceSerializer(RowSerializer):
    """A service is one process of the installation, as it was heard last."""

    row = presence.ServiceRow


class ServicesView(APIView):
    """The processes of the installation."""

    @extend_schema(responses=ServiceSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Every service that was heard and did not end in order; `silent` ones say what that means."""
        return Response(presence.services())
