"""GET /api/profiles: what loads, sleeps and wakes were measured to take, beside what was expected."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.api.serializers import RowSerializer
from models_app.memory import profiles
from models_app.models import MemoryProfile


class ProfileSerializer(RowSerializer):
    """One kind of replica on one type of GPU."""

    row = profiles.ProfileRow


class ProfilesView(APIView):
    """Every kind of replica that was measured."""

    @extend_schema(responses=ProfileSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The newest first. What is null was not measured yet."""
        return Response(profiles.shown(MemoryProfile.objects.order_by("-measured_at", "-id")))
