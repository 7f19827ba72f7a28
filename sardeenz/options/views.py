"""`/api/settings`: how this installation is set up."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_app.catalogue import hub
from sardeenz.options import table


class OptionSerializer(serializers.Serializer[Any]):
    """One environment variable, as the web process has it."""

    name = serializers.CharField()
    default = serializers.CharField(help_text="what holds where it is not set, in words")
    meaning = serializers.CharField()
    is_set = serializers.BooleanField()
    value = serializers.CharField(allow_null=True, help_text="null where it is not set, or is nobody's to see")


class OptionGroupSerializer(serializers.Serializer[Any]):
    """Variables about the same thing."""

    title = serializers.CharField()
    options = OptionSerializer(many=True)


class HubSerializer(serializers.Serializer[Any]):
    """How the Hugging Face Hub is asked about models before they are loaded."""

    endpoint = serializers.CharField()
    offline = serializers.BooleanField(help_text="HF_HUB_OFFLINE is set: the Hub is not asked")
    token = serializers.ChoiceField(
        choices=hub.TOKENS, help_text="whose HF_TOKEN it is asked with: the server's own, a runtime's, or none"
    )


class SettingsSerializer(serializers.Serializer[Any]):
    """How this installation is set up."""

    groups = OptionGroupSerializer(many=True)
    hub = HubSerializer()


class SettingsView(APIView):
    """What was set in the environment is changed there, and read at the next start."""

    @extend_schema(responses=SettingsSerializer)
    def get(self, request: Request) -> Response:
        """Every environment variable that sets the installation up, with its value and meaning; no secret is in it."""
        return Response({"groups": table.shown(), "hub": hub.shown()})
