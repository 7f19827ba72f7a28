"""What may be asked of captured calls, and how they are shown."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from gateway.capture import ring
from models_app.api.serializers import NamedField
from models_app.models import Deployment

ENTRY_ID = r"\d{1,18}-\d{1,18}"


class CaptureSerializer(serializers.Serializer[Any]):
    """One captured call, redacted. Of two deployments' calls the ids may be equal."""

    id = serializers.CharField()
    at = serializers.DateTimeField(help_text="when it ended")
    request_id = serializers.CharField()
    deployment = serializers.IntegerField(help_text="the id of the deployment that keeps it")
    deployment_name = serializers.CharField()
    served_name = serializers.CharField(help_text="the model that answered")
    asked_name = serializers.CharField(help_text="the name that was asked for: the same, or an alias")
    key_id = serializers.IntegerField()
    key_name = serializers.CharField(allow_null=True)
    team = serializers.IntegerField(allow_null=True)
    team_name = serializers.CharField(allow_null=True)
    method = serializers.CharField()
    path = serializers.CharField()
    stream = serializers.BooleanField()
    status = serializers.IntegerField(help_text="of HTTP; 0 when the client left before there was one")
    outcome = serializers.CharField(help_text="ok, cancelled, or an error's code")
    replica_id = serializers.IntegerField(allow_null=True)
    queue_seconds = serializers.FloatField()
    wake_seconds = serializers.FloatField()
    ttft_seconds = serializers.FloatField(allow_null=True)
    e2e_seconds = serializers.FloatField()
    prompt_tokens = serializers.IntegerField(allow_null=True)
    cached_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    headers = serializers.DictField(child=serializers.CharField(), help_text="the few request headers that are kept")
    request = serializers.CharField(help_text="redacted; a long one without its middle")
    request_bytes = serializers.IntegerField(help_text="as it came")
    response = serializers.CharField(help_text="likewise; of a stream its events put together")
    response_bytes = serializers.IntegerField(help_text="as it was sent")


@extend_schema_serializer(many=False)
class CapturesSerializer(serializers.Serializer[Any]):
    """Captured calls, and where to go on from."""

    results = CaptureSerializer(many=True)
    last = serializers.CharField(help_text="to be passed as `after`, for those that come later")


class RingSerializer(serializers.Serializer[Any]):
    """The query names the one deployment whose captured calls are forgotten."""

    deployment = NamedField(queryset=Deployment.objects.all(), help_text="a deployment's id or name")


class CapturesQuerySerializer(serializers.Serializer[Any]):
    """The query limits captured calls to some deployments, to those after a known call, and in number."""

    deployment = serializers.ListField(
        child=NamedField(queryset=Deployment.objects.all()),
        required=False,
        help_text="a deployment's id or name; may be repeated; else all",
    )
    after = serializers.RegexField(
        rf"^{ENTRY_ID}\Z",
        required=False,
        help_text="those that came after this one, oldest first; else the latest, newest first",
        error_messages={"invalid": "give the `last` of an earlier answer"},
    )
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=ring.KEPT)
