"""/api/refusals: calls of the last day that were refused before any model was asked."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from redis import RedisError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.errors import RefusalsUnavailable
from gateway.metering import refused_stored
from gateway.models import ApiKey


class RefusalSerializer(serializers.Serializer[Any]):
    """Calls that were refused alike."""

    code = serializers.CharField(help_text="as in the answer to the caller")
    about = serializers.CharField(help_text="the model or path that was asked for, or how the key began")
    key = serializers.IntegerField(allow_null=True, help_text="who asked, or whose key is no longer good")
    key_name = serializers.CharField(allow_null=True)
    count = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()


class RefusalsView(APIView):
    """Who asks in vain for what."""

    @extend_schema(responses=RefusalSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Those of the last day, the newest first: bad keys, models and paths there are not."""
        try:
            refusals = refused_stored.read()
        except (RedisError, OSError) as error:
            raise RefusalsUnavailable("refused calls are kept in Redis, which does not answer") from error
        by_id = dict(ApiKey.objects.filter(pk__in={row.key_id for row in refusals}).values_list("pk", "name"))
        begun = {row.about for row in refusals if row.code == "invalid_api_key"}
        by_prefix = {key.prefix: key for key in ApiKey.objects.filter(prefix__in=begun)}
        rows = []
        for row in refusals:
            key = by_prefix.get(row.about) if row.code == "invalid_api_key" else None
            rows.append(
                {
                    "code": row.code,
                    "about": row.about,
                    "key": key.pk if key else row.key_id,
                    "key_name": key.name if key else by_id.get(row.key_id or 0),
                    "count": row.count,
                    "first_at": datetime.fromtimestamp(row.first_at, UTC),
                    "last_at": datetime.fromtimestamp(row.last_at, UTC),
                }
            )
        return Response(RefusalSerializer(rows, many=True).data)
