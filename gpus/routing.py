"""The websockets of the machine."""

from django.urls import URLPattern, path

from gpus.api.consumers import TelemetryConsumer

websocket_urlpatterns: list[URLPattern] = [path("ws/telemetry", TelemetryConsumer.as_asgi())]
