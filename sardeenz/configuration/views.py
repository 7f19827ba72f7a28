"""/api/configuration: the configuration as one document, what a document would change, and its versions."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from models_app.api.views import actor
from sardeenz.configuration import applying, versions
from sardeenz.configuration.models import ConfigurationVersion
from sardeenz.configuration.serializers import (
    ApplySerializer,
    ConfigurationSerializer,
    DocumentSerializer,
    PlanSerializer,
    RollbackSerializer,
    VersionSerializer,
    WholeVersionSerializer,
)


class ConfigurationView(APIView):
    """The configuration as a document."""

    @extend_schema(responses=ConfigurationSerializer)
    def get(self, request: Request) -> Response:
        """Everything as it is now, as YAML; secrets are named, never shown."""
        version = applying.export()
        return Response({"version": version.number, "document": versions.head(version) + version.document})


class PlanView(APIView):
    """What a document would change."""

    @extend_schema(request=DocumentSerializer, responses=PlanSerializer)
    def post(self, request: Request) -> Response:
        """As `apply`, and undone before anybody hears of it."""
        return Response(applying.as_row(applying.plan(_asked(request, DocumentSerializer))))


class ApplyView(APIView):
    """Rows become what a document says."""

    @extend_schema(request=ApplySerializer, responses=PlanSerializer)
    def post(self, request: Request) -> Response:
        """All of it, or nothing: in one transaction, by the rules of the single rows."""
        return Response(applying.as_row(applying.apply(_asked(request, ApplySerializer))))


def _asked(request: Request, serializer: type[DocumentSerializer]) -> applying.Request:
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    data: dict[str, Any] = given.validated_data
    base, plan = data.get("base", ""), data.get("plan", "")
    return applying.Request(data["document"], actor(request), base=base, prune=data["prune"], digest=plan)


class VersionViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[ConfigurationVersion]):
    """Versions of the configuration, the newest first."""

    queryset = ConfigurationVersion.objects.defer("rows")
    serializer_class = VersionSerializer
    lookup_value_regex = r"\d{1,9}"

    def get_serializer_class(self) -> type[BaseSerializer[ConfigurationVersion]]:
        return WholeVersionSerializer if self.action == "retrieve" else VersionSerializer

    def retrieve(self, request: Request, pk: str) -> Response:
        """One version by its number, with its document."""
        return Response(WholeVersionSerializer(versions.find(int(pk))).data)

    @extend_schema(request=RollbackSerializer, responses=PlanSerializer)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, pk: str) -> Response:
        """Bring back the configuration of this version, also by deleting what was made since; that is a new version."""
        given = RollbackSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        asked = applying.rollback(int(pk), actor(request), given.validated_data.get("plan", ""))
        carry_out = applying.plan if given.validated_data["dry_run"] else applying.apply
        return Response(applying.as_row(carry_out(asked)))
