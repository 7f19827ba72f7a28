"""/api/captures: the latest calls of deployments that capture. They hold what people wrote, so `read` is not enough."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema
from redis import RedisError
from rest_framework import viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.capture_serializers import (
    ENTRY_ID,
    CaptureSerializer,
    CapturesQuerySerializer,
    CapturesSerializer,
    RingSerializer,
)
from gateway.capture import ring
from gateway.capture.ring import Entry
from gateway.errors import CapturesUnavailable
from gateway.models import ApiKey, Team
from models_app.models import Deployment
from sardeenz.access.permissions import Operate
from sardeenz.errors import NotFound


@contextmanager
def _redis() -> Iterator[None]:
    """Rings are in Redis and nowhere else."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise CapturesUnavailable("captured calls are kept in Redis, which does not answer") from error


class CaptureViewSet(viewsets.ViewSet):
    """Captured calls. A deployment captures until its `capture_until`; SARDEENZ_CAPTURE_SECONDS later all is gone."""

    permission_classes = [Operate]

    @extend_schema(parameters=[CapturesQuerySerializer], responses=CapturesSerializer)
    def list(self, request: Request) -> Response:
        """The latest calls, newest first; with `after` those that came later, oldest first."""
        given = CapturesQuerySerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        chosen = {row.pk: row.name for row in asked.get("deployment") or Deployment.objects.all()}
        with _redis():
            if (seen := asked.get("after")) is not None:
                entries = ring.after(chosen, seen, asked["limit"])
            else:
                entries = ring.newest(chosen, asked["limit"])
        last = max(entries, key=lambda entry: entry.order).id if entries else seen or ring.BEGINNING
        return Response(CapturesSerializer({"results": _rows(entries, chosen), "last": last}).data)

    @extend_schema(parameters=[RingSerializer], responses={204: None})
    def clear(self, request: Request) -> Response:
        """Forget the captured calls of one deployment."""
        given = RingSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        with _redis():
            ring.clear(given.validated_data["deployment"].pk)
        return Response(status=204)

    @extend_schema(
        parameters=[OpenApiParameter("deployment", int, "path"), OpenApiParameter("capture", str, "path")],
        responses=CaptureSerializer,
    )
    def retrieve(self, request: Request, deployment: str, capture: str) -> Response:
        """The answer is one captured call, or 404 where the call has expired or never was."""
        names = dict(Deployment.objects.filter(pk=deployment).values_list("pk", "name"))
        known = bool(names) and re.fullmatch(ENTRY_ID, capture) is not None
        with _redis():
            entry = ring.one(int(deployment), capture) if known else None
        if entry is None:
            raise NotFound("there is no such captured call, or it has expired")
        return Response(CaptureSerializer(_rows([entry], names)[0]).data)


def _rows(entries: Sequence[Entry], deployments: dict[int, str]) -> list[dict[str, Any]]:
    """As they are shown; names are those of today, and none of what was deleted."""
    asked = [entry.capture for entry in entries]
    key_names = dict(ApiKey.objects.filter(pk__in={each.key_id for each in asked}).values_list("pk", "name"))
    team_names = dict(Team.objects.filter(pk__in={each.team for each in asked} - {None}).values_list("pk", "name"))
    return [
        msgspec.structs.asdict(each)
        | {
            "id": entry_id,
            "at": datetime.fromtimestamp(each.at, UTC),
            "deployment_name": deployments[each.deployment],
            "key_name": key_names.get(each.key_id),
            "team_name": None if each.team is None else team_names.get(each.team),
        }
        for entry_id, each in entries
    ]
